"""The part of a picture that evaluation sees, as in the paper."""

import math
from dataclasses import dataclass

from keras_convnextv2.data.valid_settings import demand_image_size

_PAPER_CROP_FRACTION = 0.875  # 224 of 256 pixels
_PAPER_WARPS_FROM = 384  # pixels


@dataclass(frozen=True)
class ResizeThenCrop:
    """A framing: the picture is resized until it covers a larger size, and its centre is cropped.

    Its shorter side becomes floor(size / crop_fraction); for an oblong size, the picture just
    covers (H, W) / crop_fraction. With `crop_fraction` 1 nothing is cut off: the whole picture is
    squeezed into the size, whatever its shape, as the official code does from 384 pixels on.

    Args:
        image_size: (H, W) in pixels.
        crop_fraction: float, above 0 and up to 1.

    Raises:
        ValueError: a size or a fraction that none can be.

    Examples:
        >>> from keras_convnextv2.data import ResizeThenCrop
        >>> ResizeThenCrop((224, 224)).box(512, 512, rng=None)  # 7/8 of it
        (32.0, 32.0, 480.0, 480.0)
        >>> ResizeThenCrop.as_in_paper((384, 384)).box(500, 333, rng=None)
        (0.0, 0.0, 500.0, 333.0)
    """

    image_size: tuple[int, int]
    crop_fraction: float = _PAPER_CROP_FRACTION

    def __post_init__(self):
        demand_image_size(self.image_size)
        object.__setattr__(self, "image_size", tuple(self.image_size))
        if not 0 < self.crop_fraction <= 1:
            raise ValueError(
                f"`crop_fraction` must be above 0 and up to 1. Received: {self.crop_fraction!r}"
            )

    @classmethod
    def as_in_paper(cls, image_size):
        """The paper's evaluation at a size: 7/8 of the picture, and all of it from 384 pixels on.

        Args:
            image_size: (H, W) in pixels.
        """
        demand_image_size(image_size)
        warps = min(image_size) >= _PAPER_WARPS_FROM
        return cls(image_size, 1.0 if warps else _PAPER_CROP_FRACTION)

    def box(self, width, height, rng=None):
        """The part of a picture of `width` x `height` pixels that fills the image size.

        Args:
            width: of the picture, in pixels.
            height: of the picture, in pixels.
            rng: not asked; it is here since framings are called with one.

        Returns:
            (left, top, right, bottom) in pixels of the picture, floats.
        """
        if self.crop_fraction == 1:
            return 0.0, 0.0, float(width), float(height)
        # The resized picture has whole pixels, and the crop begins at one, as in the official code.
        resized = self._resized(width, height)
        starts = [
            round((full - side) / 2)
            for full, side in zip(resized, self.image_size[::-1], strict=True)
        ]
        stretch_x, stretch_y = width / resized[0], height / resized[1]
        left, top = starts[0] * stretch_x, starts[1] * stretch_y
        return (
            left,
            top,
            min(float(width), left + self.image_size[1] * stretch_x),
            min(float(height), top + self.image_size[0] * stretch_y),
        )

    def _resized(self, width, height):
        """(width, height) of the whole picture, of which the centre is taken."""
        # Rounded first: a quotient that is whole on paper may lie a hair below.
        least_height, least_width = (
            math.floor(round(side / self.crop_fraction, 6)) for side in self.image_size
        )
        # Whole numbers are compared and divided, so that no rounding decides.
        if least_width * height >= least_height * width:
            return least_width, max(least_height, least_width * height // width)
        return max(least_width, least_height * width // height), least_height
