from keras_convnextv2.layers.regions import MaskedMap, Region


class MaskedInput(Region):
    """Maps (B, H, W, C) of images of which patches are zero: naive masking.

    Hidden patches are zeros where the images enter, and nothing else: the convolutions read and
    write hidden positions, and statistics count them, as where nothing is hidden. It is what the
    paper calls "without sparse convolution" (arXiv 2301.00808, section 3: 79.3 against 83.7). What
    is hidden is still known, for decoders, which put their mask token there.

    Args:
        hidden: (B, h, w), any dtype, what is not 0 is hidden; h divides H and w divides W.

    Raises:
        ValueError: as of `MaskedMap`.
    """

    def __init__(self, hidden):
        self._mask = MaskedMap(hidden)
        self.hidden = hidden

    def enter(self, images):
        return self._mask.enter(images)

    def hidden_positions(self, x):
        return self._mask.hidden_positions(x)
