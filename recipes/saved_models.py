"""Models that earlier runs saved, and weights from elsewhere."""

_FCMAE_ARGUMENTS = (
    "mask_ratio",
    "decoder_width",
    "decoder_depth",
    "normalize_targets",
    "encoder_path",
    "seed",
)


def load(source, image_size=None, flag="weights"):
    """The model of a run, or of weights in any format that `kc.from_preset` knows.

    Args:
        source: a run's folder, a file, another library's folder, or hf://owner/name.
        image_size: (H, W) to use weights at that are of no size; None: of any. A `.keras` file
            has its own, and other weights may bring one along.
        flag: str, the flag that named the source, for errors.

    Returns:
        A backbone, a classifier, or an FCMAE where a `.keras` file holds one.
    """
    import keras_convnextv2 as kc
    from keras_convnextv2.weights.files import open_weights

    try:
        checkpoint = open_weights(source)
        config = checkpoint.model_config
        if config is None:
            image_size = image_size or checkpoint.description.image_size or (None, None)
        model = kc.from_preset(source, None if config else image_size)
        if config and config["class_name"] == "FCMAE":
            arguments = {name: config[name] for name in _FCMAE_ARGUMENTS if name in config}
            model = kc.FCMAE(model, **arguments)
            kc.load_weights(model, source)
    except kc.WeightsError as error:
        raise ValueError(f"--{flag}: {error}") from error
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
    from keras_convnextv2.weights.model_weights import sizes_of

    if sizes_of(source) != sizes_of(target):
        raise ValueError(
            f"--weights holds a model of {sizes_of(source).describe()}; the flags and images ask "
            f"for one of {sizes_of(target).describe()}. Leave the model's flags out, or name "
            "other weights."
        )
    target.set_weights(source.get_weights())
    target.licence = source.licence
