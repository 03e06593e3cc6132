"""A training on many devices: the same numbers as on one, for the same batches.

    from keras_convnextv2.training import distribution

    with distribution.data_parallel():
        index, count = distribution.shard()
        batches = ImageBatches(source, (224, 224), 4096, shard=(index, count), ...)
        fcmae = kc.FCMAE(backbone)  # made within it
        fcmae.compile()
        fcmae.fit(batches)

Each process reads its own part of a batch. Masks, depths and augmentations follow from an image's
place in the batch of all devices; the loss, its gradients and all metrics are those of all images.
Docs: many_devices.md.
"""

from keras_convnextv2.training.distribution import engines
from keras_convnextv2.training.distribution.errors import LostProcessError, lost_process_named
from keras_convnextv2.training.distribution.shared_devices import Devices

__all__ = [
    "Devices",
    "LostProcessError",
    "data_parallel",
    "devices",
    "gathered",
    "gathered_rows",
    "is_writer",
    "mean",
    "of_this_process",
    "shard",
]


def data_parallel(timeout=300):
    """A context within which models that are made train on all devices.

    - JAX: the devices of this process; of several processes where the variables of
      `keras.distribution.initialize` are set (KERAS_DISTRIBUTION_JOB_ADDRESSES ...).
    - TensorFlow: `MirroredStrategy` over the devices of this process; of several processes where
      TF_CONFIG names them, by `MultiWorkerMirroredStrategy`.
    - torch: the processes that torchrun started, a device each.

    With one device it changes nothing.

    Args:
        timeout: int, seconds after which a process gives up waiting for another that still gives
            signs of itself, as one that writes or compiles for long. That one has ended is noticed
            at once, that one has fallen silent within a minute (with NCCL after `timeout`).

    Raises:
        LostProcessError: on torch, the others do not come; later, of `fit` and `evaluate`, when
            another process has ended.

    Examples:
        >>> from keras_convnextv2.training import distribution
        >>> with distribution.data_parallel():  # of this process and its one device
        ...     distribution.devices()
        Devices(count=1, process_index=0, process_count=1)
    """
    return engines.current().data_parallel(timeout)


def devices():
    """The `Devices` that share a batch.

    Examples:
        >>> from keras_convnextv2.training import distribution
        >>> distribution.devices().count
        1
    """
    return engines.current().devices()


def shard():
    """(index, count) of this process among those that share a batch, as `ImageBatches` takes it.

    Examples:
        >>> from keras_convnextv2.training import distribution
        >>> distribution.shard()
        (0, 1)
    """
    here = devices()
    return here.process_index, here.process_count


def is_writer():
    """Whether this process writes files and speaks for all.

    Examples:
        >>> from keras_convnextv2.training import distribution
        >>> distribution.is_writer()
        True
    """
    return devices().process_index == 0


def gathered(number):
    """The numbers that the processes give, a list in their order.

    Args:
        number: int or float. All processes must call this at the same place.

    Examples:
        >>> from keras_convnextv2.training import distribution
        >>> distribution.gathered(7)
        [7]
    """
    engine = engines.current()
    if engine.devices().process_count == 1:
        return [number]
    with lost_process_named(engine):
        return engine.gathered(number)


def gathered_rows(array):
    """The rows of the processes' arrays, one behind the other.

    Args:
        array: NumPy array (N, ...), N of this process, the rest as in the others. All processes
            must call this at the same place.

    Returns:
        NumPy array, the same in each process.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.training import distribution
        >>> distribution.gathered_rows(np.ones((2, 3))).shape
        (2, 3)
    """
    engine = engines.current()
    if engine.devices().process_count == 1:
        return array
    with lost_process_named(engine):
        return engine.gathered_rows(array)


def of_this_process():
    """A context within which a process uses its own devices alone, as those of one process.

    For what processes compute apart, such as features of other images each.

    Examples:
        >>> from keras_convnextv2.training import distribution
        >>> with distribution.of_this_process():
        ...     distribution.shard()
        (0, 1)
    """
    return engines.current().of_this_process()


def mean(number):
    """The mean over the processes of a number that each gives, a float.

    Args:
        number: int or float.

    Examples:
        >>> from keras_convnextv2.training import distribution
        >>> distribution.mean(0.5)
        0.5
    """
    numbers = gathered(number)
    return sum(numbers) / len(numbers)
