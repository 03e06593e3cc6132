"""`fit` and `evaluate` of Keras on all devices."""

import contextlib
import functools

import keras

from keras_convnextv2.training.distribution import engines, evaluation
from keras_convnextv2.training.distribution.errors import LostProcessError


def shared_fit(model, keras_fit):
    """Keras's `fit` of a model, which spreads the data over the devices that there are.

    Args:
        model: of this library.
        keras_fit: its `fit` of Keras.

    Returns:
        A function with the arguments of `keras_fit`.
    """
    engine = engines.current()
    devices = engine.devices()
    if devices.count == 1:
        return keras_fit

    @functools.wraps(keras_fit)
    def fit(x=None, *arguments, validation_data=None, **given):
        _check(x, devices)
        with _lost_process_named(engine):
            engine.prepare(model)
            x, steps = _spread(engine, model, x)
            given["validation_data"], validation_steps = _evaluated(engine, model, validation_data)
            numbers = {"steps_per_epoch": steps, "validation_steps": validation_steps}
            given |= {name: number for name, number in numbers.items() if number is not None}
            return keras_fit(x, *arguments, **given)

    return fit


@contextlib.contextmanager
def shared_evaluation(model, x, options):
    """Within it Keras evaluates what it gives, (x, options), in place of what `evaluate` takes."""
    engine = engines.current()
    if engine.devices().count == 1:
        yield x, options
        return
    with _lost_process_named(engine):
        x, steps = _evaluated(engine, model, x)
        yield x, options if steps is None else {**options, "steps": steps}


def _evaluated(engine, model, x):
    return _spread(engine, model, evaluation.shared(x, engine.devices()))


def _spread(engine, model, x):
    return engine.data(model, x) if isinstance(x, keras.utils.PyDataset) else (x, None)


def _check(batches, devices):
    """Raises ValueError for `ImageBatches` that are not those of this process."""
    shard = getattr(batches, "shard", None)
    here = devices.process_index, devices.process_count
    if shard is None:
        return
    if shard != here:
        raise ValueError(
            f"This is process {here[0]} of {here[1]}, and the batches are those of {shard}: make "
            "ImageBatches with shard=distribution.shard()."
        )
    if batches.batch_size % devices.count:
        raise ValueError(
            f"A batch of {batches.batch_size} images cannot be shared evenly by {devices.count} "
            f"devices. Choose a multiple of {devices.count}."
        )


@contextlib.contextmanager
def _lost_process_named(engine):
    try:
        yield
    except Exception as error:
        if not engine.is_lost_process(error):
            raise
        raise LostProcessError.of(error) from error
