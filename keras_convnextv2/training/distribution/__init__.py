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
from keras_convnextv2.training.distribution.errors import LostProcessError

__all__ = ["LostProcessError", "data_parallel", "devices", "gathered", "is_writer", "mean", "shard"]


def data_parallel(timeout=60):
    """A context within which models that are made train on all devices.

    - JAX: the devices of this process; of several processes where the variables of
      `keras.distribution.initialize` are set (KERAS_DISTRIBUTION_JOB_ADDRESSES ...).
    - TensorFlow: `MirroredStrategy` over the devices of this process; of several processes where
      TF_CONFIG names them, by `MultiWorkerMirroredStrategy`.
    - torch: the processes that torchrun started, a device each.

    With one device it changes nothing.

    Args:
        timeout: number of seconds after which a process of torch or TensorFlow gives up waiting for
            another.

    Raises:
        LostProcessError: on torch, the others do not come; later, of `fit` and `evaluate`, when
            another process has ended.
    """
    return engines.current().data_parallel(timeout)


def devices():
    """The `Devices` that share a batch: `count`, `process_index`, `process_count`."""
    return engines.current().devices()


def shard():
    """(index, count) of this process among those that share a batch, as `ImageBatches` takes it."""
    here = devices()
    return here.process_index, here.process_count


def is_writer():
    """Whether this process writes files and speaks for all."""
    return devices().process_index == 0


def gathered(number):
    """The numbers that the processes give, a list in their order.

    Args:
        number: int or float. All processes must call this at the same place.
    """
    return [number] if devices().process_count == 1 else engines.current().gathered(number)


def mean(number):
    """The mean over the processes of a number that each gives, a float."""
    numbers = gathered(number)
    return sum(numbers) / len(numbers)
