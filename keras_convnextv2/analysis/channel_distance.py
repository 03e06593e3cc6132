"""How different the channels of a feature map are: the paper's feature cosine distance.

Source: ConvNeXt V2 (arXiv 2301.00808), section 3, "feature collapse" and figure 4.
"""

import numpy as np


def channel_cosine_distance(maps):
    r"""The mean cosine distance of all pairs of channels, of each image.

        d = 1 / C^2 * sum_i sum_j (1 - cos(X_i, X_j)) / 2

    X_i is the i-th channel's map as a vector over positions. d is from 0, all channels alike, to
    .5; C channels of which no two have anything in common give (1 - 1/C) / 2. The paper averages it
    over 1,000 images, for each layer, and calls a low value a collapse.

    After GELU maps are nearly non-negative, so that any two of them have a cosine above 0, and a
    map of one position tells nothing: compare with `shuffled_cosine_distance`.

    The sum over pairs is the squared length of the sum of the X_i / \|X_i\|, so that it costs what
    reading the maps costs. A channel that is 0 everywhere has no direction: it counts as equal to
    others of its kind and as having nothing in common with the rest. Computed in float64.

    Args:
        maps: (B, ..., C), such as (B, H, W, C) of `BlockFeatures`.

    Returns:
        float64 (B,).

    Raises:
        ValueError: maps of fewer than 3 axes, empty ones, or values that are not finite.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import channel_cosine_distance
        >>> alike = np.ones((1, 2, 2, 4))
        >>> apart = np.eye(4).reshape(1, 2, 2, 4)  # each channel at a position of its own
        >>> channel_cosine_distance(np.concatenate([alike, apart])).tolist()
        [0.0, 0.375]
    """
    return np.array([_distance(*_scaled(image)) for image in _images(maps)])


def shuffled_cosine_distance(maps):
    r"""What `channel_cosine_distance` would be if no two channels looked at the same positions.

    It is the mean over all ways to shuffle the positions of each channel by itself. With m_i the
    mean and r_i the root mean square of channel i, a shuffled pair has on average the cosine
    m_i m_j / (r_i r_j), so nothing is drawn. Channels below this distance look at the same
    positions; those above it avoid each other's.

    Args:
        maps: as of `channel_cosine_distance`.

    Returns:
        float64 (B,).

    Raises:
        ValueError: the same.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import shuffled_cosine_distance
        >>> apart = np.eye(4).reshape(1, 2, 2, 4)  # shuffled, two of them meet in a quarter of ways
        >>> shuffled_cosine_distance(apart).tolist() == [(1 - (4 + 12 / 4) / 16) / 2]
        True
    """
    return np.array([_shuffled_distance(*_scaled(image)) for image in _images(maps)])


def _images(maps):
    """Each image's map as float64 (positions, C), one at a time."""
    maps = np.asarray(maps)
    if maps.ndim < 3 or 0 in maps.shape:
        raise ValueError(f"Maps must be (B, ..., C), none of them 0. Received: shape {maps.shape}")
    for image in maps:
        image = image.reshape(-1, maps.shape[-1]).astype("float64")
        if not np.isfinite(image).all():
            raise ValueError("Maps hold NaN or infinite values. Look at the weights or the images.")
        yield image


def _scaled(image):
    """(map, 1 / length of each channel, or 0 where the channel is 0)."""
    peaks = np.abs(image).max(axis=0)  # squares of tiny values would vanish
    image = image / np.where(peaks > 0, peaks, 1.0)
    lengths = np.sqrt(np.einsum("pc,pc->c", image, image))
    return image, np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def _distance(image, factors):
    total = image @ factors  # the sum of all channels of length 1
    return _of_sum_of_cosines(total @ total, factors)


def _shuffled_distance(image, factors):
    means = image.mean(axis=0) * factors * np.sqrt(len(image))  # m_i / r_i
    of_others = means.sum() ** 2 - means @ means
    return _of_sum_of_cosines(of_others + np.count_nonzero(factors), factors)


def _of_sum_of_cosines(of_live, factors):
    num_channels = len(factors)
    num_zero = num_channels - np.count_nonzero(factors)
    # Rounding may leave the distance of equal channels a little below 0.
    return max((1 - (of_live + num_zero**2) / num_channels**2) / 2, 0.0)
