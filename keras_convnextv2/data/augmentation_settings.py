"""All that is said of an augmentation in one value, and what carries it out."""

from dataclasses import dataclass

from keras_convnextv2.data.colour_jitter import ColourJitter
from keras_convnextv2.data.mixing import Mixing
from keras_convnextv2.data.rand_augment import RandAugment
from keras_convnextv2.data.random_erasing import RandomErasing
from keras_convnextv2.data.random_resized_crop import RandomResizedCrop
from keras_convnextv2.data.random_shift import RandomShift
from keras_convnextv2.data.symmetries import HorizontalFlip, QuarterTurns, VerticalFlip

_ANY_SIZE = (1, 1)


@dataclass(frozen=True)
class Augmentation:
    """The settings of training's augmentation, as a column of the paper's tables has them.

    Each is off by default. The order is: crop, shift, flips, quarter turns, RandAugment, colour
    jitter; normalisation; erasing; then mixup or cutmix of the batch, and label smoothing.

    Args:
        crop_scale: (low, high), the random resized crop's shares of the area. Paper: (0.2, 1) for
            pretraining; its fine-tuning code has (0.08, 1). None: what fills the size is seen.
        crop_ratio: (low, high), its width / height.
        max_shift: int, pixels, for images that are not cropped.
        horizontal_flip: float, probability. Paper: 0.5.
        vertical_flip: float, probability.
        quarter_turns: bool, for square images without an up.
        randaugment: str, RandAugment's policy. Paper: `rand-m9-mstd0.5-inc1`; empty: none.
        randaugment_without: names of its operations that are left out.
        colour_jitter: float, for brightness, contrast and saturation, or three or four floats, the
            last of which is the hue's.
        erase_probability: float, of random erasing. Paper: 0.25.
        mixup: float, alpha of mixup. Paper: 0 to 0.8.
        cutmix: float, alpha of cutmix. Paper: 0 to 1.
        label_smoothing: float. Paper: 0.1 or 0.2.

    Raises:
        ValueError: a value that none can be; the message begins with the setting's name.

    Examples:
        >>> from keras_convnextv2.data import IMAGENET_MEAN, Augmentation
        >>> augmentation = Augmentation(
        ...     crop_scale=(0.08, 1), horizontal_flip=0.5, randaugment="rand-m9-mstd0.5-inc1",
        ...     erase_probability=0.25, mixup=0.8, cutmix=1.0, label_smoothing=0.1,
        ... )
        >>> stages = augmentation.stages(IMAGENET_MEAN)
        >>> [type(transform).__name__ for transform in stages["transforms"]]
        ['HorizontalFlip', 'RandAugment']
        >>> augmentation.framing((224, 224)).scale
        (0.08, 1)
        >>> Augmentation(erase_probability=25)
        Traceback (most recent call last):
        ...
        ValueError: erase_probability: `probability` is a probability, from 0 to 1. Received: 25
    """

    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    max_shift: int = 0
    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    quarter_turns: bool = False
    randaugment: str = ""
    randaugment_without: tuple[str, ...] = ()
    colour_jitter: float | tuple[float, ...] = 0.0
    erase_probability: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self):
        _named("crop_ratio", RandomResizedCrop, _ANY_SIZE, ratio=self.crop_ratio)
        self.framing(_ANY_SIZE)
        self.stages((0.0, 0.0, 0.0))
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing: it must be from 0 to below 1. Received: {self.label_smoothing!r}"
            )

    @property
    def gives_soft_labels(self):
        """Whether labels become shares of the classes, (B, K), for a categorical loss."""
        return self.mixup > 0 or self.cutmix > 0 or self.label_smoothing > 0

    def framing(self, image_size):
        """Which part of a picture fills `image_size`, (H, W): a framing, or (H, W) without a crop.

        Raises:
            ValueError: quarter turns of a size that is not square.
        """
        if self.quarter_turns and image_size[0] != image_size[1]:
            raise ValueError(
                f"quarter_turns: they need a square size. Received: {tuple(image_size)}"
            )
        if self.crop_scale is None:
            return tuple(image_size)
        scale, ratio = self.crop_scale, self.crop_ratio
        return _named("crop_scale", RandomResizedCrop, image_size, scale=scale, ratio=ratio)

    def stages(self, mean):
        """The transforms, as keyword arguments of `ImageBatches`.

        Args:
            mean: of the images in 0..1, a float a channel; RandAugment fills with it.

        Returns:
            dict of `transforms` and `normalised_transforms`, of an element, `batch_transforms`, and
            `label_smoothing`.

        Raises:
            ValueError: a setting that has no meaning for so many channels.
        """
        return {
            "transforms": self._transforms(mean),
            "normalised_transforms": self._normalised_transforms(),
            "batch_transforms": self._batch_transforms(),
            "label_smoothing": self.label_smoothing,
        }

    def _transforms(self, mean):
        channels = len(mean)
        fill = tuple(min(255, round(255 * level)) for level in mean)
        transforms = []
        if self.max_shift != 0:
            transforms.append(_named("max_shift", RandomShift, self.max_shift))
        if self.horizontal_flip != 0:
            transforms.append(_named("horizontal_flip", HorizontalFlip, self.horizontal_flip))
        if self.vertical_flip != 0:
            transforms.append(_named("vertical_flip", VerticalFlip, self.vertical_flip))
        if self.quarter_turns:
            transforms.append(QuarterTurns())
        if self.randaugment:
            options = {"interpolation": "bicubic", "without": self.randaugment_without}
            transforms.append(
                _named("randaugment", RandAugment, self.randaugment, channels, fill, **options)
            )
        amounts = self._jitter_amounts()
        if any(amounts):
            transforms.append(_named("colour_jitter", ColourJitter, *amounts, channels=channels))
        return tuple(transforms)

    def _jitter_amounts(self):
        amounts = self.colour_jitter
        if not isinstance(amounts, tuple | list):
            return (amounts,) * 3
        if len(amounts) not in (3, 4):
            raise ValueError(
                "colour_jitter: it must be one float, three for brightness, contrast and "
                f"saturation, or four with the hue's. Received: {amounts!r}"
            )
        return tuple(amounts)

    def _normalised_transforms(self):
        if self.erase_probability == 0:
            return ()
        return (_named("erase_probability", RandomErasing, self.erase_probability),)

    def _batch_transforms(self):
        if self.mixup == self.cutmix == 0:
            return ()
        return (_named("mixup and cutmix", Mixing, self.mixup, self.cutmix),)


def _named(setting, make, *values, **options):
    """What `make` makes of the values; a ValueError of it names the setting."""
    try:
        return make(*values, **options)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None
