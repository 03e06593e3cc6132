"""Which tensor of a checkpoint is which weight, and what does not fit."""

import dataclasses

from keras_convnextv2.models.variants import PAPER_BLOCK
from keras_convnextv2.weights.checkpoint import Checkpoint, cast, demand_floats, read_finite
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.format import Format, read_block, read_sizes
from keras_convnextv2.weights.formats import recognise
from keras_convnextv2.weights.sizes import Sizes, part_of

_NUM_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Contents:
    """A checkpoint of which the format and the sizes are known."""

    checkpoint: Checkpoint
    format: Format
    prefix: str
    sizes: Sizes

    @property
    def may_be_metas(self):
        """Whether this may be what Meta trained on ImageNet: a named size, dense, its classes."""
        return (
            self.format.name not in ("keras", "minkowski")
            and self.sizes.variant.name is not None
            and self.sizes.num_classes in (None, 1000, 21841)
        )

    def parts(self):
        """{key: part} of all that models of this backbone can have in this format."""
        sizes = dataclasses.replace(self.sizes, num_classes=self.sizes.num_classes or 1)
        return {self.key(name): part_of(name) for name in sizes.shapes() if self.format.has(name)}

    def read(self, weight, shape, dtype=None):
        """The array of a weight, of this shape in Keras; finite, in the dtype if one is given.

        Raises:
            WeightsError: it is not finite or not of floats, or does not fit the dtype.
        """
        key = self.key(weight)
        array = self.format.layout(weight).to_keras(read_finite(self.checkpoint, key), shape)
        return cast(array, dtype or array.dtype.name, key)

    def key(self, weight):
        """The key of a weight in the checkpoint."""
        return self.prefix + self.format.key(weight)


def identify(checkpoint):
    """The `Contents` of a checkpoint.

    Raises:
        WeightsError: no format known here, no whole model, or blocks of no version of ConvNeXt.
    """
    format, prefix = recognise(checkpoint.tensors, checkpoint.path)
    shapes = {
        key.removeprefix(prefix): tensor.shape
        for key, tensor in checkpoint.tensors.items()
        if key.startswith(prefix)
    }
    if format.name == "keras":
        block = checkpoint.description.block or PAPER_BLOCK
    else:  # other libraries know no others than the two that can be told apart
        block = read_block(format, shapes)
    if isinstance(block, str):
        raise WeightsError(f"{checkpoint.path} ({format.name}) is of no known model: {block}.")
    sizes = read_sizes(format, shapes, block)
    if isinstance(sizes, str):
        raise WeightsError(f"{checkpoint.path} ({format.name}) is not a whole model: {sizes}.")
    return Contents(checkpoint, format, prefix, sizes)


@dataclasses.dataclass(frozen=True)
class Match:
    """What a checkpoint has for the weights of a model.

    Attributes:
        found: weights that are there in the right shape.
        missing: weights that are not.
        wrong: descriptions of those of another shape.
        left: keys of the checkpoint that are for none of the weights. Counters, integers without
            axes as torch's AveragedModel has one, are not among them, nor what the format is known
            to keep beside a model.
    """

    found: list
    missing: list
    wrong: list
    left: list


def match(contents, shapes):
    """Compares a checkpoint with the weights of a model.

    Args:
        contents: a `Contents`.
        shapes: {weight: shape in Keras}.
    """
    found, missing, wrong = [], [], []
    tensors = contents.checkpoint.tensors
    left = dict.fromkeys(tensors)
    for weight, shape in shapes.items():
        key = contents.key(weight) if contents.format.has(weight) else None
        if key not in left:
            missing.append(weight)
            continue
        del left[key]
        stored = tensors[key].shape
        expected = contents.format.layout(weight, contents.sizes).stored_shapes(shape)
        if stored in expected:
            found.append(weight)
        else:
            wrong.append(f"{key} is {stored}, not {expected[0]}")
    left = [
        key
        for key in left
        if not _is_counter(tensors[key]) and not contents.format.is_beside_model(key)
    ]
    return Match(found, missing, wrong, left)


def _is_counter(tensor):
    return tensor.shape == () and "int" in tensor.dtype


def check_whole(contents, sizes, with_others=False):
    """Compares a checkpoint with all that a model of some sizes needs.

    Args:
        contents: a `Contents`.
        sizes: the model's `Sizes`; without the head or the decoder of the checkpoint, that is
            left out.
        with_others: bool, whether keys may stand there that are of no part of a model.

    Returns:
        List of the keys that are left out: of a head or a decoder, of a LayerNorm that has no head
        behind it, or others.

    Raises:
        WeightsError: a weight is missing, of another shape or not of floats, or a key is of no
            part of a model.
    """
    result = match(contents, sizes.shapes())
    parts = contents.parts()
    left_out = [key for key in result.left if with_others or key in parts]
    result = dataclasses.replace(result, left=[key for key in result.left if key not in left_out])
    message = problem(contents, result, f"a model of {sizes.describe()}")
    if message:
        raise WeightsError(message)
    for weight in result.found:
        demand_floats(contents.checkpoint, contents.key(weight))
    return left_out


def problem(contents, result, where):
    """One message for all that does not fit, or None.

    Args:
        contents: a `Contents`.
        result: a `Match`.
        where: what the weights are for.
    """
    lists = [
        ("missing", [_with_key(contents, weight) for weight in result.missing]),
        ("unexpected", result.left),
        ("of another shape", result.wrong),
    ]
    texts = [f"{len(items)} {name}: {shorten(items)}" for name, items in lists if items]
    if not texts:
        return None
    return (
        f"{contents.checkpoint.path} ({contents.format.name}: {contents.sizes.describe()}) does "
        f"not fit {where}. {'; '.join(texts)}.{_way_out(contents, result)}"
    )


def shorten(items):
    """The first few of a list, in one line."""
    more = f" and {len(items) - _NUM_SHOWN} more" if len(items) > _NUM_SHOWN else ""
    return ", ".join(items[:_NUM_SHOWN]) + more


def _with_key(contents, weight):
    if not contents.format.has(weight) or contents.format.key(weight) == weight:
        return weight
    return f"{weight} ({contents.key(weight)})"


def _way_out(contents, result):
    missing = sorted({part_of(weight) for weight in result.missing})
    if result.wrong or "backbone" in missing:
        return ""
    parts = contents.parts()
    left = sorted({parts.get(key, "") for key in result.left})
    hints = [
        f" The file has no whole {part}; load_weights(strict=False) leaves that of a model new."
        for part in missing
    ]
    hints += [
        f" load_weights(strict=False) leaves {f'its {part}' if part else 'unknown keys'} out."
        for part in left
    ]
    if "" in left:
        hints.append(" from_preset(head=False) gives the backbone alone.")
    return "".join(hints)
