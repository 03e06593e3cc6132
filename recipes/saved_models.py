"""Models that earlier runs saved, and weights from elsewhere."""

from pathlib import Path


def load(source, image_size=None):
    """The model of a run, or of weights in any format that `kc.from_preset` knows.

    Args:
        source: a run's folder, a file, another library's folder, or hf://owner/name.
        image_size: (H, W) that weights without a fixed size are to be used at; None takes what
            comes along with them. A `.keras` file has its own.
    """
    import keras_convnextv2 as kc

    path = Path(source)
    if path.is_dir() and (path / "model.keras").is_file():
        path = path / "model.keras"
    if path.suffix == ".keras":
        return _load_keras(path)
    try:
        return kc.from_preset(source, image_size)
    except kc.WeightsError as error:
        raise ValueError(f"--weights: {error}") from error


def _load_keras(path):
    import keras

    import keras_convnextv2 as kc

    if not path.is_file():
        raise ValueError(f"--weights: there is no file {path}.")
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


def check_class_names(model, names, images):
    """Raises ValueError where the classes of a classifier are known and not `names`, in order.

    Args:
        model: a classifier.
        names: class names of the images.
        images: str, a description of the images.
    """
    known = model.class_names
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
