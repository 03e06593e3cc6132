"""The only table of sizes."""

import dataclasses

NUM_STAGES = 4


@dataclasses.dataclass(frozen=True)
class Variant:
    """A size of ConvNeXt V2: blocks and channels of each of the four stages.

    Args:
        depths: four positive ints, the number of blocks of each stage.
        widths: four positive ints, the number of channels of each stage.
    """

    depths: tuple
    widths: tuple

    def __post_init__(self):
        for name in ("depths", "widths"):
            values = getattr(self, name)
            numbers = tuple(values) if isinstance(values, (tuple, list)) else ()
            if len(numbers) != NUM_STAGES or not all(
                isinstance(number, int) and number > 0 for number in numbers
            ):
                raise ValueError(
                    f"`{name}` must be {NUM_STAGES} positive ints, one a stage. "
                    f"Received: {values!r}"
                )
            object.__setattr__(self, name, numbers)


# Table 9 of arXiv 2301.00808; "small" is timm's.
VARIANTS = {
    "atto": Variant((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": Variant((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": Variant((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": Variant((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": Variant((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": Variant((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": Variant((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": Variant((3, 3, 27, 3), (192, 384, 768, 1536)),
    "huge": Variant((3, 3, 27, 3), (352, 704, 1408, 2816)),
}


def resolve_variant(variant):
    """The `Variant` meant by a name of `VARIANTS`, a `Variant`, or a config's dict of its fields.

    Raises:
        ValueError: for anything else, listing the names.
    """
    if isinstance(variant, Variant):
        return variant
    if isinstance(variant, dict) and set(variant) == {"depths", "widths"}:
        return Variant(**variant)
    if isinstance(variant, str) and variant in VARIANTS:
        return VARIANTS[variant]
    raise ValueError(
        f"`variant` must be one of {', '.join(VARIANTS)}, or a Variant(depths, widths). "
        f"Received: {variant!r}"
    )
