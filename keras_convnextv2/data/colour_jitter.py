"""Random brightness, contrast, saturation and hue."""

from dataclasses import dataclass

import numpy as np

from keras_convnextv2.data.channel_images import demand_colours, with_pillow
from keras_convnextv2.data.valid_settings import demand_channels


@dataclass(frozen=True)
class ColourJitter:
    """An element transform: changes brightness, contrast, saturation and hue, in random order.

    The meaning of the numbers is torchvision's: a factor is uniform in [max(0, 1 - x), 1 + x], and
    1 changes nothing; the hue turns by a part of the circle that is uniform in [-x, x]. Each is
    drawn for each image. For images without colours brightness and contrast change each channel by
    itself, by one factor for all.

    Args:
        brightness: float, 0 or more; 0 leaves it.
        contrast: float, 0 or more; away from the mean grey.
        saturation: float, 0 or more; away from the grey image.
        hue: float, 0 to 0.5.
        channels: int, of the images.

    Raises:
        ValueError: a number that none can be; saturation or hue for other than three channels.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import ColourJitter
        >>> jitter = ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        >>> image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype("uint8")
        >>> jitter(image, np.random.default_rng(1)).shape
        (8, 8, 3)
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    channels: int = 3

    def __post_init__(self):
        for name in ("brightness", "contrast", "saturation", "hue"):
            value = getattr(self, name)
            if not 0 <= value <= (0.5 if name == "hue" else float("inf")):
                limit = "from 0 to 0.5" if name == "hue" else "0 or more"
                raise ValueError(f"`{name}` must be {limit}. Received: {value!r}")
        for name in ("saturation", "hue"):
            if getattr(self, name) > 0:
                demand_colours(f"`{name}` (give 0)", self.channels)

    def __call__(self, image, rng):
        """image: uint8 (H, W, C); rng: `numpy.random.Generator`. Returns uint8 (H, W, C)."""
        demand_channels(image, self.channels)
        changes = [
            (change, _factor(rng, size))
            for change, size in (
                (_brightness, self.brightness),
                (_contrast, self.contrast),
                (_saturation, self.saturation),
            )
            if size > 0
        ]
        if self.hue > 0:
            changes.append((_hue, rng.uniform(-self.hue, self.hue)))

        def change_all(picture, fill):
            for place in order:
                change, argument = changes[place]
                picture = change(picture, argument)
            return picture

        order = rng.permutation(len(changes))
        return with_pillow(image, change_all) if changes else image


def _factor(rng, size):
    return rng.uniform(max(0.0, 1 - size), 1 + size)


def _brightness(picture, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(picture).enhance(factor)


def _contrast(picture, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(picture).enhance(factor)


def _saturation(picture, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Color(picture).enhance(factor)


def _hue(picture, turn):
    """Pillow's hue is a byte: it is moved by whole steps, and goes round."""
    from PIL import Image

    hue, saturation, value = picture.convert("HSV").split()
    moved = (np.asarray(hue).astype("int32") + int(turn * 255)) % 256
    moved = Image.fromarray(moved.astype("uint8"))
    return Image.merge("HSV", (moved, saturation, value)).convert("RGB")
