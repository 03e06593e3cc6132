"""The only table of sizes."""

import dataclasses

from keras_convnextv2.layers.block_spec import PAPER_BLOCK, BlockSpec

NUM_STAGES = 4


@dataclasses.dataclass(frozen=True)
class Variant:
    """A size of ConvNeXt V2: blocks and channels of each of the four stages.

    Args:
        depths: four positive ints, the number of blocks of each stage.
        widths: four positive ints, the number of channels of each stage.
        block: `BlockSpec`, what the blocks are made of; the paper's by default.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> kc.Variant(depths=(2, 2, 6, 2), widths=(40, 80, 160, 320)).name
        'atto'
    """

    depths: tuple
    widths: tuple
    block: BlockSpec = PAPER_BLOCK

    def __post_init__(self):
        if isinstance(self.block, dict):  # of a config
            object.__setattr__(self, "block", BlockSpec(**self.block))
        if not isinstance(self.block, BlockSpec):
            raise ValueError(f"`block` must be a BlockSpec. Received: {self.block!r}")
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

    @property
    def name(self):
        """The name in `VARIANTS`, or None."""
        return self.size_name if self.block == PAPER_BLOCK else None

    @property
    def size_name(self):
        """The name in `VARIANTS` of these depths and widths, whatever the blocks, or None."""
        size = self.depths, self.widths
        rows = VARIANTS.items()
        return next((name for name, row in rows if (row.depths, row.widths) == size), None)

    def get_config(self):
        """The fields as JSON holds them, for `resolve_variant`; the block only if it differs."""
        config = {"depths": list(self.depths), "widths": list(self.widths)}
        if self.block != PAPER_BLOCK:
            config["block"] = dataclasses.asdict(self.block)
        return config


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
"""The sizes by name, which `variant` of a backbone takes.

Examples:
    >>> import keras_convnextv2 as kc
    >>> kc.VARIANTS["atto"].widths
    (40, 80, 160, 320)
"""


def resolve_variant(variant):
    """The `Variant` meant by a name of `VARIANTS`, a `Variant`, or a config's dict of its fields.

    Raises:
        ValueError: for anything else, listing the names.
    """
    if isinstance(variant, Variant):
        return variant
    if isinstance(variant, dict) and {"depths", "widths"} <= set(variant) <= {
        "depths",
        "widths",
        "block",
    }:
        return Variant(**variant)
    if isinstance(variant, str) and variant in VARIANTS:
        return VARIANTS[variant]
    raise ValueError(
        f"`variant` must be one of {', '.join(VARIANTS)}, or a Variant(depths, widths). "
        f"Received: {variant!r}"
    )
