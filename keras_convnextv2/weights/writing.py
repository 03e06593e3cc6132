"""Writing the weights of a model in a format."""

import dataclasses
import json
import re
from pathlib import Path

from keras_convnextv2.layers.block_spec import FIRST_VERSION_BLOCK, PAPER_BLOCK
from keras_convnextv2.weights import pytorch_writer, safetensors_file
from keras_convnextv2.weights.checkpoint import StoredTensor, cast
from keras_convnextv2.weights.description import USUAL_IMAGE_SIZE
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.folders import CONFIG_NAME, SAFETENSORS_NAME
from keras_convnextv2.whole_files import whole_file

PYTORCH_SUFFIXES = (".pt", ".pth", ".bin")
DTYPES = ("float32", "float16", "bfloat16")


def is_folder(path):
    """Whether a name to write to means a folder: it does not end as that of a file does."""
    return not re.fullmatch(r"\.[A-Za-z]\w*", Path(path).suffix)


def write_weights(path, format, sizes, tensors, description, dtype=None):
    """Writes a file or a folder, one tensor at a time; see `save_weights`.

    Args:
        path: ending in .safetensors, .pt, .pth or .bin; any other is a folder for the formats that
            have a config.
        format: a `Format`.
        sizes: the model's `Sizes`.
        tensors: {weight: StoredTensor, in the layout of Keras}, read in this order.
        description: what comes along.
        dtype: one of `DTYPES`, or None for the tensors' own.

    Raises:
        WeightsError: no place for a weight in the format, or an ending of no kind of file.
    """
    path = Path(path)
    if dtype not in (None, *DTYPES):
        raise WeightsError(f"`dtype` must be one of {', '.join(DTYPES)}. Received: {dtype!r}")
    block = sizes.variant.block
    format = _format_for_block(path, format, block)
    told = format.name == "keras" and block != PAPER_BLOCK  # others tell it by their keys
    description = dataclasses.replace(description, block=block if told else None)
    homeless = [weight for weight in tensors if not format.has(weight)]
    if homeless:
        raise WeightsError(
            f"The format {format.name} has no place for {len(homeless)} weights, among them "
            f"{homeless[0]}. Save the model's `backbone` alone, or use the format 'minkowski' or "
            "'keras' for an FCMAE."
        )
    stored = {
        format.key(weight): _laid_out(weight, tensor, format.layout(weight, sizes), dtype)
        for weight, tensor in tensors.items()
    }
    if path.suffix == ".safetensors":
        with whole_file(path) as temporary:
            safetensors_file.write(temporary, stored, description)
    elif path.suffix in PYTORCH_SUFFIXES:
        with whole_file(path) as temporary:
            pytorch_writer.write(temporary, stored, format.entry)
    elif format.write_config:
        _write_folder(path, format, sizes, stored, description)
    else:
        keras = ""
        if format.name == "keras":
            keras = " or, from save_weights, .keras or .weights.h5; a folder's name has no ending"
        raise WeightsError(
            f"A file of the format {format.name} ends in .safetensors or one of "
            f"{', '.join(PYTORCH_SUFFIXES)}{keras}. Received: {path}"
        )


def _format_for_block(path, format, block):
    """The format that has a place for a block.

    Only our own names can mean another than ConvNeXt V2's and V1's, where the file says which.
    """
    is_ours = format.name == "keras"
    chosen = format.for_block(block)
    if chosen is None or (is_ours and block != PAPER_BLOCK and path.suffix in PYTORCH_SUFFIXES):
        kind = f"The format {format.name}"
        kind += f" in a {path.suffix} file" if is_ours else ""
        others = "" if is_ours or format.for_block(FIRST_VERSION_BLOCK) is None else " and V1's"
        raise WeightsError(
            f"{kind} can hold the paper's block{others} alone; the model has {block}. "
            "Save it in the format 'keras', to .safetensors or from save_weights to .keras."
        )
    return chosen


def _laid_out(weight, tensor, layout, dtype):
    dtype = dtype or tensor.dtype

    def load():
        return cast(layout.to_stored(tensor.load()), dtype, weight)

    return StoredTensor(layout.stored_shapes(tensor.shape)[0], dtype, load)


def _write_folder(folder, format, sizes, stored, description):
    if description.image_size is None:
        description = dataclasses.replace(description, image_size=USUAL_IMAGE_SIZE)
    config = format.write_config(sizes, description)
    if config is None:
        raise WeightsError(
            f"{format.name} has no name for {sizes.describe()}, which a folder needs. Save a file: "
            f"{folder}.safetensors"
        )
    with whole_file(folder / SAFETENSORS_NAME) as temporary:
        safetensors_file.write(temporary, stored, description)
    with whole_file(folder / CONFIG_NAME) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n")
