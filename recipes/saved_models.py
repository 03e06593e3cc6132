"""Models that earlier runs saved."""

import json
from pathlib import Path


def load(path):
    """The model in a `.keras` file, or in `model.keras` of a run's folder."""
    import keras

    import keras_convnextv2 as kc

    path = Path(path)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise ValueError(
            f"--weights: there is no file {path}. Name a .keras file or the folder of a run."
        )
    if path.suffix != ".keras":
        raise ValueError(f"--weights: {path} is not a .keras file, the kind that recipes save.")
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"--weights: {path} cannot be read as a Keras model: {reason}") from error
    known = (kc.ConvNeXtV2Backbone, kc.ConvNeXtV2Classifier, kc.FCMAE)
    if not isinstance(model, known):
        names = ", ".join(kind.__name__ for kind in known)
        raise ValueError(f"--weights: {path} holds a {type(model).__name__}, expected {names}.")
    return model


def class_names(path):
    """The class names that recipes.finetune left beside the model at `path`, or None."""
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    if folder.name == "checkpoints":
        folder = folder.parent
    file = folder / "class_names.json"
    if not file.is_file():
        return None
    try:
        names = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is not JSON ({error}). Restore or delete it.") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{file} must hold a list of class names. Restore or delete it.")
    return tuple(names)


def check_class_names(path, names, images):
    """Raises ValueError where the classes of the model at `path` are not `names`, in order.

    Args:
        path: a run's folder or a file in it.
        names: class names of the images.
        images: str, a description of the images.
    """
    known = class_names(path)
    if known is None or known == tuple(names):
        return
    pairs = enumerate(zip(known, names, strict=False))
    place, pair = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    raise ValueError(
        f"--weights was trained on other classes, or in another order: its class {place} is "
        f"{pair[0]!r}, that of the images is {pair[1]!r}: {images}. Name the class folders as "
        "in training, or fine-tune again."
    )


def backbone_of(model):
    """The backbone of a loaded model."""
    return getattr(model, "backbone", model)


def model_flags(backbone):
    """What the flags of the model must be for the weights of `backbone`."""
    height, width, _ = backbone.image_shape
    size = {} if None in (height, width) else {"image_size": f"{height}x{width}"}
    return {
        "depths": [str(number) for number in backbone.variant.depths],
        "widths": [str(number) for number in backbone.variant.widths],
        "stem_stride": backbone.stem_stride,
        **size,
    }


def copy_weights(source, target):
    """Copies the weights of one backbone to another of the same variant.

    Raises:
        ValueError: naming both, where the variant, the stem or the channels differ.
    """

    def kind(backbone):
        depths, widths = backbone.variant.depths, backbone.variant.widths
        return (
            f"depths {','.join(map(str, depths))}, widths {','.join(map(str, widths))}, stem "
            f"stride {backbone.stem_stride}, {backbone.image_shape[-1]} channels"
        )

    if kind(source) != kind(target):
        raise ValueError(
            f"--weights holds a model of {kind(source)}; the flags and images ask for one of "
            f"{kind(target)}. Leave the model's flags out, or name other weights."
        )
    target.set_weights(source.get_weights())
