"""One training run: its folder, its callbacks and its call of `fit`."""

import contextlib
import itertools
import json
import shutil
import signal
import sys
import textwrap

from . import images, processes, run_folder, training_flags
from .printable import printable


def announce(settings, **facts):
    """Says on standard error what is about to run."""
    if _is_slow_precision(settings):
        facts["precision"] = (
            "float16, which TensorFlow computes on a CPU many times slower than float32. "
            "--precision=bfloat16 takes as little memory."
        )
    say(**facts)


def say(**facts):
    """Says facts on standard error, a line each after its name; one process of several does."""
    if not processes.is_writer():
        return
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


def _is_slow_precision(settings):
    import keras

    from keras_convnextv2.layers.fast import backend

    if settings.precision != "float16" or keras.backend.backend() != "tensorflow":
        return False
    return backend.device(None) == "cpu"


def taken(source, size):
    """A source of images, and the size they are read at, in words."""
    return f"{source.description}, taken at {size[0]} x {size[1]} pixels"


def length(settings, batches):
    """How long a run is, in words."""

    def counted(number, noun):
        return f"{number} {noun}{'' if number == 1 else 's'}"

    _, num_warmup = training_flags.num_updates(
        settings, len(batches), settings.epochs, settings.warmup_epochs
    )
    noun = "step" if settings.accumulation_steps == 1 else "update"
    of_update = "" if noun == "step" else f", {settings.accumulation_steps} of them an update"
    before = ""
    if "freeze_epochs" in settings and settings.freeze_epochs:
        before = f"{counted(settings.freeze_epochs, 'epoch')} of the head alone, then "
    return (
        f"{before}{counted(settings.epochs, 'epoch')} of {counted(len(batches), 'step')} of "
        f"{counted(settings.batch_size, 'image')}{of_update}, learning rate "
        f"{settings.learning_rate:.3g} after {counted(num_warmup, noun)}"
    )


def set_trainable(classifier, part):
    """Freezes what does not learn: part is "head", "last_stage" or "all"."""
    backbone = classifier.backbone
    backbone.trainable = part != "head"
    if part == "last_stage":
        *others, _ = backbone.layers_of_stages()
        for layer in itertools.chain(*others):
            layer.trainable = False


def class_weights(settings, source):
    """What `fit` takes of --class_weights; None where all images count alike."""
    words = settings.class_weights
    if words in ("", "none"):
        return None
    from keras_convnextv2.training.class_weights import class_weights as weights_of

    if source.labels.ndim != 1:
        raise ValueError("--class_weights are of images with one label each; these have several.")
    if settings.mixup or settings.cutmix:
        raise ValueError(
            "--class_weights are of one class an image, and --mixup and --cutmix mix two. Leave "
            "one of them out, or give --sampling=balanced in place of the weights."
        )
    if settings.sampling == "balanced":
        raise ValueError(
            "--class_weights and --sampling=balanced make up for the same: give one of them."
        )
    if words != "balanced":
        try:
            pairs = (word.rsplit("=", 1) for word in words.split(","))
            words = {name: float(number) for name, number in pairs}
        except ValueError:
            raise ValueError(
                f"--class_weights is none, balanced, or NAME=NUMBER with commas between. Received: "
                f"{words!r}"
            ) from None
    return weights_of(source.labels, words, source.class_names)


