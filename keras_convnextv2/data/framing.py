"""Which part of a stored picture fills the size that a model takes.

A framing has `image_size`, (H, W) in pixels, and `box(width, height, rng)`. The box is resized to
the size in one step, so that a strip of 1x10000 pixels does not become a giant on the way, and a
JPEG may be decoded at a reduced scale where the box is much larger than the size.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cover:
    """The largest box of the size's proportions in the middle of the picture.

    The picture just covers the size, and what is more than fills is cut off evenly.

    Args:
        image_size: (H, W) in pixels.

    Raises:
        ValueError: a size below 1.

    Examples:
        >>> from keras_convnextv2.data import Cover
        >>> Cover((224, 224)).box(width=640, height=480)
        (80.0, 0.0, 560.0, 480.0)
    """

    image_size: tuple

    def __post_init__(self):
        object.__setattr__(self, "image_size", checked_image_size(self.image_size))

    def box(self, width, height, rng=None):
        """(left, top, right, bottom) in pixels of an upright picture, floats.

        Args:
            width: of the picture, in pixels.
            height: the same.
            rng: not used; other framings draw from it.
        """
        wanted_height, wanted_width = self.image_size
        scale = max(wanted_height / height, wanted_width / width)
        box_width = min(width, wanted_width / scale)
        box_height = min(height, wanted_height / scale)
        left, top = (width - box_width) / 2, (height - box_height) / 2
        return left, top, left + box_width, top + box_height


def as_framing(framing):
    """A framing as it is; an (H, W) becomes `Cover`."""
    return framing if hasattr(framing, "box") else Cover(framing)


def checked_image_size(image_size):
    """(H, W) as a tuple of ints.

    Raises:
        ValueError: it is none.
    """
    image_size = tuple(int(side) for side in image_size)
    if len(image_size) != 2 or min(image_size) < 1:
        raise ValueError(f"`image_size` must be (H, W) in pixels. Received: {image_size!r}")
    return image_size
