"""The part of a picture that a training step sees: of random area, shape and place."""

import math
from dataclasses import dataclass

from keras_convnextv2.data.valid_settings import demand_image_size, demand_range

_NUM_TRIES = 10


@dataclass(frozen=True)
class RandomResizedCrop:
    """A framing: a box of random area, aspect ratio and place, which fills the image size.

    The area is uniform in `scale`, the logarithm of width / height in that of `ratio`, and the
    sides are rounded to whole pixels. A box that does not fit is drawn again; after 10 tries it is
    the largest one in the centre whose ratio is within `ratio`. Source: "Going deeper with
    convolutions" (arXiv 1409.4842, section 6), with torchvision's and timm's numbers.

    Args:
        image_size: (H, W) in pixels, which the box is resized to.
        scale: (low, high), shares of the picture's area. Paper: (0.2, 1) for pretraining, (0.08, 1)
            for fine-tuning.
        ratio: (low, high), width / height of the box.

    Raises:
        ValueError: a size, a share or a ratio that none can be.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import RandomResizedCrop
        >>> framing = RandomResizedCrop((224, 224), scale=(0.25, 0.25), ratio=(1, 1))
        >>> left, top, right, bottom = framing.box(400, 400, np.random.default_rng(0))
        >>> right - left, bottom - top
        (200.0, 200.0)
    """

    image_size: tuple[int, int]
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self):
        demand_image_size(self.image_size)
        demand_range("scale", self.scale, above=0, highest=1)
        demand_range("ratio", self.ratio, above=0)
        for name in ("image_size", "scale", "ratio"):  # a list would not be hashable
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def box(self, width, height, rng):
        """The part of a picture of `width` x `height` pixels that fills the image size.

        Args:
            width: of the picture, in pixels.
            height: of the picture, in pixels.
            rng: `numpy.random.Generator`.

        Returns:
            (left, top, right, bottom) in pixels of the picture, floats with whole values.
        """
        log_ratio = [math.log(ratio) for ratio in self.ratio]
        for _ in range(_NUM_TRIES):
            area = rng.uniform(*self.scale) * width * height
            ratio = math.exp(rng.uniform(*log_ratio))
            box_width = round(math.sqrt(area * ratio))
            box_height = round(math.sqrt(area / ratio))
            if 0 < box_width <= width and 0 < box_height <= height:
                top = int(rng.integers(height - box_height + 1))
                left = int(rng.integers(width - box_width + 1))
                return _floats(left, top, box_width, box_height)
        return self._central_box(width, height)

    def _central_box(self, width, height):
        box_width, box_height = width, height
        if width / height < self.ratio[0]:
            box_height = max(1, round(width / self.ratio[0]))
        elif width / height > self.ratio[1]:
            box_width = max(1, round(height * self.ratio[1]))
        return _floats((width - box_width) // 2, (height - box_height) // 2, box_width, box_height)


def _floats(left, top, width, height):
    return float(left), float(top), float(left + width), float(top + height)
