"""The weights of `transformers`' ConvNextV2ForImageClassification, by their Keras paths."""

BLOCK_PARTS = {
    "dwconv": "depthwise",
    "layernorm": "norm",
    "pwconv1": "expand",
    "grn": "response_norm",
    "pwconv2": "project",
}


def keras_weights(state_dict):
    """{path as in ConvNeXtV2Classifier: NumPy array in the layout of Keras}."""
    return dict(keras_weight(key, tensor.numpy()) for key, tensor in state_dict.items())


def keras_weight(key, value):
    *parts, kind = key.removeprefix("convnextv2.").split(".")
    layer, is_norm = keras_layer(parts)
    if parts[-1] == "grn":
        value = value.reshape(-1)  # (1, 1, 1, 4C)
    if parts[-1] == "dwconv" and kind == "weight":
        value = value.transpose(2, 3, 0, 1)  # (C, 1, k, k) to (k, k, C, 1)
    elif value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)  # OIHW to HWIO
    elif value.ndim == 2:
        value = value.T
    names = {"weight": "gamma", "bias": "beta"} if is_norm else {"weight": "kernel", "bias": "bias"}
    return f"{layer}/{names[kind]}", value


def keras_layer(parts):
    """(the layer's path, whether it is a normalisation)."""
    match parts:
        case ["embeddings", "patch_embeddings"]:
            return "stem/conv", False
        case ["embeddings", "layernorm"]:
            return "stem/norm", True
        case ["encoder", "stages", stage, "downsampling_layer", "0"]:
            return f"stage{stage}_downsample/norm", True
        case ["encoder", "stages", stage, "downsampling_layer", "1"]:
            return f"stage{stage}_downsample/conv", False
        case ["encoder", "stages", stage, "layers", block, part]:
            return f"stage{stage}_block{block}/{BLOCK_PARTS[part]}", part in ("layernorm", "grn")
        case ["layernorm"]:
            return "norm", True
        case ["classifier"]:
            return "head", False
    raise ValueError(f"unknown weight {parts}")
