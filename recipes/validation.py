"""What is chosen by images that are neither trained on nor tested with: epoch and temperature."""

import contextlib
import sys
from pathlib import Path

import keras
import numpy as np

from . import processes

# What the best epoch may be chosen by, where an image has one label and where it may have several.
ONE_LABEL = ("accuracy", "balanced_accuracy", "macro_f1", "negative_log_likelihood")
SEVERAL_LABELS = ("mean_average_precision", "macro_f1", "micro_f1", "negative_log_likelihood")
_OTHER_FIGURES = ("top_5_accuracy", "brier_score", "expected_calibration_error")
_SMALLER_IS_BETTER = ("negative_log_likelihood",)


class Validation(keras.callbacks.Callback):
    """Measures the classifier on the validation images after each epoch, and keeps the best one.

    The figures join the epoch's logs as "val_...". With averaged weights those are measured and
    kept. Without validation images it does nothing, and the last epoch counts.

    Args:
        batches: labelled `ImageBatches`, or None.
        settings: `Settings`; the best weights, without the optimizer, are in the file
            checkpoints/best-EPOCH.safetensors of --output_dir.

    Attributes:
        best_epoch: the epoch that is kept, from 1; None where none was measured.
        num_measured: int, epochs that were trained and measured.
    """

    def __init__(self, batches, settings):
        super().__init__()
        self.batches = batches
        self.folder = Path(settings.output_dir) / "checkpoints"
        self.patience = settings.early_stopping_epochs
        self.allow_changes = settings.allow_changed_settings
        self.best, self.best_epoch, self.num_since, self.num_measured = None, None, 0, 0
        self.goes_on = False  # where a part of the training was stopped
        self.monitor = settings.monitor
        # Else the last epoch counts: under a cosine its weights are the settled ones, and the best
        # of many epochs on few images is partly luck.
        self.chooses = bool(self.monitor or self.patience)
        if batches is None:
            if self.patience or self.monitor:
                raise ValueError(
                    "--monitor and --early_stopping_epochs need validation images: a folder "
                    "validation beside train and test, or --validation_fraction."
                )
            return
        choices = ONE_LABEL if batches.source.labels.ndim == 1 else SEVERAL_LABELS
        self.monitor = self.monitor or choices[0]
        if self.monitor not in choices:
            raise ValueError(
                f"--monitor is one of {', '.join(choices)} for these images. Received: "
                f"{self.monitor}"
            )

    @property
    def hidden(self):
        """Names in the logs of figures that no epoch is chosen by."""
        figures = (*ONE_LABEL, *SEVERAL_LABELS, *_OTHER_FIGURES)
        return {f"val_{name}" for name in figures if name != self.monitor}

    def on_train_begin(self, logs=None):
        if not self.goes_on:
            self.num_since = 0  # in this part of the training
        self.goes_on = False

    def get_state(self):
        """For `Checkpoints`."""
        images = None if self.batches is None else self.batches.state()["images"]
        return [self.best, self.best_epoch, self.num_since, self.num_measured, images]

    def set_state(self, state):
        """Goes on where the training was saved.

        Raises:
            ValueError: it is no state, or the validation images are others.
        """
        best, best_epoch, *counts, images = state
        is_pair = best is best_epoch is None or (type(best) is float and type(best_epoch) is int)
        if not is_pair or [type(count) for count in counts] != [int, int]:
            raise ValueError(f"these are no figures of a validation: {str(state)[:60]}")
        if changed := self._changed(images):
            told = f"the validation images are of other {' and '.join(changed)}"
            if not self.allow_changes:
                raise ValueError(told)
            print(f"{told}: the best epoch is one of those that follow.", file=sys.stderr)
            best = best_epoch = None
        self.best, self.best_epoch, (self.num_since, self.num_measured) = best, best_epoch, counts
        if self.best_epoch is not None and not self._path_of(self.best_epoch).is_file():
            print(
                f"{self._path_of(self.best_epoch)}, the best epoch before, is missing: the best "
                "one of those that follow is kept.",
                file=sys.stderr,
            )
            self.best = self.best_epoch = None
        self.goes_on = True

    def on_epoch_end(self, epoch, logs=None):
        if self.batches is None:
            return
        from keras_convnextv2.analysis import classification_summary, predict_labelled
        from keras_convnextv2.training.averaged_weights import averaged_weights, has_averages
        from keras_convnextv2.weights import save_weights

        averages = averaged_weights if has_averages(self.model) else contextlib.nullcontext
        with averages(self.model):
            found = predict_labelled(self.model, self._each_batch())
            figures = classification_summary(found.probabilities, found.labels)
            self.num_since += 1
            self.num_measured += 1
            figure = processes.of_writer(float(figures[self.monitor]))
            if self.chooses and self._is_better(figure):
                before = self.best_epoch
                self.best, self.best_epoch = figure, epoch + 1
                self.num_since = 0
                if processes.is_writer():
                    save_weights(self.model, self._path_of(self.best_epoch))
                    self._remove_old(before)
        logs.update({f"val_{name}": value for name, value in figures.items()})
        if self.patience and self.num_since >= self.patience:
            self.model.stop_training = True

    def outcome(self, num_epochs):
        """What came of it, a dict: the best epoch, and where a run of so many stopped early."""
        found = {} if self.best_epoch is None else {"best_epoch": self.best_epoch}
        if self.patience and self.num_measured < num_epochs:
            found |= {"epochs_trained": self.num_measured, "epochs": num_epochs}
        return found

    def take_best(self, classifier):
        """Gives the classifier the weights of the best epoch."""
        if self.best is None:
            return
        from keras_convnextv2.weights import load_weights

        processes.of_writer(0)  # it has written the file
        load_weights(classifier, self._path_of(self.best_epoch))

    def temperature(self, classifier):
        """The temperature that fits the validation images; 1 without any."""
        if self.batches is None:
            return 1.0
        from keras_convnextv2.analysis import fit_temperature

        logits, labels = [], []
        for images, of_batch in self._each_batch():
            logits.append(keras.ops.convert_to_numpy(classifier.predict_on_batch(images)))
            labels.append(np.asarray(of_batch))
        return fit_temperature(np.concatenate(logits), np.concatenate(labels))

    def _changed(self, images):
        from keras_convnextv2.data.fingerprint import changes

        return [] if self.batches is None else changes(images, self.batches.state()["images"])

    def _path_of(self, epoch):
        return self.folder / f"best-{epoch}.safetensors"

    def _remove_old(self, before):
        """Removes what is not the best now, nor was for a checkpoint that a run may go on from.

        The one before the best may be of a checkpoint that is being written.
        """
        from keras_convnextv2.runs import CheckpointError, checkpoint_folder

        kept = {self._path_of(epoch) for epoch in (before, self.best_epoch)}
        for _, path in checkpoint_folder.checkpoints_in(self.folder):
            with contextlib.suppress(CheckpointError):
                of_callbacks = dict(checkpoint_folder.state_of(path)["callbacks"])
                kept.add(self._path_of(of_callbacks[type(self).__name__][1]))
        for path in self.folder.glob("best-*.safetensors"):
            if path not in kept:
                path.unlink()

    def _each_batch(self):
        return (self.batches[place] for place in range(len(self.batches)))

    def _is_better(self, value):
        if self.best is None:
            return True
        return value < self.best if self.monitor in _SMALLER_IS_BETTER else value > self.best
