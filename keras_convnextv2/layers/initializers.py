import keras
import numpy as np


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class Normal(keras.initializers.RandomNormal):
    """Keras's `RandomNormal`, drawn by NumPy.

    The same seed gives the same values on every backend (`keras.utils.set_random_seed` those of
    a model), and JAX need not compile a generator for each shape, which takes it longer than all
    else of building a model.
    """

    def __call__(self, shape, dtype=None):
        if not isinstance(self.seed, int):  # a generator of Keras's
            return super().__call__(shape, dtype)
        values = np.random.default_rng(self.seed).standard_normal(shape, "float32")
        values = self.mean + self.stddev * values
        return keras.ops.convert_to_tensor(values, dtype or keras.config.floatx())


def weight_initializer(scale=1.0):
    """The initializer of every kernel and of the mask token: normal with std .02, times `scale`.

    The official code calls truncated normal with bounds -2 and 2 in absolute units. At std .02
    these are 100 standard deviations, so it is a plain normal; Keras's TruncatedNormal, which
    cuts at two standard deviations, would give std .0176.
    """
    return Normal(mean=0.0, stddev=0.02 * scale)
