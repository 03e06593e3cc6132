"""--dry_run: the smallest part of a run that shows that it works, and what all of it will take."""

import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np


def project(
    model, batches, epochs, evaluation=None, num_evaluations=1, num_steps=3, num_checkpoints=2
):
    """Takes a step, saves and restores, evaluates once, and says what the run will take.

    The first step compiles; `num_steps` more are timed, with the reading of their images. Nothing
    stays on the disk. The model has learned from these steps: it is not the one to train with.

    Args:
        model: compiled.
        batches: what `fit` takes, with a length: a `keras.utils.PyDataset`.
        epochs: int.
        evaluation: optional batches that the run predicts to measure itself.
        num_evaluations: int, how often the run evaluates all of them.
        num_steps: int, steps that are timed; where an epoch has fewer, they come again.
        num_checkpoints: int, how many are kept.

    Returns:
        Dict of numbers: "loss" as the proof; with `evaluation` "evaluation_seconds" of all of it;
        "first_step_seconds", "seconds_per_step" (the median), "images_per_second",
        "save_seconds", "restore_seconds", "projected_seconds" of the run with its evaluations and
        a save an epoch, "projected_time" as h:mm:ss, "projected_steps", "peak_memory_bytes" of the
        process (None where the system does not say), "checkpoint_bytes", and "disk_bytes" that the
        run needs: the checkpoints that are kept, the one that is being written, and the model.

    Raises:
        ValueError: what was restored is not what was saved, naming the first weight.
        FloatingPointError: the loss is not finite.
    """
    clock = _StepClock()
    started = time.monotonic()
    logs = _fit(model, _First(batches, 1), clock)
    first_step = time.monotonic() - started
    batch_size = len(_images_of(batches[0]))
    clock.ends.clear()
    _fit(model, _First(batches, num_steps + 1), clock)
    step = float(np.median(np.diff(clock.ends)))

    result = {"loss": float(logs["loss"])}
    evaluation_seconds = 0.0
    if evaluation is not None:
        model.predict(_First(evaluation, 1), verbose=0)  # compiles
        started = time.monotonic()
        model.predict(_First(evaluation, 1), verbose=0)
        evaluation_seconds = (time.monotonic() - started) * len(evaluation)
        result["evaluation_seconds"] = evaluation_seconds
    save, restore, checkpoint_bytes, peak = _save_and_restore(model)
    steps = epochs * len(batches)
    seconds = first_step + step * steps + num_evaluations * evaluation_seconds + save * epochs
    return {
        **result,
        "first_step_seconds": first_step,
        "seconds_per_step": step,
        "images_per_second": batch_size / step,
        "save_seconds": save,
        "restore_seconds": restore,
        "projected_steps": steps,
        "projected_seconds": seconds,
        "projected_time": clock_time(seconds),
        "peak_memory_bytes": peak,
        "checkpoint_bytes": checkpoint_bytes,
        "disk_bytes": (num_checkpoints + 2) * checkpoint_bytes,
    }


def num_checkpoints(settings, epochs):
    """How many checkpoints a run of so many epochs has at its end, by its settings."""
    archived = epochs // settings.keep_every if settings.keep_every else 0
    return settings.keep_checkpoints + archived


def clock_time(seconds):
    """Seconds as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def peak_memory():
    """The most memory that this process has held, in bytes; None where the system has no count."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class _First(keras.utils.PyDataset):
    """So many batches; where there are fewer, from the first again."""

    def __init__(self, batches, count):
        super().__init__()
        self.batches, self.count = batches, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.batches[index % len(self.batches)]


class _StepClock(keras.callbacks.Callback):
    """When steps ended; that the logs come as numbers makes Keras wait for each."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.monotonic())


def _fit(model, batches, clock):
    from keras_convnextv2.training.callbacks import StopOnNonFiniteLoss

    history = model.fit(
        batches, epochs=1, shuffle=False, verbose=0, callbacks=[StopOnNonFiniteLoss(), clock]
    )
    return {name: values[-1] for name, values in history.history.items()}


def _images_of(batch):
    images = batch[0] if isinstance(batch, (tuple, list)) else batch
    return images["images"] if isinstance(images, dict) else images


def _save_and_restore(model):
    """(seconds to save, seconds to restore, bytes of the checkpoint, peak memory until then)."""
    from keras_convnextv2.runs import checkpoint_folder

    state = {"epoch": 0, "batch": 0, "steps": 0, "settings": {}, "callbacks": []}
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint_folder.path_of(Path(folder), 0)
        started = time.monotonic()
        snapshot = checkpoint_folder.take_snapshot(model, state, with_metrics=False)
        checkpoint_folder.write(path, snapshot)
        saved = time.monotonic()
        peak = peak_memory()
        checkpoint = checkpoint_folder.open_checkpoint(path)
        load, _ = checkpoint.read(model)
        load()
        ended = time.monotonic()
        num_bytes = sum(file.stat().st_size for file in path.iterdir())
        for part in ("weights", "training"):
            _check_equal(getattr(snapshot, part), getattr(checkpoint, part))
    return saved - started, ended - saved, num_bytes, peak


def _check_equal(saved, stored):
    for name, array in saved.items():
        if not np.array_equal(array, stored[name].load()):
            raise ValueError(
                f"{name} was restored with other values than were saved: the run's checkpoints "
                "would be of no use. Please report it."
            )
