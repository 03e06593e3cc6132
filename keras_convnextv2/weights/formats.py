"""All formats, and telling them apart by their keys."""

from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.format import Format
from keras_convnextv2.weights.layouts import AS_IN_KERAS
from keras_convnextv2.weights.minkowski import MINKOWSKI
from keras_convnextv2.weights.mmpretrain import MMPRETRAIN
from keras_convnextv2.weights.official import OFFICIAL
from keras_convnextv2.weights.timm import TIMM
from keras_convnextv2.weights.transformers import (
    TRANSFORMERS,
    TRANSFORMERS_BASE,
    TRANSFORMERS_FIRST_VERSION,
)


class _KerasFormat(Format):
    """Our own names and layouts: those of the Keras weights themselves."""

    def has(self, weight):
        return True

    def for_block(self, block):
        return self

    def key(self, weight):
        return weight

    def layout(self, weight, sizes=None):
        return AS_IN_KERAS


KERAS = _KerasFormat(name="keras", names={}, kinds={})

# A format whose keys end as another's do stands before it.
FORMATS = (
    OFFICIAL,
    MINKOWSKI,
    TIMM,
    TRANSFORMERS,
    TRANSFORMERS_FIRST_VERSION,
    TRANSFORMERS_BASE,
    MMPRETRAIN,
    KERAS,
)
# By their names; one of them may have another for models of ConvNeXt V1.
_READ_ALONE = (TRANSFORMERS_FIRST_VERSION, TRANSFORMERS_BASE)
WRITTEN = {format.name: format for format in FORMATS if format not in _READ_ALONE}
_EVERY_MODEL_HAS = "stage0_block0/depthwise/kernel"


def recognise(keys, path):
    """The format of a checkpoint, by its keys, and what stands before each of them.

    Args:
        keys: of the checkpoint.
        path: for messages.

    Returns:
        (Format, prefix), the prefix as "module.".

    Raises:
        WeightsError: no format, or several models in one file.
    """
    for format in FORMATS:
        mark = format.key(_EVERY_MODEL_HAS)
        prefixes = [
            key.removesuffix(mark)
            for key in keys
            if key.endswith(mark) and key.removesuffix(mark)[-1:] in ("", ".", "/")
        ]
        if len(prefixes) > 1:
            shown = ", ".join(repr(prefix[:80]) for prefix in sorted(prefixes)[:4])
            raise WeightsError(
                f"{path} holds {len(prefixes)} models, whose keys begin with {shown}. Save one of "
                "them alone."
            )
        if prefixes:
            return format, prefixes[0]
    some = ", ".join(key[:80] for key in sorted(keys)[:3])
    raise WeightsError(
        f"{path} holds no ConvNeXt V2 in a format known here ({', '.join(WRITTEN)}). Its "
        f"{len(keys)} tensors begin with: {some or 'nothing'}."
    )


def format_named(name):
    """The format to write.

    Raises:
        WeightsError: for an unknown name, listing them.
    """
    if name not in WRITTEN:
        raise WeightsError(f"`format` must be one of {', '.join(WRITTEN)}. Received: {name!r}")
    return WRITTEN[name]
