"""On which device TensorFlow and torch compute. JAX settles that when a program is lowered."""

import keras


def runs_on_cpu(x):
    """Whether what is computed from x runs on a CPU: of TensorFlow, where it has nothing else."""
    if keras.backend.backend() == "torch":
        return x.device.type == "cpu"
    return not tensorflow_has_accelerator()


def tensorflow_has_accelerator():
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
