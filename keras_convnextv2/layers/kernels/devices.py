"""On which device a backend computes, where that decides how it is done."""

import keras


def runs_on_cpu(x):
    """Whether what is computed from x runs on a CPU.

    On torch by x's device, on TensorFlow if there is no accelerator. JAX settles that when a
    program is lowered; what has to be decided before goes by its default backend.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return x.device.type == "cpu"
    if backend == "jax":
        import jax

        return jax.default_backend() == "cpu"
    return not tensorflow_has_accelerator()


def tensorflow_has_accelerator():
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def on_cpu_or_not(on_cpu, elsewhere):
    """On JAX, the function of tensors that is one of two, settled as a program is lowered."""
    import jax

    return lambda *tensors: jax.lax.platform_dependent(*tensors, cpu=on_cpu, default=elsewhere)
