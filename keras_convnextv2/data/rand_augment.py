"""RandAugment, with operations drawn for each image."""

from dataclasses import dataclass, field

from keras_convnextv2.data.channel_images import demand_colours, with_pillow
from keras_convnextv2.data.image_operations import (
    COLOUR_OPERATIONS,
    OPERATIONS,
    apply_operation,
)
from keras_convnextv2.data.rand_augment_levels import operation_argument
from keras_convnextv2.data.rand_augment_policy import RandAugmentPolicy
from keras_convnextv2.data.valid_settings import demand_channels

_GREY = 128
_INTERPOLATIONS = {
    "bilinear": ("BILINEAR",),
    "bicubic": ("BICUBIC",),
    "random": ("BILINEAR", "BICUBIC"),
}


@dataclass(frozen=True)
class RandAugment:
    """An element transform: a few operations, drawn for each image, each applied at random.

    Of 15 operations `n` are drawn with repetition; each is applied with probability `p`, with a
    magnitude and a direction of its own. Source: RandAugment (arXiv 1909.13719), in timm's version,
    whose strings mean the same here. For images without colours each channel is changed by itself,
    with the same draws; `Color` has no meaning there and must be left out.

    Args:
        policy: str, as `rand-m9-mstd0.5-inc1`, which the paper fine-tunes with. Sections: m, the
            magnitude (full: 10); n, operations an image (2); p, the probability of each (0.5);
            mstd, the deviation of the magnitude (0; above 100: uniform from 0); mmax, the largest
            magnitude (10); inc1, operations that grow stronger with the magnitude.
        channels: int, of the images.
        fill: optional, as many ints of 0..255: the colour of what comes in from outside. timm fills
            with the mean colour; None is grey, 128.
        interpolation: "bicubic", "bilinear", or "random", one of both for each operation. The paper
            trains with "bicubic"; timm's default is "random".
        without: names of operations that are left out.

    Raises:
        ValueError: a policy that cannot be read, an operation without a meaning for the channels,
            or an unknown name.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.data import RandAugment
        >>> augment = RandAugment("rand-m9-mstd0.5-inc1", fill=(124, 116, 104))
        >>> image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype("uint8")
        >>> augment(image, np.random.default_rng(1)).shape
        (8, 8, 3)
        >>> spectral = RandAugment("rand-m9-mstd0.5-inc1", channels=5, without=("Color",))
        >>> len(spectral.operations)
        14
    """

    policy: str = "rand-m9-mstd0.5-inc1"
    channels: int = 3
    fill: tuple[int, ...] | None = None
    interpolation: str = "random"
    without: tuple[str, ...] = ()
    settings: RandAugmentPolicy = field(init=False, repr=False)
    operations: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self):
        fill = (_GREY,) * self.channels if self.fill is None else tuple(self.fill)
        if len(fill) != self.channels or not all(0 <= level <= 255 for level in fill):
            raise ValueError(
                f"`fill` must be {self.channels} numbers from 0 to 255. Received: {self.fill!r}"
            )
        if self.interpolation not in _INTERPOLATIONS:
            raise ValueError(
                f"`interpolation` must be one of {', '.join(_INTERPOLATIONS)}. "
                f"Received: {self.interpolation!r}"
            )
        unknown = [name for name in self.without if name not in OPERATIONS]
        if unknown or isinstance(self.without, str):
            raise ValueError(
                f"`without` must be names of operations: {', '.join(OPERATIONS)}. "
                f"Received: {self.without!r}"
            )
        operations = tuple(name for name in OPERATIONS if name not in self.without)
        if not operations:
            raise ValueError("`without` leaves no operation. Leave RandAugment out instead")
        for name in operations:
            if name in COLOUR_OPERATIONS:
                way_out = "leave it out by `without`; Augmentation: `randaugment_without`"
                demand_colours(f"RandAugment's `{name}` ({way_out})", self.channels)
        object.__setattr__(self, "fill", tuple(int(level) for level in fill))
        object.__setattr__(self, "without", tuple(self.without))
        object.__setattr__(self, "settings", RandAugmentPolicy.of(self.policy))
        object.__setattr__(self, "operations", operations)

    def __call__(self, image, rng):
        """image: uint8 (H, W, C); rng: `numpy.random.Generator`. Returns uint8 (H, W, C)."""
        demand_channels(image, self.channels)
        drawn = self.draw(rng)
        if not drawn:
            return image

        def apply_all(picture, fill):
            for name, argument, resampling in drawn:
                picture = apply_operation(name, picture, argument, fill, resampling)
            return picture

        return with_pillow(image, apply_all, self.fill)

    def draw(self, rng):
        """What happens to one image.

        Args:
            rng: `numpy.random.Generator`.

        Returns:
            list of (name, argument, "BILINEAR" or "BICUBIC"), in the order of application.
        """
        resamplings = _INTERPOLATIONS[self.interpolation]
        drawn = []
        for place in rng.integers(len(self.operations), size=self.settings.num_operations):
            if rng.random() >= self.settings.probability:
                continue
            name = self.operations[place]
            magnitude = self.settings.draw_magnitude(rng)
            sign = 1 if rng.random() < 0.5 else -1
            resampling = resamplings[int(rng.integers(len(resamplings)))]
            increasing = self.settings.increasing
            argument = operation_argument(name, magnitude, sign, increasing)
            drawn.append((name, argument, resampling))
        return drawn
