"""Which stored values are black and white, of pixels of more than 8 bits."""

import dataclasses

import numpy as np

from keras_convnextv2.models.pixel_range import checked_pixel_range

# What cameras and scanners give; a 16-bit file does not say which.
BIT_DEPTHS = (8, 10, 12, 14, 16)


@dataclasses.dataclass(frozen=True)
class PixelRange:
    """The stored values that become 0 and 255; what is below or above is taken as they are.

    Args:
        low: float, finite.
        high: float, finite, above `low`.
        origin: str, where the range comes from, in words.

    Raises:
        ValueError: it is no range.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import PixelRange
        >>> of_12_bits = PixelRange(0, 4095)
        >>> of_12_bits.to_uint8(np.array([0, 1000, 4095, 9999], "uint16")).tolist()
        [0, 62, 255, 255]
    """

    low: float
    high: float
    origin: str = dataclasses.field(default="as given", compare=False)

    def __post_init__(self):
        low, high = checked_pixel_range((self.low, self.high))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @property
    def values(self):
        """(low, high)."""
        return self.low, self.high

    def __str__(self):
        return f"{self.low:.10g} to {self.high:.10g}, {self.origin}"

    def to_uint8(self, values):
        """uint8 of values of any dtype, in the same shape, rounded; NaN becomes 0."""
        dtype = "float64" if values.dtype.itemsize > 2 else "float32"
        scaled = (values.astype(dtype) - self.low) * (255 / (self.high - self.low))
        scaled = np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled)
        return np.nan_to_num(scaled, copy=False, nan=0).astype("uint8")
