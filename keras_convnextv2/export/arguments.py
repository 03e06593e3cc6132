"""What `export_model` is given: checked, and made into an artefact's `Settings`."""

import numpy as np

from keras_convnextv2.export.errors import ExportError
from keras_convnextv2.export.formats import ENDINGS, FORMATS
from keras_convnextv2.export.settings import PRECISIONS, Settings
from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD

_HALF_FORMATS = ("litert", "openvino")


def check_arguments(format, path, precision, images, labels):
    """Raises ExportError for arguments that are none or do not go together."""
    if format not in FORMATS:
        raise ExportError(f"`format` must be one of {', '.join(FORMATS)}. Received: {format!r}")
    suffix = ENDINGS.get(format, "")
    if path.suffix != suffix:
        raise ExportError(
            f"The name of a {format} artefact ends in {suffix}. Received: {path}"
            if suffix
            else f"A SavedModel is a folder, whose name has no ending. Received: {path}"
        )
    if precision not in PRECISIONS:
        raise ExportError(
            f"`precision` must be one of {', '.join(PRECISIONS)}. Received: {precision!r}"
        )
    if precision != "float32" and (
        format not in _HALF_FORMATS or (precision != "float16" and format != "litert")
    ):
        raise ExportError(
            f"There is no {precision} of the format {format}: LiteRT has all of "
            f"{', '.join(PRECISIONS)}, OpenVINO float32 and float16, the others float32."
        )
    if "int8" in precision and images is None:
        raise ExportError(
            f"{precision} is calibrated or judged by real images: give `images` (--data_dir of "
            "recipes.export), some 100 or more of the kind that the model will see."
        )
    if labels is not None and images is None:
        raise ExportError("`labels` without `images`.")


def make_settings(
    model,
    precision="float32",
    batch_size=None,
    image_size=None,
    include_preprocessing=False,
    output=None,
    normalisation=None,
):
    """The `Settings` of an artefact of a model; arguments are those of `export_model`."""
    backbone = getattr(model, "backbone", model)
    *own_size, channels = backbone.image_shape
    size = own_size if image_size is None else image_size
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ExportError(f"`image_size` must be (height, width). Received: {image_size!r}")
    if any(side is not None and side < backbone.total_stride for side in size):
        raise ExportError(
            f"Images must be at least {backbone.total_stride} pixels a side. Received: {size}"
        )
    if batch_size is not None and batch_size < 1:
        raise ExportError(f"`batch_size` must be positive or None. Received: {batch_size!r}")
    normalisation = normalisation or backbone.normalisation
    if normalisation is None:
        if channels != len(IMAGENET_MEAN):
            raise ExportError(
                f"Images of {channels} channels have no usual normalisation: give `normalisation`, "
                "the (mean, std) of the images that the model was trained on."
            )
        normalisation = IMAGENET_MEAN, IMAGENET_STD
    mean, std = (tuple(float(value) for value in values) for values in normalisation)
    if not len(mean) == len(std) == channels:
        raise ExportError(
            f"`normalisation` must be (mean, std) of {channels} floats each. "
            f"Received: {normalisation!r}"
        )
    is_backbone = not hasattr(model, "num_classes")
    own_activation = getattr(getattr(model, "activation", None), "__name__", "linear")
    known = ("features",) if is_backbone else ("logits", "probabilities")
    if output is None:
        output = known[0] if own_activation == "linear" else "probabilities"
    if output not in known:
        raise ExportError(
            f"`output` of this model is {' or '.join(map(repr, known))}. Received: {output!r}"
        )
    return Settings(
        input_shape=(batch_size, *size, channels),
        dtype="uint8" if include_preprocessing else "float32",
        mean=mean,
        std=std,
        output=output,
        precision=precision,
        class_names=getattr(model, "class_names", None),
        licence=backbone.licence,
        pixel_range=backbone.pixel_range,
        temperature=getattr(model, "temperature", 1.0),
        multi_label=getattr(model, "multi_label", False),
    )


def check_unchanged(settings, own):
    """Raises ExportError for what a `.keras` file cannot have otherwise than its model."""
    differs = {
        "precision": settings.precision != own.precision,
        "batch_size": settings.input_shape[0] != own.input_shape[0],
        "image_size": settings.input_shape[1:] != own.input_shape[1:],
        "include_preprocessing": settings.dtype != own.dtype,
        "output (--activation of recipes.export)": settings.output != own.output,
    }
    given = " and ".join(name for name in differs if differs[name])
    if given:
        raise ExportError(f"A .keras file holds the model as it is: leave out {given}.")


def check_images(images, labels, settings):
    """Raises ExportError for images that are not what the artefact takes, or labels of others."""
    if images is None:
        return
    _, height, width, channels = settings.input_shape
    shape = np.shape(images)
    fits = len(shape) == 4 and all(
        wanted in (None, given)
        for wanted, given in zip((height, width, channels), shape[1:], strict=True)
    )
    if not fits or np.asarray(images).dtype != "uint8":
        raise ExportError(
            f"`images` must be uint8 (N, {height}, {width}, {channels}). Received: "
            f"{np.asarray(images).dtype} {shape}"
        )
    if labels is not None and np.shape(labels) != shape[:1]:
        raise ExportError(
            f"`labels` must be one class an image, ({len(images)},). Received: {np.shape(labels)}"
        )
