"""Which part of a batch is computed here, where several devices share one."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable

_here = threading.local()  # replicas of TensorFlow are threads


@dataclasses.dataclass(frozen=True)
class BatchPart:
    """A part of a batch, whose other parts are computed elsewhere at the same time.

    Args:
        first_image: int or scalar tensor, the place of its first image in the whole batch.
        mean: function of a tensor that has one value a part: the mean over the images of all parts,
            without a gradient.
    """

    first_image: object
    mean: Callable


@contextlib.contextmanager
def computing(part):
    """Within it this thread computes `part`, a `BatchPart`, or None for whole batches."""
    before = current()
    _here.part = part
    try:
        yield
    finally:
        _here.part = before


def current():
    """The `BatchPart` that this thread computes, or None for whole batches."""
    return getattr(_here, "part", None)
