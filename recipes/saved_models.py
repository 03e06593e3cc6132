"""Models that earlier runs saved, and weights from elsewhere."""

from pathlib import Path


def load(source, image_size=None, flag="weights"):
    """The model of a run, or of weights in any format that `kc.from_preset` knows.

    Args:
        source: a run's folder, its folder of checkpoints, of which the newest whole one is taken,
            one of these, a file, another library's folder, or hf://owner/name.
        image_size: (H, W) to use weights at that are of no size; None: of any. A run's model and
            a `.keras` file have their own, and other weights may bring one along.
        flag: str, the flag that named the source, for errors.

    Returns:
        A backbone, a classifier, or an FCMAE where a checkpoint or a `.keras` file holds one.
    """
    from keras_convnextv2.weights import WeightsError
    from keras_convnextv2.weights.building import model_of
    from keras_convnextv2.weights.files import open_weights

    try:
        checkpoint = open_weights(_of_run(source, flag))
        if checkpoint.model_config is not None:
            return model_of(checkpoint, with_decoder=True)
        image_size = image_size or checkpoint.description.image_size or (None, None)
        return model_of(checkpoint, image_size)
    except WeightsError as error:
        raise ValueError(f"--{flag}: {error}") from error


def _of_run(source, flag):
    """The checkpoint to take, where a folder of them is named; else the source as it is."""
    from keras_convnextv2.runs import newest_checkpoint

    folder = Path(source).expanduser()
    if not folder.is_dir():
        return source
    if not (folder / "settings.flags").is_file():
        return newest_checkpoint(folder) or source
    if not _has_model(folder) and newest_checkpoint(folder / "checkpoints"):
        raise ValueError(
            f"--{flag}: the run in {folder} has not finished. Start its command again, and it "
            f"goes on; or take what it has so far: --{flag}={folder / 'checkpoints'}"
        )
    return source


def _has_model(folder):
    from keras_convnextv2.weights.folders import MODEL_FOLDER, WEIGHTS_NAMES

    return (folder / MODEL_FOLDER).is_dir() or any((folder / n).is_file() for n in WEIGHTS_NAMES)


def check_class_names(model, names, images):
    """Raises ValueError where the classes of a classifier are known and not `names`, in order.

    Args:
        model: a classifier.
        names: class names of the images.
        images: str, a description of the images.
    """
    from keras_convnextv2.weights.description import first_difference

    known = model.class_names
    if known is None or known == tuple(names):
        return
    place, own, other = first_difference(known, names)
    raise ValueError(
        f"--weights was trained on other classes, or in another order: its class {place} is "
        f"{own!r}, that of the images is {other!r}: {images}. Name the class folders as in "
        "training, or fine-tune again."
    )


def backbone_of(model):
    """The backbone of a loaded model."""
    return getattr(model, "backbone", model)


def model_flags(backbone):
    """What the flags of the model must be for the weights of `backbone`."""
    from keras_convnextv2.layers.block_spec import PAPER_BLOCK

    height, width, _ = backbone.image_shape
    size = {} if None in (height, width) else {"image_size": f"{height}x{width}"}
    block = backbone.variant.block
    others = {"response": block.response, "layer_scale": block.layer_scale}
    return {
        "depths": [str(number) for number in backbone.variant.depths],
        "widths": [str(number) for number in backbone.variant.widths],
        "stem_stride": backbone.stem_stride,
        **(others if block != PAPER_BLOCK else {}),
        **size,
    }


def copy_weights(source, target, names=None):
    """Copies the weights of one backbone to another of the same variant.

    Where the images have other channels, a line on standard error says so.

    Args:
        source, target: backbones.
        names: those of the weights to copy, where the blocks may differ; None: all of them, and
            the blocks are the same.

    Raises:
        ValueError: naming both, where the variant or the stem differ.
    """
    import dataclasses
    import sys

    import keras

    from keras_convnextv2.weights.model_weights import named_weights, sizes_of
    from keras_convnextv2.weights.stem_channels import STEM_KERNEL, for_channels

    own, wanted = sizes_of(source), sizes_of(target)
    same = {"channels": wanted.channels}
    if names is not None:
        same["variant"] = dataclasses.replace(own.variant, block=wanted.variant.block)
    if dataclasses.replace(own, **same) != wanted:
        blocks = [sizes.variant.block for sizes in (own, wanted)]
        told = "" if blocks[0] == blocks[1] else f" Its blocks: {blocks[0]}, not {blocks[1]}."
        raise ValueError(
            f"--weights holds a model of {own.describe()}; the flags and images ask for one of "
            f"{wanted.describe()}.{told} Leave the model's flags out, or name other weights."
        )
    if own.channels != wanted.channels:
        print(
            f"--weights is of images of {own.channels} channel(s), the images have "
            f"{wanted.channels}: the stem's kernel is summed, or repeated and scaled, for them.",
            file=sys.stderr,
        )
    weights = named_weights(target)
    given = named_weights(source)
    for name in given if names is None else names:
        value = given[name].value
        if name == STEM_KERNEL:
            value = for_channels(keras.ops.convert_to_numpy(value), wanted.channels)
        weights[name].assign(value)
    target.licence = source.licence
