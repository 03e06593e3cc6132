"""A rectangle of noise in place of a part of the image."""

import math
from dataclasses import dataclass

from keras_convnextv2.data.valid_settings import demand_probability, demand_range

_NUM_TRIES = 10


@dataclass(frozen=True)
class RandomErasing:
    """A transform of a normalised image: a random rectangle becomes noise, pixel by pixel.

    The noise is standard normal, in each channel, which is what a normalised image looks like. The
    rectangle's area is uniform in `area`, the logarithm of height / width in that of `aspect`; one
    that does not fit is drawn again, 10 times at most. Source: "Random Erasing Data Augmentation"
    (arXiv 1708.04896), with timm's numbers and its mode "pixel".

    Args:
        probability: float, that an image has such a rectangle. Paper: 0.25.
        area: (low, high), shares of the image's area.
        aspect: (low, high), height / width of the rectangle.

    Raises:
        ValueError: numbers that none can be; by the call, an image that is not of floats.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import RandomErasing
        >>> erase = RandomErasing(probability=1.0, area=(0.25, 0.25), aspect=(1, 1))
        >>> erased = erase(np.zeros((8, 8, 3), "float32"), np.random.default_rng(0))
        >>> int(np.any(erased != 0, axis=-1).sum())
        16
    """

    probability: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)

    def __post_init__(self):
        demand_probability("probability", self.probability)
        demand_range("area", self.area, above=0, highest=1)
        demand_range("aspect", self.aspect, above=0)
        for name in ("area", "aspect"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def __call__(self, image, rng):
        """image: float32 (H, W, C), normalised; rng: `numpy.random.Generator`. Returns the same."""
        if image.dtype != "float32":
            raise ValueError(
                "Random erasing is for normalised float32 images: noise of mean 0 and deviation 1 "
                f"is nothing in 0..255. Received: {image.dtype}"
            )
        if rng.random() >= self.probability:
            return image
        height, width, channels = image.shape
        log_aspect = [math.log(aspect) for aspect in self.aspect]
        for _ in range(_NUM_TRIES):
            area = rng.uniform(*self.area) * height * width
            aspect = math.exp(rng.uniform(*log_aspect))
            box_height = round(math.sqrt(area * aspect))
            box_width = round(math.sqrt(area / aspect))
            if box_height < height and box_width < width:
                top = int(rng.integers(height - box_height + 1))
                left = int(rng.integers(width - box_width + 1))
                noise = rng.standard_normal((box_height, box_width, channels), "float32")
                erased = image.copy()
                erased[top : top + box_height, left : left + box_width] = noise
                return erased
        return image
