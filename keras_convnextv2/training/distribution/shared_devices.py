"""The devices that share a batch, and the processes that they belong to."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that share each batch of a training.

    Args:
        count: int, of all processes.
        process_index: int, which process this is.
        process_count: int.
    """

    count: int = 1
    process_index: int = 0
    process_count: int = 1

    @property
    def count_here(self):
        """Those of this process."""
        return self.count // self.process_count
