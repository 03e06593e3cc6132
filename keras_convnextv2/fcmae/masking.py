"""Which patches are hidden: drawn from (seed, step, image, patch), equal on every backend."""

import fractions

import keras
import numpy as np

from keras_convnextv2.layers.seeds import derive_seed, global_places, hash_with


def num_visible_patches(num_patches, mask_ratio):
    """How many of an image's patches stay visible: floor(L * (1 - ratio)), exactly.

    The ratio is taken as the decimal number it is written as. In binary floating point
    100 * (1 - 0.8) is 19.99..., of which the official code keeps 19.

    Raises:
        ValueError: if the ratio is not in (0, 1), or would leave nothing visible or nothing
            hidden.
    """
    if isinstance(mask_ratio, bool) or not 0 < mask_ratio < 1:
        raise ValueError(f"`mask_ratio` must be between 0 and 1, exclusive. Received: {mask_ratio}")
    visible = int(num_patches * (1 - fractions.Fraction(str(mask_ratio))))
    if visible in (0, num_patches):
        raise ValueError(
            f"mask_ratio={mask_ratio} leaves {visible} of {num_patches} patches visible; at least "
            "one must be visible and one hidden. Use another ratio, larger images or a smaller "
            "stem stride."
        )
    return visible


def count_visible(hidden):
    """How many patches masks (B, h, w) leave visible in each image.

    Returns:
        int; or None inside a compiled function, where the values are not known.

    Raises:
        ValueError: not the same number in each image, or none.
    """
    try:
        hidden = np.asarray(keras.ops.convert_to_numpy(hidden))
    except (TypeError, NotImplementedError):  # what JAX and TensorFlow raise while they trace
        return None
    counts = np.unique(np.sum(hidden == 0, axis=(1, 2)))
    if len(counts) != 1 or counts[0] == 0:
        raise ValueError(
            "With encoder_path='visible' masks must leave the same number of patches visible in "
            f"each image, at least one. Received masks that leave {counts.tolist()} visible. "
            "With encoder_path='dense' any masks will do."
        )
    return int(counts[0])


def stream_seed(seed, stream):
    """The seed of one use of a model's seed (int), such as "train": an int, for `draw_noise`.

    Apart from it, since torch's compiler cannot trace the hash.
    """
    return derive_seed(seed, "masks", stream)


def draw_noise(seed, step, first_image, num_images, num_patches):
    """Random int32 noise, one number a patch, a pure function of all its arguments.

    The same seed hides the same patches on TensorFlow, JAX and PyTorch, and a resumed run draws
    what the first would have drawn.

    Args:
        seed: int, of `stream_seed`.
        step: int or scalar tensor.
        first_image: int or scalar tensor, the index of the first image.
        num_images: int or scalar tensor, B.
        num_patches: int, L.

    Returns:
        int32 (B, L).
    """
    ops = keras.ops
    key = hash_with(ops.convert_to_tensor(seed, "int32"), step)
    images = ops.cast(first_image, "int32") + global_places(num_images)
    key = hash_with(key, ops.expand_dims(images, 1))  # (B, 1)
    patches = ops.arange(num_patches, dtype="int32")
    return hash_with(key, ops.expand_dims(patches, 0))  # (B, L)


def hide_all_but(num_visible, noise):
    """The mask that keeps, of each image, the patches of the smallest noise.

    Args:
        num_visible: int.
        noise: (B, L), any ordered dtype.

    Returns:
        int32 (B, L), 1 = hidden, with `num_visible` zeros in each row.
    """
    order = keras.ops.argsort(noise, axis=1)
    rank = keras.ops.argsort(order, axis=1)  # the inverse permutation
    return keras.ops.cast(rank >= num_visible, "int32")
