"""How a model was compiled, as its `.keras` file says it."""

from keras_convnextv2.insides import auto_jit_compile


def portable_compile_config(model, config):
    """A model's compile config, with "auto" where `jit_compile` is what "auto" means here.

    Keras (3.15) saves the answer that one backend gave: a model saved on torch would train on JAX
    operation by operation, and one saved on JAX would be compiled by torch.

    Args:
        model: a compiled model.
        config: dict, of `keras.Model.get_compile_config`; empty where the model is not compiled.
    """
    if config and config["jit_compile"] == auto_jit_compile(model):
        return {**config, "jit_compile": "auto"}
    return config
