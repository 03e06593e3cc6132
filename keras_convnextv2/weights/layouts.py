"""How the axes of a weight lie in Keras and in a checkpoint.

A layout is written in letters: `Layout("h w i o", "o i h w")` is a convolution's kernel here and in
PyTorch. `1` is an axis of length one and `(w h)` one axis that counts through w and, within it, h.
"""

import math
import re


class Layout:
    """The axes of one weight here and in a checkpoint.

    Args:
        here: axes in Keras.
        *there: axes in the checkpoint; what is written has the first, the others are read too.
            They may differ in axes of length one only.
    """

    def __init__(self, here, *there):
        self.here = here.split()
        self.there = [re.findall(r"\([^)]*\)|\S+", axes) for axes in there]
        self._letters, self._letters_there = _letters(self.here), _letters(self.there[0])

    def stored_shapes(self, shape):
        """The shapes a checkpoint may hold for a weight of `shape` in Keras, ours to write first.

        Raises:
            ValueError: a `shape` of another rank than the layout.
        """
        sizes = self._sizes(shape)
        return [
            tuple(math.prod(sizes[letter] for letter in _letters([axis])) for axis in axes)
            for axes in self.there
        ]

    def measure(self, stored_shape):
        """{letter: size} of a stored shape, or {} where it has none of this layout's forms."""
        for axes in self.there:
            letters = [_letters([axis]) for axis in axes]
            sizes = {
                letter: round(size ** (1 / len(group)))
                for group, size in zip(letters, stored_shape, strict=False)
                for letter in group
            }
            shape = [math.prod(sizes.get(letter, 0) for letter in group) for group in letters]
            if tuple(shape) == tuple(stored_shape):
                return sizes
        return {}

    def to_keras(self, stored, shape):
        """A stored array, in one of `stored_shapes`, as Keras holds it."""
        sizes = self._sizes(shape)
        array = stored.reshape([sizes[letter] for letter in self._letters_there])
        axes = [self._letters_there.index(letter) for letter in self._letters]
        return array.transpose(axes).reshape(shape)

    def to_stored(self, array):
        """A Keras array as a checkpoint holds it; contiguous."""
        sizes = self._sizes(array.shape)
        bare = array.reshape([sizes[letter] for letter in self._letters])
        axes = [self._letters.index(letter) for letter in self._letters_there]
        return bare.transpose(axes).reshape(self.stored_shapes(array.shape)[0])

    def _sizes(self, shape):
        if len(shape) != len(self.here):
            raise ValueError(f"Expected axes {' '.join(self.here)}. Received: shape {shape}")
        return {axis: size for axis, size in zip(self.here, shape, strict=True) if axis != "1"}


def _letters(axes):
    return re.findall("[a-z]", " ".join(axes))


class _AsInKeras:
    """The layout of our own files, of a weight of any rank."""

    def stored_shapes(self, shape):
        return [tuple(shape)]

    def measure(self, stored_shape):
        """{letter: size} of a vector, of a linear layer's or of a convolution's kernel."""
        letters = {1: "c", 2: "io", 4: "hwio"}.get(len(stored_shape), "")
        return dict(zip(letters, stored_shape, strict=False))

    def to_keras(self, stored, shape):
        return stored

    def to_stored(self, array):
        return array


AS_IN_KERAS = _AsInKeras()

# The weights of a kind of layer: {name here: (name in the checkpoint, layout)}. Those of PyTorch:
_VECTOR = Layout("c", "c")


def kernel_and_bias(*axes):
    """A layer's kernel, axes here and in the checkpoint, and its bias."""
    return {"kernel": ("weight", Layout(*axes)), "bias": ("bias", _VECTOR)}


POINTWISE = kernel_and_bias("i o", "o i 1 1", "o i")
_LINEAR = kernel_and_bias("i o", "o i", "o i 1 1")
# By the last part of our layer's name.
PYTORCH_KINDS = {
    "conv": kernel_and_bias("h w i o", "o i h w"),
    "norm": {"gamma": ("weight", _VECTOR), "beta": ("bias", _VECTOR)},
    "depthwise": kernel_and_bias("h w c 1", "c 1 h w"),
    "expand": _LINEAR,
    "project": _LINEAR,
    "head": _LINEAR,
}


def layer_scale(gamma):
    """The weight of a LayerScale under this name."""
    return {"gamma": (gamma, _VECTOR)}


def response_norm(gamma, beta, *axes):
    """GRN's weights under these names, written with the first of `axes`; any rank is read."""
    layout = Layout("c", *axes, *(form for form in ("c", "1 c", "1 1 1 c") if form not in axes))
    return {"gamma": (gamma, layout), "beta": (beta, layout)}
