"""JAX: `keras.distribution`, with one program for the devices of all processes."""

import contextlib
import os

import keras

from keras_convnextv2.training.distribution.parts import WholeBatch
from keras_convnextv2.training.distribution.shared_devices import Devices


@contextlib.contextmanager
def data_parallel(timeout):
    """As `distribution.data_parallel`."""
    import jax

    if "KERAS_DISTRIBUTION_JOB_ADDRESSES" in os.environ and not jax.distributed.is_initialized():
        keras.distribution.initialize()
    # Each process reads its own part of a batch: nothing is left for Keras to cut.
    spread = keras.distribution.DataParallel(devices=jax.devices(), auto_shard_dataset=False)
    with spread.scope():
        yield


def devices():
    """As `distribution.devices`."""
    import jax

    spread = keras.distribution.distribution()
    if spread is None:
        return Devices()
    return Devices(spread.device_mesh.devices.size, jax.process_index(), jax.process_count())


def part_of(num_images):
    """The `WholeBatch`: the arrays of a step are those of all devices."""
    return WholeBatch(num_images)


def loss_of_part(loss):
    """The loss as it is."""
    return loss


def gathered(number):
    """A number of each process, a list."""
    import numpy as np
    from jax.experimental import multihost_utils

    # As bytes: JAX would make 32 bits of it.
    kind = np.int64 if isinstance(number, int) else np.float64
    own = np.frombuffer(kind(number).tobytes(), "uint8")
    return multihost_utils.process_allgather(own).view(kind)[..., 0].tolist()


def prepare(model):
    """Nothing: variables are one array for all devices."""


def data(model, batches):
    """(the batches as they are, None): Keras puts the parts of the processes together."""
    return batches, None


def outputs_of(model, predict_on_batch, x):
    """What a model gives for a whole batch, which each process computes by itself."""
    spread = keras.distribution.distribution()
    keras.distribution.set_distribution(None)  # or a batch would have to fill equal parts
    try:
        return predict_on_batch(x)
    finally:
        keras.distribution.set_distribution(spread)


def is_lost_process(error):
    """Whether an error of a step says so."""
    words = ("connection closed", "connection reset", "heartbeat", "unavailable", "gloo")
    return type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and any(
        word in str(error).lower() for word in words
    )
