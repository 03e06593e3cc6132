"""Which checkpoint is that of the best epoch."""

import math
import warnings


class BestEpoch:
    """The best epoch so far, by one figure of each.

    Args:
        monitor: name of the figure, or None: no epoch is the best one.
        mode: "max" or "min", what of it is better.

    Raises:
        ValueError: `mode` is neither.
    """

    def __init__(self, monitor, mode):
        if mode not in ("max", "min") and (monitor is not None or mode is not None):
            raise ValueError(f"`mode` must be 'max' or 'min' for a `monitor`. Received: {mode!r}")
        self.monitor, self.mode = monitor, mode
        self.state = None  # [figure, name of its checkpoint]
        self._is_known = monitor is None

    def look(self, logs, name):
        """Looks at an epoch that has ended.

        Args:
            logs: its figures, or None.
            name: str, of its checkpoint.
        """
        logs = logs or {}
        self._demand_figure(sorted(logs))
        value = float(logs.get(self.monitor, math.nan))
        if math.isnan(value):
            return
        is_better = self.state is None or (
            value > self.state[0] if self.mode == "max" else value < self.state[0]
        )
        if is_better:
            self.state = [value, name]

    def _demand_figure(self, names):
        """Warns, once, where the figure is not among those of the first epoch."""
        is_of_validation = str(self.monitor).startswith("val_")
        comes_later = is_of_validation and not any(name.startswith("val_") for name in names)
        if self._is_known or comes_later:
            return
        self._is_known = True
        if self.monitor not in names:
            warnings.warn(
                f"monitor={self.monitor!r} is none of the figures of an epoch, which are "
                f"{', '.join(names)}: no checkpoint is kept as the best one.",
                stacklevel=2,
            )
