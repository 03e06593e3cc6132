"""What a string such as `rand-m9-mstd0.5-inc1` says."""

import math
import re
from dataclasses import dataclass

_UNIFORM_FROM = 100  # a deviation above it stands for a uniform magnitude
_SECTIONS = {
    "m": ("magnitude", int),
    "n": ("num_operations", int),
    "p": ("probability", float),
    "mstd": ("magnitude_std", float),
    "mmax": ("magnitude_max", int),
    "inc": ("increasing", int),
}


@dataclass(frozen=True)
class RandAugmentPolicy:
    """The settings of a RandAugment; `of` reads them from timm's string.

    Attributes:
        magnitude: int, the strength, whose full is 10.
        num_operations: int, drawn for each image, with repetition.
        probability: float, that a drawn operation is applied.
        magnitude_std: float, of the magnitude's normal distribution; inf: it is uniform from 0 to
            `magnitude`.
        magnitude_max: int; magnitudes are clipped to 0 .. this.
        increasing: bool, whether operations grow stronger with the magnitude.
    """

    magnitude: int = 10
    num_operations: int = 2
    probability: float = 0.5
    magnitude_std: float = 0.0
    magnitude_max: int = 10
    increasing: bool = False

    @classmethod
    def of(cls, text):
        """Reads `rand`, followed by sections with a dash before each, in any order.

        Sections: m (magnitude), n (number of operations), p (probability of each), mstd (deviation
        of the magnitude; above 100 it is uniform), mmax (largest magnitude), inc1 (operations that
        grow stronger with the magnitude).

        Raises:
            ValueError: a section that is unknown, given twice or out of range; `inc0`, which timm
                reads as `inc1`.
        """
        name, *sections = text.split("-")
        if name != "rand":
            raise ValueError(
                f"A policy must begin with `rand`, as `rand-m9-mstd0.5-inc1`. Received: {text!r}"
            )
        settings = {}
        for section in sections:
            key, value = _read_section(section, text)
            if key in settings:
                raise ValueError(f"{section!r} gives a second {key}. Received: {text!r}")
            settings[key] = value
        if settings.get("magnitude_std", 0) > _UNIFORM_FROM:
            settings["magnitude_std"] = math.inf
        if settings.get("probability", 0) > 1:
            raise ValueError(f"`p` is a probability, from 0 to 1. Received: {text!r}")
        if settings.get("num_operations") == 0:
            raise ValueError(f"`n` must be 1 or more. Received: {text!r}")
        if settings.get("magnitude_max") == 0:
            raise ValueError(f"`mmax` must be 1 or more. Received: {text!r}")
        increasing = settings.pop("increasing", None)
        if increasing not in (None, 1):
            raise ValueError(
                "`inc` must be 1, or left out for operations that do not all grow stronger; timm "
                f"takes any number for 1. Received: {text!r}"
            )
        return cls(**settings, increasing=increasing == 1)

    def draw_magnitude(self, rng):
        """A magnitude, float, by `numpy.random.Generator`."""
        magnitude = self.magnitude
        if self.magnitude_std == math.inf:
            magnitude = rng.uniform(0, magnitude)
        elif self.magnitude_std > 0:
            magnitude = rng.normal(magnitude, self.magnitude_std)
        return min(max(0.0, magnitude), float(self.magnitude_max))


def _read_section(section, text):
    """(attribute, value) of a section such as `mstd0.5`."""
    match = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", section)
    if match is None or match[1] not in _SECTIONS:
        raise ValueError(
            f"{section!r} is no section of a policy; there are {', '.join(_SECTIONS)}, each "
            f"followed by a number, and no sets of operations. Received: {text!r}"
        )
    attribute, kind = _SECTIONS[match[1]]
    if kind is int and "." in match[2]:
        raise ValueError(f"{section!r} must be a whole number. Received: {text!r}")
    return attribute, kind(match[2])
