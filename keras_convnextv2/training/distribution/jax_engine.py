"""JAX: `keras.distribution`, with one program for the devices of all processes."""

import contextlib
import os

import keras
import numpy as np

from keras_convnextv2 import insides
from keras_convnextv2.training.distribution.parts import WholeBatch
from keras_convnextv2.training.distribution.shared_devices import Devices

_VARIABLES = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
_HEARTBEAT = 60  # seconds without a sign of a process, which gives it whatever it is at


@contextlib.contextmanager
def data_parallel(timeout):
    """As `distribution.data_parallel`."""
    import jax

    addresses, *numbers = (os.environ.get(f"KERAS_DISTRIBUTION_{name}") for name in _VARIABLES)
    if addresses and not jax.distributed.is_initialized():
        # As `keras.distribution.initialize`, which has no timeouts: by JAX's own a process that
        # has lost another would stay for minutes.
        jax.distributed.initialize(
            addresses.partition(",")[0],
            *(number and int(number) for number in numbers),
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=timeout,
        )
        insides.seed_all_processes_of_jax()
    # Each process reads its own part of a batch: nothing is left for Keras to cut.
    spread = keras.distribution.DataParallel(devices=jax.devices(), auto_shard_dataset=False)
    with spread.scope():
        yield


class _OfOneProcess(keras.distribution.DataParallel):
    """Over the devices of this process."""


def of_this_process():
    """As `distribution.of_this_process`."""
    import jax

    if keras.distribution.distribution() is None:
        return contextlib.nullcontext()
    return _OfOneProcess(devices=jax.local_devices(), auto_shard_dataset=False).scope()


def devices():
    """As `distribution.devices`."""
    import jax

    spread = keras.distribution.distribution()
    if spread is None:
        return Devices()
    if isinstance(spread, _OfOneProcess):
        return Devices(spread.device_mesh.devices.size)
    return Devices(spread.device_mesh.devices.size, jax.process_index(), jax.process_count())


def part_of(num_images):
    """The `WholeBatch`: the arrays of a step are those of all devices."""
    return WholeBatch(num_images)


def loss_of_part(loss):
    """The loss as it is."""
    return loss


def gathered(number):
    """A number of each process, a list."""
    from jax.experimental import multihost_utils

    # As bytes: JAX would make 32 bits of it.
    kind = np.int64 if isinstance(number, int) else np.float64
    own = np.frombuffer(kind(number).tobytes(), "uint8")
    return multihost_utils.process_allgather(own).view(kind)[..., 0].tolist()


def gathered_rows(array):
    """The rows of the processes' arrays."""
    from jax.experimental import multihost_utils

    sizes = gathered(len(array))
    filled = np.zeros((max(sizes), *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    # As bytes: JAX would make 32 bits of 64.
    of_all = multihost_utils.process_allgather(np.frombuffer(filled.tobytes(), "uint8"))
    parts = of_all.view(array.dtype).reshape(len(sizes), *filled.shape)
    return np.concatenate([part[:size] for part, size in zip(parts, sizes, strict=True)])


def prepare(model):
    """Nothing: variables are one array for all devices."""


def data(model, batches, options):
    """(the batches as they are, None, options): Keras puts the parts of processes together."""
    return batches, None, options


def outputs_of(model, predict_on_batch, x):
    """What a model gives for a whole batch, which each process computes by itself."""
    spread, here = keras.distribution.distribution(), devices()
    fills_parts = len(keras.tree.flatten(x)[0]) % here.count == 0
    if spread is None or (here.process_count == 1 and fills_parts):
        return predict_on_batch(x)
    keras.distribution.set_distribution(None)
    try:
        return predict_on_batch(x)
    finally:
        keras.distribution.set_distribution(spread)


def is_lost_process(error):
    """Whether an error of a step says so."""
    words = ("connection", "heartbeat", "unavailable", "gloo", "nccl", "deadline", "timed out")
    return type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and any(
        word in str(error).lower() for word in words
    )
