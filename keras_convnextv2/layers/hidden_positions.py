"""From the mask of patches to the positions of a feature map."""

import keras


def hidden_at(hidden, x):
    """Spreads a patch mask over a feature map's positions.

    Args:
        hidden: (B, h, w), any dtype, 1 (or True) = hidden.
        x: the feature map, (B, H, W, C), H a multiple of h and W of w.

    Returns:
        Boolean (B, H, W), True = hidden.

    Raises:
        ValueError: if `hidden` is not of rank 3, is for another number of images, or its grid does
            not divide the feature map.
    """
    if len(hidden.shape) != 3:
        raise ValueError(
            f"`hidden` must have shape (batch, height, width), one value a patch, 1 = hidden. "
            f"Received shape {tuple(hidden.shape)}."
        )
    check_batches(hidden, x)
    for axis, (size, cells) in enumerate(zip(x.shape[1:3], hidden.shape[1:3], strict=True), 1):
        if size is None or cells is None:
            raise ValueError(
                f"A mask needs a feature map of known size. Received feature shape "
                f"{tuple(x.shape)} and `hidden` shape {tuple(hidden.shape)}."
            )
        if size % cells:
            raise ValueError(
                f"The grid of `hidden` must divide the feature map. Received `hidden` shape "
                f"{tuple(hidden.shape)} for feature shape {tuple(x.shape)}: {cells} does not "
                f"divide {size}."
            )
        hidden = keras.ops.repeat(hidden, size // cells, axis) if size != cells else hidden
    return keras.ops.cast(hidden, "bool")


def check_batches(hidden, x):
    """Raises a ValueError if `hidden` is known to be for another number of images than `x`."""
    num_masks, num_images = hidden.shape[0], x.shape[0]
    if isinstance(num_masks, int) and isinstance(num_images, int) and num_masks != num_images:
        raise ValueError(
            f"`hidden` must have one mask for each image. Received {num_masks} masks for "
            f"{num_images} images."
        )


def zero_where_hidden(x, hidden):
    """Replaces hidden positions of `x` (B, H, W, C) by 0; `hidden` as in `hidden_at`, or None.

    A selection rather than a product, so that a NaN or Inf at a hidden position is gone too.
    """
    if hidden is None:
        return x
    hidden = keras.ops.expand_dims(hidden_at(hidden, x), -1)
    return keras.ops.where(hidden, keras.ops.zeros((), x.dtype), x)
