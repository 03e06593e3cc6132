"""--distribution: the processes and devices that share a training."""

import contextlib

from absl import flags

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_enum(
        "distribution",
        "none",
        ["none", "data_parallel"],
        "How several devices are used: not at all, or each takes a part of --batch_size, which "
        "counts for all. docs/many_devices.md says how processes are started.",
    )


@contextlib.contextmanager
def together():
    """Within it models are made and trained on all devices, where --distribution says so."""
    if not _is_shared():
        yield
        return
    from keras_convnextv2.training import distribution

    with distribution.data_parallel():
        yield


def _is_shared():
    # Not every program has the flag, and a part of one may be used without any program.
    return "distribution" in FLAGS and FLAGS.is_parsed() and FLAGS.distribution != "none"


def shard():
    """(index, count) of this process, as `ImageBatches` takes it."""
    if not _is_shared():
        return 0, 1
    from keras_convnextv2.training import distribution

    return distribution.shard()


def is_writer():
    """Whether this process speaks and writes for all."""
    return shard()[0] == 0


def of_writer(number):
    """The number that the process which writes gives; the others wait for it.

    Args:
        number: int or float.
    """
    if shard()[1] == 1:
        return number
    from keras_convnextv2.training import distribution

    return distribution.gathered(number)[0]


def of_any(flag):
    """Whether any process says so; all must ask at the same place."""
    if shard()[1] == 1:
        return flag
    from keras_convnextv2.training import distribution

    return any(distribution.gathered(int(flag)))


def apart():
    """A context within which each process computes by itself, with the devices that it has."""
    if not _is_shared():
        return contextlib.nullcontext()
    from keras_convnextv2.training import distribution

    return distribution.of_this_process()


def rows_of_all(array):
    """The rows of the processes' arrays, one behind the other; None stays None."""
    if array is None or shard()[1] == 1:
        return array
    from keras_convnextv2.training import distribution

    return distribution.gathered_rows(array)


def is_lost(error):
    """Whether an error says that another process has gone."""
    if not _is_shared():
        return False
    from keras_convnextv2.training.distribution import LostProcessError

    return isinstance(error, LostProcessError)


def num_devices():
    """Devices of all processes."""
    if not _is_shared():
        return 1
    from keras_convnextv2.training import distribution

    return distribution.devices().count
