"""One training run: its folder, its callbacks and its call of `fit`."""

import sys
from pathlib import Path

from absl import flags

from recipes.training_flags import resolved_flags

FLAGS = flags.FLAGS


def open_output_dir():
    """Makes --output_dir and writes settings.flags; a folder of another run is an error."""
    folder = Path(FLAGS.output_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output_dir: {folder} is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"--output_dir: {folder} is not empty, and a run overwrites nothing. Name a new folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.flags").write_text(resolved_flags())
    return folder


def announce(**facts):
    """Says on standard error what is about to run."""
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<16} {value}", file=sys.stderr)


def train(model, batches, folder, description, evaluation=None):
    """Fits a compiled model for --epochs, leaving metrics.jsonl and checkpoints in `folder`.

    Returns:
        The last epoch's logs, a dict of floats.
    """
    from keras_convnextv2.data import SetEpoch
    from keras_convnextv2.training.callbacks import StopOnNonFiniteLoss, WriteMetrics
    from keras_convnextv2.training.checkpoints import SaveEachEpoch
    from keras_convnextv2.training.progress import ShowProgress

    images_per_epoch = len(batches) * batches.batch_size
    progress = ShowProgress(images_per_epoch, len(batches), description)
    callbacks = [
        StopOnNonFiniteLoss(),
        SetEpoch(batches),
        progress,
        WriteMetrics(folder / "metrics.jsonl", images_per_epoch),
        SaveEachEpoch(folder / "checkpoints" / "last.keras"),
    ]
    try:
        history = model.fit(
            batches,
            epochs=FLAGS.epochs,
            shuffle=False,  # the batches shuffle their images by (seed, epoch)
            verbose=0,
            callbacks=callbacks,
            validation_data=evaluation,
        )
    except Exception as error:
        # A backend wraps what went wrong while images were read in an error of its own.
        cause = batches.error or (evaluation.error if evaluation is not None else None)
        if cause is not None:
            raise cause from error
        raise
    finally:
        progress.close()
    return {name: values[-1] for name, values in history.history.items()}
