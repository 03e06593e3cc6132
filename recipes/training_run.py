"""One training run: its folder, its callbacks and its call of `fit`."""

import os
import shutil
import sys
import textwrap
from pathlib import Path

from absl import flags

from recipes.printable import printable
from recipes.training_flags import resolved_flags

FLAGS = flags.FLAGS

# What a run that ended before its first epoch leaves: nothing that a new run could lose.
_LEFT_BY_A_START = {"settings.flags", "metrics.jsonl", "checkpoints"}
_EMPTY_UNTIL_AN_EPOCH_ENDS = ("metrics.jsonl", "checkpoints")


def check_output_dir():
    """The folder --output_dir, not made yet.

    Raises:
        ValueError: it is a file, or holds something other than a run that never finished an epoch.
    """
    folder = Path(FLAGS.output_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output_dir: {folder} is a file. Name a folder.")
    if folder.is_dir() and not _holds_only_a_start(folder):
        raise ValueError(
            f"--output_dir: {folder} is not empty, and a run overwrites nothing. Name a new folder."
        )
    return folder


def _holds_only_a_start(folder):
    names = {path.name for path in folder.iterdir()}
    if names and "settings.flags" not in names or names - _LEFT_BY_A_START:
        return False
    kept = [folder / name for name in _EMPTY_UNTIL_AN_EPOCH_ENDS if name in names]
    return not any(any(path.iterdir()) if path.is_dir() else path.stat().st_size for path in kept)


def open_output_dir():
    """Makes --output_dir and writes settings.flags; raises as `check_output_dir`."""
    folder = check_output_dir()
    folder.mkdir(parents=True, exist_ok=True)
    # With names of files in the bytes that the system knows them by, whatever the locale is.
    (folder / "settings.flags").write_bytes(os.fsencode(resolved_flags()))
    return folder


def announce(**facts):
    """Says on standard error what is about to run."""
    if _is_slow_precision():
        facts["precision"] = (
            "float16, which TensorFlow computes on a CPU many times slower than float32. "
            "--precision=bfloat16 takes as little memory."
        )
    for name, value in facts.items():
        print(_fitted(f"{name.replace('_', ' '):<16} {printable(value)}"), file=sys.stderr)


def _fitted(line):
    """A line on a terminal, broken between words; elsewhere, as in a file, as it is."""
    if not sys.stderr.isatty():
        return line
    columns = shutil.get_terminal_size().columns
    return textwrap.fill(
        line, columns, subsequent_indent=" " * 17, break_long_words=False, break_on_hyphens=False
    )


def _is_slow_precision():
    import keras

    from keras_convnextv2.layers.fast import backend

    if FLAGS.precision != "float16" or keras.backend.backend() != "tensorflow":
        return False
    return backend.device(None) == "cpu"


def taken(source, size):
    """A source of images, and the size they are read at, in words."""
    return f"{source.description}, taken at {size[0]} x {size[1]} pixels"


def length(batches, num_warmup_steps):
    """How long a run is, in words."""

    def counted(number, noun):
        return f"{number} {noun}{'' if number == 1 else 's'}"

    return (
        f"{counted(FLAGS.epochs, 'epoch')} of {counted(len(batches), 'step')} of "
        f"{counted(FLAGS.batch_size, 'image')}, learning rate {FLAGS.learning_rate:.3g} after "
        f"{counted(num_warmup_steps, 'step')}"
    )


def train(model, batches, folder, description, evaluation=None):
    """Fits a compiled model for --epochs, leaving metrics.jsonl and checkpoints in `folder`.

    Returns:
        The last epoch's logs, a dict of floats.
    """
    from keras_convnextv2.data import SetEpoch
    from keras_convnextv2.training.callback_list import LazyCallbackList
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
            callbacks=LazyCallbackList(
                callbacks,
                add_history=True,
                model=model,
                verbose=0,
                epochs=FLAGS.epochs,
                steps=len(batches),
            ),
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
