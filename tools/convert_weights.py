r"""Converts weights of any known format to any other, or to a model of Keras.

Formats: official (Meta's code, dense), minkowski (its pretraining), timm, transformers, mmpretrain,
keras (this library). The input's is told by its content, as for `kc.load_weights`.

    python -m tools.convert_weights --weights=checkpoint.pth --inspect
    python -m tools.convert_weights --weights=checkpoint.pth --format=timm --output=timm.safetensors
    python -m tools.convert_weights --weights=hf://timm/convnextv2_atto.fcmae_ft_in1k \
        --format=transformers --output=folder --verify
    python -m tools.convert_weights --weights=checkpoint.pth --output=model.keras

One tensor at a time is in memory, except for .keras files, for folders of the format keras and with
--verify, which build models.
"""

import collections
import dataclasses
from pathlib import Path

from absl import flags

from recipes import program
from tools import verify_conversion

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "weights", None, "A file, a folder or hf://owner/name on the hub.", required=True
)
flags.DEFINE_string(
    "output",
    "",
    "A new file that ends in .safetensors, .pt, .pth, .bin, .keras or .weights.h5, or, for keras, "
    "timm and transformers, a new folder.",
)
flags.DEFINE_enum(
    "format",
    None,
    ["official", "minkowski", "timm", "transformers", "mmpretrain", "keras"],
    "What to write. Default: keras for .keras and .weights.h5.",
)
flags.DEFINE_enum(
    "dtype",
    None,
    ["float32", "float16", "bfloat16"],
    "Default: as it is; in .keras float32.",
)
flags.DEFINE_string("entry", None, "Which state dict of a PyTorch file to take, such as model_ema.")
flags.DEFINE_bool("backbone_only", False, "Leave out the head or the decoder.")
flags.DEFINE_bool("inspect", False, "Print what the weights are, and convert nothing.")
flags.DEFINE_bool(
    "verify",
    False,
    "Read the result back, compare every weight, and run source and result on random images: by "
    "transformers or timm where they are installed, else by Keras.",
)
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")


def main():
    if bool(FLAGS.output) == FLAGS.inspect:
        raise ValueError("Give either --output or --inspect.")
    from keras_convnextv2.weights.writing import is_folder

    is_keras = FLAGS.output.endswith((".keras", ".weights.h5"))
    is_keras |= FLAGS.format == "keras" and is_folder(FLAGS.output)
    if FLAGS.output and FLAGS.format is None and not is_keras:
        raise ValueError("Give --format: what to write.")
    if FLAGS.output and Path(FLAGS.output).exists():
        raise ValueError(f"--output: {FLAGS.output} exists. Name a new file or folder.")

    from keras_convnextv2.weights.files import open_weights
    from keras_convnextv2.weights.matching import check_whole, identify

    contents = identify(open_weights(FLAGS.weights, FLAGS.entry))
    if FLAGS.inspect:
        program.print_result(_inspected(contents), FLAGS.json)
        return
    sizes = contents.sizes
    if FLAGS.backbone_only:
        sizes = dataclasses.replace(sizes, num_classes=None, decoder=None)
    left_out = check_whole(contents, sizes)
    if is_keras:
        _save_model(contents, sizes)
    else:
        _convert(contents, sizes)
    result = {
        "output": FLAGS.output,
        "format": FLAGS.format or "keras",
        "model": sizes.describe(),
        "weights": len(sizes.shapes()),
        "left_out": left_out,
    }
    if FLAGS.verify:
        result |= verify_conversion.compare(contents, sizes, FLAGS.output, FLAGS.dtype)
    program.print_result(result, FLAGS.json)


def _inspected(contents):
    from keras_convnextv2.layers.block_spec import PAPER_BLOCK
    from keras_convnextv2.weights.errors import WeightsError
    from keras_convnextv2.weights.matching import check_whole

    checkpoint, sizes = contents.checkpoint, contents.sizes
    description = checkpoint.description
    try:
        check_whole(contents, sizes)
        problem = None
    except WeightsError as error:
        problem = str(error)
    shown = {
        "file": str(checkpoint.path),
        "container": checkpoint.container,
        "format": contents.format.name,
        "keys_begin_with": contents.prefix,
        "variant": sizes.variant.size_name or "custom",
        "block": None if sizes.variant.block == PAPER_BLOCK else str(sizes.variant.block),
        "depths": list(sizes.variant.depths),
        "widths": list(sizes.variant.widths),
        "stem_stride": sizes.stem_stride,
        "channels": sizes.channels,
        "classes": sizes.num_classes,
        "class_names": description.class_names and list(description.class_names),
        "image_size": description.image_size and list(description.image_size),
        "decoder": sizes.decoder and dataclasses.asdict(sizes.decoder),
        "parameters": sizes.num_parameters(),
        "dtypes": dict(collections.Counter(t.dtype for t in checkpoint.tensors.values())),
        "licence": description.licence,
        "normalisation": description.normalisation and list(map(list, description.normalisation)),
        "pixel_range": description.pixel_range and list(description.pixel_range),
        **checkpoint.details,
        "problem": problem,
    }
    return {name: value for name, value in shown.items() if value not in (None, "")}


def _convert(contents, sizes):
    """Streams the weights from one file to the other."""
    import math

    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from keras_convnextv2.weights.checkpoint import StoredTensor, numpy_dtype
    from keras_convnextv2.weights.description import announce_licence
    from keras_convnextv2.weights.formats import format_named
    from keras_convnextv2.weights.writing import write_weights

    description = contents.checkpoint.description
    announce_licence(description.licence, contents.may_be_metas)
    columns = (TextColumn("converting"), *Progress.get_default_columns()[1:2], DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("converting")
        tensors, total = {}, 0
        for name, shape in sizes.shapes().items():
            dtype = contents.checkpoint.tensors[contents.key(name)].dtype
            num_bytes = math.prod(shape) * numpy_dtype(dtype).itemsize
            total += num_bytes

            def load(name=name, shape=shape, num_bytes=num_bytes):
                progress.advance(task, num_bytes)
                return contents.read(name, shape)

            tensors[name] = StoredTensor(shape, dtype, load)
        progress.update(task, total=total)
        format = format_named(FLAGS.format)
        write_weights(FLAGS.output, format, sizes, tensors, description, FLAGS.dtype)


def _save_model(contents, sizes):
    """Saves the model itself, with what a `.keras` file says of it besides its weights."""
    import keras_convnextv2 as kc
    from keras_convnextv2.weights.building import build
    from keras_convnextv2.weights.description import announce_licence

    announce_licence(contents.checkpoint.description.licence, contents.may_be_metas)
    model = build(contents, sizes, as_saved=True)
    kc.save_weights(model, FLAGS.output, FLAGS.format or "keras", FLAGS.dtype)


if __name__ == "__main__":
    program.run(main)
