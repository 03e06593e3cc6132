"""Mixup and cutmix: images and labels of a batch, mixed with one another."""

import math
from dataclasses import dataclass

import numpy as np

from keras_convnextv2.data.label_smoothing import demand_soft_labels
from keras_convnextv2.data.valid_settings import demand_probability


@dataclass(frozen=True)
class Mixing:
    """A batch transform: mixup or cutmix, one of them drawn for each batch.

    Images 0 and 1 are mixed with each other, 2 and 3, and so on, all by one weight; in timm, image
    i is mixed with B - 1 - i. Two beside each other are in one part of a batch that several devices
    share. With both alphas above 0 a batch gets cutmix with `switch_probability`, else mixup. The
    last image of an odd batch is mixed with itself. Sources: mixup (arXiv 1710.09412), CutMix
    (arXiv 1905.04899), in timm's combination, mode "batch".

    Args:
        mixup_alpha: float; the weight is drawn from Beta(alpha, alpha). 0: no mixup.
        cutmix_alpha: float, in the same way. 0: no cutmix.
        probability: float, that a batch is mixed at all.
        switch_probability: float, of cutmix where both are on.

    Raises:
        ValueError: a number that none can be, or both alphas 0; by the call, labels that are class
            numbers.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import Mixing
        >>> images, labels = np.zeros((2, 8, 8, 3), "float32"), np.eye(2, dtype="float32")
        >>> images[1] = 1
        >>> mix = Mixing(mixup_alpha=0.8, cutmix_alpha=1.0)
        >>> mixed, shares = mix(images, labels, np.random.default_rng(0))
        >>> bool(abs(mixed[0].mean() - shares[0, 1]) < 1e-6)
        True
    """

    mixup_alpha: float = 0.8
    cutmix_alpha: float = 1.0
    probability: float = 1.0
    switch_probability: float = 0.5

    def __post_init__(self):
        for name in ("mixup_alpha", "cutmix_alpha"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be 0 or more. Received: {getattr(self, name)!r}")
        for name in ("probability", "switch_probability"):
            demand_probability(name, getattr(self, name))
        if self.mixup_alpha == self.cutmix_alpha == 0:
            raise ValueError(
                "`mixup_alpha` or `cutmix_alpha` must be above 0, or nothing is mixed. "
                "Received: 0 for both. Leave the transform out instead"
            )

    def __call__(self, images, labels, rng):
        """Mixes a batch.

        Args:
            images: float32 (B, H, W, C).
            labels: float32 (B, K), shares of the classes.
            rng: `numpy.random.Generator`.

        Returns:
            (images, labels), of the same shapes and types.
        """
        demand_soft_labels(labels)
        if rng.random() >= self.probability:
            return images, labels
        switched = self.mixup_alpha == 0 or rng.random() < self.switch_probability
        if self.cutmix_alpha > 0 and switched:
            weight = rng.beta(self.cutmix_alpha, self.cutmix_alpha)
            return cutmix(images, labels, cutmix_box(images.shape[1:3], weight, rng))
        return mixup(images, labels, rng.beta(self.mixup_alpha, self.mixup_alpha))


def mixup(images, labels, weight):
    """weight * x + (1 - weight) * the other of its pair, of images and of labels.

    Args:
        images: float32 (B, H, W, C).
        labels: float32 (B, K).
        weight: float, 0 to 1, of an image's own part.

    Returns:
        (images, labels), new arrays.
    """
    return _blend(images, weight), _blend(labels, weight)


def cutmix(images, labels, box):
    """Pastes a box of the other of each pair; labels are mixed by the area that it has.

    Args:
        images: float32 (B, H, W, C).
        labels: float32 (B, K).
        box: (top, bottom, left, right) in pixels.

    Returns:
        (images, labels), new arrays.
    """
    top, bottom, left, right = box
    height, width = images.shape[1:3]
    pasted = images.copy()
    pasted[:, top:bottom, left:right] = images[_partners(images), top:bottom, left:right]
    return pasted, _blend(labels, 1 - (bottom - top) * (right - left) / (height * width))


def cutmix_box(image_size, weight, rng):
    """A box of the image's shape and of 1 - weight of its area, around a pixel drawn evenly.

    What lies outside of the image is cut off, so the box may be smaller. Its sides are even, since
    half of each lies on either side of the pixel.

    Args:
        image_size: (H, W) in pixels.
        weight: float, 0 to 1.
        rng: `numpy.random.Generator`.

    Returns:
        (top, bottom, left, right) in pixels, ints.
    """
    box = []
    for side in image_size:
        half = int(side * math.sqrt(1 - weight)) // 2
        centre = int(rng.integers(side))
        box += [max(0, centre - half), min(side, centre + half)]
    return tuple(box)


def _blend(values, weight):
    return values * np.float32(weight) + values[_partners(values)] * np.float32(1 - weight)


def _partners(values):
    """Which row each is mixed with."""
    places = np.arange(len(values))
    return np.minimum(places ^ 1, len(values) - 1)
