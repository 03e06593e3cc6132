"""Whether converted weights are the same model: by number, and by what they compute."""

import importlib.util

import numpy as np

_NUM_IMAGES = 2
_TINY = 1e-12  # outputs may all be 0: those of a head that has not been trained
# Of outputs, relative to the largest: rounding in float32, or of the weights to half precision.
_TOLERANCES = {"float32": 1e-4, "float64": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


def compare(source, sizes, output, dtype):
    """Reads a conversion's result back and compares it with its source.

    Args:
        source: `Contents` of what was converted.
        sizes: `Sizes` of what was written.
        output: path of what was written.
        dtype: that the result was asked to have, or None.

    Returns:
        {name: value} to print.

    Raises:
        ValueError: a weight or a setting differs, or the outputs do by more than rounding.
    """
    from keras_convnextv2.weights.files import open_weights
    from keras_convnextv2.weights.matching import identify

    result = identify(open_weights(output))
    _compare_weights(source, result, sizes, dtype)
    _compare_settings(source.checkpoint, result.checkpoint)
    images = np.random.default_rng(0).normal(size=(_NUM_IMAGES, *_image_shape(sizes)))
    (source_runner, expected), (result_runner, found) = (
        _outputs(contents, sizes, images.astype("float32")) for contents in (source, result)
    )
    difference = float(np.abs(found - expected).max() / max(np.abs(expected).max(), _TINY))
    tolerance = _TOLERANCES[dtype or "float32"]
    if not difference <= tolerance:
        raise ValueError(
            f"{output} is not the same model: on random images its outputs (by {result_runner}) "
            f"differ from those of {source.checkpoint.path} (by {source_runner}) by "
            f"{difference:.2g} of the largest, more than {tolerance:g}. The file is left for "
            "inspection."
        )
    return {
        "weights_equal": len(sizes.shapes()),
        "source_run_by": source_runner,
        "result_run_by": result_runner,
        "largest_relative_difference": difference,
    }


def _compare_weights(source, result, sizes, dtype):
    """Raises ValueError unless every weight is the source's, in the dtype that was asked for."""
    from keras_convnextv2.weights.checkpoint import cast

    for name, shape in sizes.shapes().items():
        found = result.read(name, shape)
        wanted = cast(source.read(name, shape), dtype or found.dtype.name, name)
        if found.dtype != wanted.dtype or not np.array_equal(found, wanted):
            raise ValueError(
                f"{result.checkpoint.path}: {name} is not that of {source.checkpoint.path}. "
                "Convert again; if it happens twice, this is a defect to report."
            )


def _compare_settings(source, result):
    """Raises ValueError unless a `.keras` file says of its model what its source says."""
    if result.model_config is None:
        return
    said = [("licence", source.description.licence, result.description.licence)]
    names = source.description.class_names
    if names is not None and len(names) == result.model_config.get("num_classes"):
        said.append(("class_names", names, result.description.class_names))
    if source.model_config is not None:
        pairs = [(source.model_config["backbone"], result.model_config["backbone"])]
        if source.model_config["class_name"] == result.model_config["class_name"]:
            pairs.append((source.model_config, result.model_config))
        said += [
            (name, one.get(name), other.get(name))
            for one, other in pairs
            for name in {**one, **other}
            if name != "backbone"
        ]
    for name, expected, found in said:
        if expected != found:
            raise ValueError(
                f"{result.path} says {name}={found!r}, where {source.path} says {expected!r}. "
                "The file is left for inspection."
            )


def _image_shape(sizes):
    """(height, width, channels): 2 by 3 cells of the last stage."""
    cell = 8 * sizes.stem_stride
    return 2 * cell, 3 * cell, sizes.channels


def _outputs(contents, sizes, images):
    """(who computed it, the logits, features (B, h, w, C), or an FCMAE's prediction)."""
    runners = {
        "transformers": _by_transformers,
        "transformers (base model)": _by_transformers,
        "timm": _by_timm,
    }
    runner = runners.get(contents.format.name)
    library = contents.format.name.partition(" ")[0]
    installed = runner and all(importlib.util.find_spec(name) for name in ("torch", library))
    output = runner(contents, sizes, images) if installed else None
    if output is not None:
        return library, output
    return "Keras", _by_keras(contents, sizes, images)


def _by_keras(contents, sizes, images):
    import keras

    import keras_convnextv2 as kc
    from keras_convnextv2.weights.model_weights import named_weights

    model = kc.ConvNeXtV2Backbone(sizes.variant, images.shape[1:], stem_stride=sizes.stem_stride)
    if sizes.decoder is not None:
        decoder = sizes.decoder
        model = kc.FCMAE(model, decoder_width=decoder.width, decoder_depth=decoder.depth)
    elif sizes.num_classes is not None:
        model = kc.ConvNeXtV2Classifier(model, sizes.num_classes)
    shapes = sizes.shapes()
    for name, weight in named_weights(model).items():
        weight.assign(contents.read(name, shapes[name]).astype("float32"))
    output = model(images)
    return keras.ops.convert_to_numpy(output["prediction"] if sizes.decoder else output)


def _by_transformers(contents, sizes, images):
    import torch
    import transformers

    from keras_convnextv2.weights.description import USUAL_IMAGE_SIZE, Description
    from keras_convnextv2.weights.formats import format_named

    write_config = format_named("transformers").write_config
    config = write_config(sizes, Description(image_size=USUAL_IMAGE_SIZE))
    config = transformers.AutoConfig.for_model(**config)
    model = transformers.AutoModelForImageClassification.from_config(config)
    base = "" if contents.format.name == "transformers" else f"{config.model_type}."
    state = {base + key: tensor for key, tensor in _torch_state(contents).items()}
    model.load_state_dict(state, strict=sizes.num_classes is not None)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        if sizes.num_classes is not None:
            return model.eval()(batch).logits.numpy()
        features = model.eval().base_model(batch).last_hidden_state
    return features.permute(0, 2, 3, 1).numpy()


def _by_timm(contents, sizes, images):
    import timm
    import torch

    from keras_convnextv2.weights.timm import architecture

    name = architecture(sizes.variant)
    if name is None or sizes.stem_stride != 4:
        return None  # timm builds the sizes it has a name for
    model = timm.create_model(
        name,
        in_chans=sizes.channels,
        num_classes=sizes.num_classes or 0,
    )
    model.load_state_dict(_torch_state(contents), strict=sizes.num_classes is not None)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        if sizes.num_classes is not None:
            return model.eval()(batch).numpy()
        return model.eval().forward_features(batch).permute(0, 2, 3, 1).numpy()


def _torch_state(contents):
    import torch

    from keras_convnextv2.weights.checkpoint import read_finite

    return {
        key.removeprefix(contents.prefix): torch.from_numpy(
            read_finite(contents.checkpoint, key).astype("float32")
        )
        for key in contents.checkpoint.tensors
        if key.startswith(contents.prefix)
    }