def train(
    model,
    batches,
    folder,
    description,
    settings,
    *,
    epochs=None,
    part=None,
    watchers=(),
    writers=(),
    hidden=(),
    pictures=None,
    **fit,
):
    """Fits a compiled model, leaving metrics.jsonl, curves.png, board and checkpoints in `folder`.

    Where there are checkpoints it goes on from them.

    Args:
        model: compiled.
        batches: `ImageBatches`.
        folder: Path.
        description: str, before the progress bar.
        settings: `Settings`.
        epochs: (first, end); default: all of --epochs.
        part: name of a part of the training that others follow, with optimizers of their own.
        watchers: callbacks that add figures to an epoch's logs.
        writers: more callbacks that write, of one process of several.
        hidden: names of figures that the progress bar has no room for; metrics.jsonl has them.
        pictures: optional function for `WriteBoard`.
        **fit: more arguments of `fit`.

    Returns:
        The last epoch's logs, a dict of floats.
    """
    import keras

    from keras_convnextv2.analysis.curves import DrawCurves
    from keras_convnextv2.runs import Checkpoints
    from keras_convnextv2.training.board import WriteBoard
    from keras_convnextv2.training.callback_list import LazyCallbackList
    from keras_convnextv2.training.callbacks import StopOnNonFiniteLoss, WriteMetrics
    from keras_convnextv2.training.progress import ShowProgress

    from .interruption import StopOnSignal, Stopped

    first, end = epochs or (0, settings.epochs)
    of_last_part = folder / "checkpoints"
    if part is not None and any(of_last_part.glob("step-*")):
        return {}  # what follows it has begun
    images_per_epoch = len(batches) * batches.batch_size
    name_bad = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: images.name_bad_images(batches.bad_images)
    )
    progress = ShowProgress(images_per_epoch, len(batches), description, hidden=hidden)
    # Each phase has an optimizer of its own, which counts its updates from 0.
    first_step = len(batches) * first // settings.accumulation_steps
    board = WriteBoard(
        folder / "board", batches.batch_size, pictures=pictures, first_step=first_step
    )
    record = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: run_folder.keep_settings(folder, settings)
    )
    checkpoints = Checkpoints(
        of_last_part if part is None else of_last_part / part,
        every=settings.save_every or None,
        keep=settings.keep_checkpoints,
        keep_every=settings.keep_every or None,
        allow_changes=settings.allow_changed_settings,
        first_step=first * len(batches),
    )
    stop = StopOnSignal(checkpoints)
    writing = [
        progress,
        name_bad,
        WriteMetrics(folder / "metrics.jsonl", images_per_epoch, first_step),
        DrawCurves(folder / "metrics.jsonl", folder / "curves.png"),
        board,
        *writers,
    ]
    is_writer = processes.is_writer()
    callbacks = [
        StopOnNonFiniteLoss(),
        *([record] if is_writer else []),
        *watchers,
        *(writing if is_writer else []),
        checkpoints,
        stop,
    ]
    callbacks = LazyCallbackList(
        callbacks, add_history=True, model=model, verbose=0, epochs=end, steps=len(batches)
    )
    try:
        with stop.listening():
            history = model.fit(
                batches,
                initial_epoch=first,
                epochs=end,
                verbose=0,
                callbacks=callbacks,
                **fit,
            )
        if processes.of_any(stop.number is not None):  # it came behind the last step
            raise Stopped(stop.number or signal.SIGTERM, checkpoints.folder)
    except FloatingPointError as error:
        if not hasattr(error, "batches"):
            raise
        raise FloatingPointError(f"{error} {_tell_images(error, batches, folder)}") from error
    except Exception as error:
        # A backend wraps what went wrong while images were read in an error of its own.
        if batches.error is not None:
            raise _with_ways_out(batches.error, settings) from error
        raise
    finally:
        progress.close()
        with contextlib.suppress(OSError):  # after an error, which is told; `fit` closes it itself
            board.close()
    if not history.history:  # all epochs were done before
        return run_folder.last_logs(folder)
    return {name: values[-1] for name, values in history.history.items()}


def _with_ways_out(error, settings):
    """The error of reading images; of one that cannot be read, with what there is against it."""
    from keras_convnextv2.data.image_source import UnreadableImageError

    if not isinstance(error, UnreadableImageError) or settings.max_bad_images:
        return error
    return UnreadableImageError(
        f"{error} --check_images finds all such files before the training, and --max_bad_images=1 "
        "passes over one.",
        name=error.name,
        reason=error.reason,
    )


def _tell_images(error, batches, folder):
    """Writes which images a step took whose loss was not finite; returns where, in words."""
    from keras_convnextv2.whole_files import whole_file

    batches.epoch = error.epoch
    told = {
        "error": str(error),
        "epoch": error.epoch + 1,
        "batches": [
            {"batch": batch + 1, "images": batches.names(batch)} for batch in error.batches
        ],
    }
    path = folder / "non_finite_loss.json"
    if processes.is_writer():
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(told, indent=1) + "\n")
    return f"{path} names the images of these steps."
