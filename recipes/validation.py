"""What is chosen by images that are neither trained on nor tested with: epoch and temperature."""

import keras
import numpy as np
from absl import flags

FLAGS = flags.FLAGS

# What is better where it is smaller.
_LOSSES = ("negative_log_likelihood",)


def define_flags():
    flags.DEFINE_float(
        "validation_fraction",
        None,
        "Share of the training images of each class that is kept for validation, where there is no "
        "folder validation beside train and test; 0: none.",
        lower_bound=0,
        upper_bound=0.9,
    )
    flags.DEFINE_enum(
        "monitor",
        "accuracy",
        ["accuracy", "balanced_accuracy", "macro_f1", "mean_average_precision", *_LOSSES],
        "The figure on the validation images that the best epoch is chosen by. Where an image may "
        "have several labels, mean_average_precision in place of accuracy.",
    )
    flags.DEFINE_integer(
        "early_stopping_epochs",
        0,
        "Stop after so many epochs that were not better than the best; 0: train all epochs.",
        lower_bound=0,
    )


class Validation(keras.callbacks.Callback):
    """Measures the classifier on the validation images after each epoch, and keeps the best one.

    The figures join the epoch's logs as "val_...". With averaged weights those are measured and
    kept. Without validation images it does nothing, and the last epoch counts.

    Args:
        batches: labelled `ImageBatches`, or None.
        folder: the run's folder; the best weights are in checkpoints/best.weights.h5.
        settings: `Settings` with monitor and early_stopping_epochs.
    """

    def __init__(self, batches, folder, settings):
        super().__init__()
        self.batches = batches
        self.path = folder / "checkpoints" / "best.weights.h5"
        self.monitor = settings.monitor
        self.patience = settings.early_stopping_epochs
        self.best, self.best_epoch = None, None

    def on_epoch_end(self, epoch, logs=None):
        if self.batches is None:
            return
        from keras_convnextv2.analysis import classification_summary
        from keras_convnextv2.training.averaged_weights import averaged_weights

        with averaged_weights(self.model):
            found = self._predictions(self.model)
            figures = classification_summary(found.probabilities, found.labels)
            name = self.monitor if self.monitor in figures else "mean_average_precision"
            if self._is_better(name, figures[name]):
                self.best, self.best_epoch = figures[name], epoch
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.model.save_weights(self.path)
        logs.update({f"val_{name}": value for name, value in figures.items()})
        if self.patience and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def take_best(self, classifier):
        """Gives the classifier the weights of the best epoch."""
        if self.best is not None:
            classifier.load_weights(self.path)

    def temperature(self, classifier):
        """The temperature that fits the validation images; 1 without any."""
        if self.batches is None:
            return 1.0
        from keras_convnextv2.analysis import fit_temperature

        logits, labels = [], []
        for place in range(len(self.batches)):
            images, of_batch = self.batches[place]
            outputs = classifier.predict_on_batch(images)
            logits.append(keras.ops.convert_to_numpy(outputs))
            labels.append(np.asarray(of_batch))
        return fit_temperature(np.concatenate(logits), np.concatenate(labels))

    def _predictions(self, classifier):
        from keras_convnextv2.analysis import predict_labelled

        return predict_labelled(
            classifier, (self.batches[place] for place in range(len(self.batches)))
        )

    def _is_better(self, name, value):
        if self.best is None:
            return True
        return value < self.best if name in _LOSSES else value > self.best
