"""`fit` and `evaluate` of Keras on all devices."""

import contextlib
import functools

import keras

from keras_convnextv2.training.distribution import engines, evaluation
from keras_convnextv2.training.distribution.errors import lost_process_named

_MEAN = "sum_over_batch_size"


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
        _check_model(model)
        _check_batches(x, devices)
        with lost_process_named(engine):
            engine.prepare(model)
            if isinstance(x, keras.utils.PyDataset):
                x, steps, given = engine.data(model, x, given)
            else:
                steps = None
            given["validation_data"], validation_steps = _evaluated(engine, model, validation_data)
            numbers = {"steps_per_epoch": steps, "validation_steps": validation_steps}
            given |= {name: n for name, n in numbers.items() if given.get(name) is None}
            return keras_fit(x, *arguments, **given)

    return fit


@contextlib.contextmanager
def shared_evaluation(model, x, options):
    """Within it Keras evaluates what it gives, (x, options), in place of what `evaluate` takes."""
    engine = engines.current()
    if engine.devices().count == 1:
        yield x, options
        return
    with lost_process_named(engine):
        x, steps = _evaluated(engine, model, x)
        given = options.get("steps")
        yield x, {**options, "steps": steps if given is None else given}


def _evaluated(engine, model, x):
    shared = evaluation.shared(x, engine.devices())
    if not isinstance(shared, keras.utils.PyDataset):
        return x, None
    _check_model(model, trains=False)
    return engine.data(model, shared, {})[:2]


def _check_model(model, trains=True):
    """Raises ValueError for a model whose steps are not shared, or whose loss is no mean."""
    if not hasattr(model, "evaluation_outputs") or (trains and not model.trainable_weights):
        raise ValueError(
            "Several devices train FCMAE, LatentPrediction and ConvNeXtV2Classifier, of which "
            f"something is trainable. Received: {type(model).__name__}"
        )
    reduction = getattr(model.loss, "reduction", _MEAN) if hasattr(model, "loss") else _MEAN
    if reduction != _MEAN:
        raise ValueError(
            f"On several devices a loss is a mean over images: reduction={_MEAN!r}. Received: "
            f"{reduction!r}"
        )


def _check_batches(batches, devices):
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
    rest = batches.num_images % batches.batch_size
    if rest % devices.count and not batches.drop_remainder:
        raise ValueError(
            f"The last batch would have {rest} images for {devices.count} devices: give "
            "ImageBatches drop_remainder=True."
        )
