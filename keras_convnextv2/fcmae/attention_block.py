import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.initializers import weight_initializer
from keras_convnextv2.layers.pointwise import at_each_position, normalized

_HEAD_WIDTH = 32


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class AttentionBlock(keras.layers.Layer):
    """A block of a Vision Transformer: each position sees all others.

        x = x + Linear(Attention(LayerNorm(x)))
        x + Linear(GELU(Linear(LayerNorm(x))))

    Attention is by heads of 32 channels, or one head of all where there are fewer; its softmax is
    computed in float32. The linear layers widen C to 4C and back. Source: arXiv 2010.11929.

    Args:
        width: int, the number of channels C, 32 times a whole number or less than 64.

    Call arguments:
        x: (B, H, W, C).

    Returns:
        The shape of `x`.
    """

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        is_many_heads = isinstance(width, int) and width >= 2 * _HEAD_WIDTH
        if not isinstance(width, int) or width < 1 or (is_many_heads and width % _HEAD_WIDTH):
            raise ValueError(
                f"`width` must be a multiple of {_HEAD_WIDTH}, or less than {2 * _HEAD_WIDTH}. "
                f"Received: {width!r}"
            )
        self.width = width
        self.num_heads = width // _HEAD_WIDTH if is_many_heads else 1
        dtype = self.dtype_policy

        def norm(name):
            return keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name=name)

        def linear(size, name):
            return keras.layers.Dense(
                size, kernel_initializer=weight_initializer(), dtype=dtype, name=name
            )

        self.attention_norm = norm("attention_norm")
        self.queries_keys_values = linear(3 * width, "queries_keys_values")
        self.attention_project = linear(width, "attention_project")
        self.norm = norm("norm")
        self.expand = linear(4 * width, "expand")
        self.project = linear(width, "project")

    def build(self, input_shape):
        for layer in (
            self.attention_norm,
            self.queries_keys_values,
            self.attention_project,
            self.norm,
            self.expand,
        ):
            layer.build(input_shape)
        self.project.build((*input_shape[:-1], 4 * self.width))

    def call(self, x):
        y = at_each_position(self.queries_keys_values, normalized(self.attention_norm, x))
        x = x + at_each_position(self.attention_project, self._attention(y))
        y = at_each_position(self.expand, normalized(self.norm, x))
        return x + at_each_position(self.project, ops.gelu(y))

    def _attention(self, x):
        """(B, H, W, 3C), queries, keys and values, to (B, H, W, C)."""
        _, height, width, _ = x.shape
        per_head = self.width // self.num_heads
        x = keras.ops.reshape(x, (-1, height * width, 3, self.num_heads, per_head))
        x = keras.ops.transpose(x, (2, 0, 3, 1, 4))  # (3, B, heads, positions, C / heads)
        queries, keys, values = x[0], x[1], x[2]
        scores = keras.ops.matmul(queries, keras.ops.transpose(keys, (0, 1, 3, 2)))
        scores = keras.ops.cast(scores, "float32") * per_head**-0.5
        shares = keras.ops.cast(keras.ops.softmax(scores, axis=-1), values.dtype)
        y = keras.ops.transpose(keras.ops.matmul(shares, values), (0, 2, 1, 3))
        return keras.ops.reshape(y, (-1, height, width, self.width))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "width": self.width}
