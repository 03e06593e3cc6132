"""What FCMAE predicts and what it pays for."""

import keras

_EPSILON = 1e-6


def patch_statistics(patches):
    """Mean and standard deviation of each patch over its values, as the targets use them.

    Args:
        patches: (B, h, w, N), N > 1.

    Returns:
        mean and sqrt(variance + 1e-6), the variance unbiased, each (B, h, w, 1), float32.
    """
    patches = keras.ops.cast(patches, "float32")
    mean = keras.ops.mean(patches, axis=-1, keepdims=True)
    squares = keras.ops.sum(keras.ops.square(patches - mean), axis=-1, keepdims=True)
    return mean, keras.ops.sqrt(squares / (patches.shape[-1] - 1) + _EPSILON)


def normalize_patches(patches):
    """Each patch minus its mean, over its standard deviation: (B, h, w, N), float32."""
    mean, deviation = patch_statistics(patches)
    return (keras.ops.cast(patches, "float32") - mean) / deviation


def hidden_patch_loss(targets, prediction, hidden):
    """Mean squared error over a patch's values, averaged over the hidden patches of the batch.

    Source: arXiv 2301.00808, section 3. Zeros against normalised targets score about 1.

    Args:
        targets: (B, h, w, N).
        prediction: (B, h, w, N).
        hidden: (B, h, w), 1 = hidden.

    Returns:
        Scalar, float32; 0 if nothing is hidden.
    """
    errors, counts = hidden_patch_errors(targets, prediction, hidden)
    return keras.ops.sum(errors) / keras.ops.maximum(keras.ops.sum(counts), 1.0)


def hidden_patch_errors(targets, prediction, hidden):
    """What `hidden_patch_loss` averages, by image.

    Args:
        As of `hidden_patch_loss`.

    Returns:
        (sum of the hidden patches' errors, number of hidden patches), each (B,), float32.
    """
    difference = keras.ops.cast(prediction, "float32") - keras.ops.cast(targets, "float32")
    per_patch = keras.ops.mean(keras.ops.square(difference), axis=-1)  # (B, h, w)
    return sums_over_hidden(per_patch, hidden)


def sums_over_hidden(values, hidden):
    """(sum of values where hidden, number of those), each (B,), float32, of (B, h, w)."""
    hidden = keras.ops.cast(hidden, "bool")
    sums = keras.ops.sum(keras.ops.where(hidden, values, 0.0), axis=(1, 2))
    return sums, keras.ops.sum(keras.ops.cast(hidden, "float32"), axis=(1, 2))
