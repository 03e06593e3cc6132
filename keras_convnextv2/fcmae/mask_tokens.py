"""Maps from the features of a region, for decoders."""

import keras


def with_mask_token(x, region, token):
    """Features `x` of a region as a map (B, H, W, C), `token` (C,) at all hidden positions."""
    x = region.to_map(x)
    return keras.ops.where(region.hidden_positions(x), keras.ops.cast(token, x.dtype), x)
