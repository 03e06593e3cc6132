"""On which device a backend computes, where that decides how it is done.

JAX settles that when a program is lowered; what has to be decided before goes by its default.
"""

import keras


def runs_on_cpu(x):
    """Whether what is computed from x runs on a CPU; but for torch, where there is nothing else."""
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
