import keras
import numpy as np

from keras_convnextv2.layers.seeds import global_places, hash_with


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class StochasticDepth(keras.layers.Layer):
    """Drops the whole residual branch of an image with probability `rate` (drop path).

    In training an image keeps its branch with probability 1 - rate, scaled by 1 / (1 - rate). Out
    of training the layer is the identity. Source: arXiv 1603.09382.

    What is dropped follows from the seed, the number of draws before, and the image's place in the
    batch, equal on every backend. `.keras` and `.weights.h5` files keep the number of draws, so
    that a run that goes on draws what it would have drawn.

    Args:
        rate: float in [0, 1).
        seed: optional int; see `keras_convnextv2.layers.seeds.derive_seed` for giving each of
            several layers its own.

    Call arguments:
        x: (B, ...).
        training: bool.

    Examples:
        >>> import keras, numpy as np, keras_convnextv2 as kc
        >>> branch = np.ones((16, 1), "float32")  # of 16 images
        >>> layer = kc.StochasticDepth(0.5, seed=0)
        >>> output = keras.ops.convert_to_numpy(layer(branch, training=True))
        >>> sorted(set(output.ravel().tolist()))  # some dropped, the others doubled
        [0.0, 2.0]
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be at least 0 and less than 1. Received: {rate!r}")
        self.rate = rate
        self.seed = seed
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training or self.rate == 0:
            return x
        ops = keras.ops
        seed, count = self._next_seed()
        noise = hash_with(hash_with(seed, count), global_places(ops.shape(x)[0]))
        kept = noise >= int(self.rate * 2**32) - 2**31  # of all int32 numbers, a share 1 - rate
        kept = ops.reshape(kept, (-1,) + (1,) * (len(x.shape) - 1))
        return ops.where(kept, x / (1.0 - self.rate), ops.zeros((), x.dtype))

    def _next_seed(self):
        """What `SeedGenerator.next` gives, whose array torch's compiler cannot trace."""
        ops, state = keras.ops, self.seed_generator.state
        seed = ops.cast(state.value * 1, "int32")  # a copy: torch assigns in place
        state.assign(ops.add(state, ops.cast(ops.arange(2, dtype="int32"), state.dtype)))
        return ops.unstack(seed)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        if self.rate > 0:
            store["draws"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        # A model without stochastic depth may have written the file.
        if self.rate > 0 and "draws" in list(store.keys()):
            seed, count = np.asarray(store["draws"])
            if self.seed is not None:
                seed = keras.ops.convert_to_numpy(self.seed_generator.state)[0]
            self.seed_generator.state.assign(np.stack([seed, count]))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
