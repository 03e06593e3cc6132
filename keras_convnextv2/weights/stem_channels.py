"""The stem's kernel for images of other channels than it was trained on."""

import numpy as np

STEM_KERNEL = "stem/conv/kernel"


def for_channels(kernel, channels):
    """A kernel (h, w, C, filters) as one for images of `channels` channels, by timm's rule.

    One channel gets the sum over all: an image that is grey gives what it gave as a colour image of
    three equal channels. More or fewer get the channels in turn, times C / channels, so that
    channels that are alike still add up to what they did. Source: timm, `adapt_input_conv`.

    Args:
        kernel: NumPy array.
        channels: int.
    """
    own = kernel.shape[2]
    if channels == own:
        return kernel
    wide = kernel.astype("float32")
    if channels == 1:
        wide = wide.sum(axis=2, keepdims=True)
    else:
        wide = wide[:, :, np.arange(channels) % own] * (own / channels)
    return wide.astype(kernel.dtype)
