import dataclasses


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """What the blocks of a model are made of, where they may differ from the paper's.

    Args:
        response: str, what stands after GELU: a name of `layers.responses`, "grn" in the paper;
            "none", "lrn", "bn", "ln", "se" and "cbam"; and variants of GRN, such as "grn_l1",
            "grn_standardise", "grn_no_residual", or several at once, "grn_average_sum_no_affine".
        layer_scale: optional float, the initial value of a learned scale of each channel at the
            end of the block, as ConvNeXt V1 has it with 1e-6; None for none.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> first_version = kc.BlockSpec(response="none", layer_scale=1e-6)
        >>> variant = kc.Variant((3, 3, 9, 3), (96, 192, 384, 768), block=first_version)
        >>> variant == kc.VARIANTS["tiny"]
        False
    """

    response: str = "grn"
    layer_scale: float | None = None

    def __post_init__(self):
        if not isinstance(self.response, str):
            raise ValueError(f"`response` must be a name. Received: {self.response!r}")
        scale = self.layer_scale
        if scale is not None and (isinstance(scale, bool) or not isinstance(scale, (int, float))):
            raise ValueError(f"`layer_scale` must be a number or None. Received: {scale!r}")

    def __str__(self):
        scale = "no" if self.layer_scale is None else "a"
        return f"a block with the response {self.response!r} and {scale} layer scale"


PAPER_BLOCK = BlockSpec()
FIRST_VERSION_BLOCK = BlockSpec("none", layer_scale=1e-6)  # ConvNeXt V1, arXiv 2201.03545
