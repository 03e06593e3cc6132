"""The devices that share a batch, and the processes that they belong to."""

import contextlib
import dataclasses


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that share each batch of a training.

    Args:
        count: int, of all processes.
        process_index: int, which process this is.
        process_count: int.

    Examples:
        >>> from keras_convnextv2.training.distribution import Devices
        >>> Devices(count=8, process_index=1, process_count=2).count_here
        4
    """

    count: int = 1
    process_index: int = 0
    process_count: int = 1

    @property
    def count_here(self):
        """Those of this process."""
        return self.count // self.process_count


_state = {"apart": False}  # whether each process computes by itself, whatever its threads


@contextlib.contextmanager
def computing_apart():
    """Within it each process of torch or TensorFlow computes by itself."""
    before, _state["apart"] = _state["apart"], True
    try:
        yield
    finally:
        _state["apart"] = before


def is_apart():
    """Whether it is within `computing_apart`."""
    return _state["apart"]
