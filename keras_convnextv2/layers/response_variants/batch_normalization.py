import keras

from keras_convnextv2.layers import batch_part
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class MaskedBatchNormalization(RegionLayer):
    """Batch norm whose statistics are those of the visible positions of the batch.

        output = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    In training mean and variance are those of the batch, and the moving averages go a little of
    the way to them; out of training they are the moving averages. A batch of which nothing is
    visible leaves the moving averages as they are. All is computed in float32.

    Source: arXiv 1502.03167; over visible positions as SparK has it (arXiv 2301.03580).

    Args:
        momentum: float in [0, 1), of the moving averages.
        epsilon: float, added to the variance.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: where they are, one of `layers.regions`; the whole map by default.
        training: bool.

    Returns:
        The shape and dtype of `x`.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: {momentum!r}")
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        for name, initializer, trainable in (
            ("gamma", "ones", True),
            ("beta", "zeros", True),
            ("moving_mean", "zeros", False),
            ("moving_variance", "ones", False),
        ):
            weight = self.add_weight(
                shape=(input_shape[-1],),
                initializer=initializer,
                trainable=trainable,
                autocast=False,
                name=name,
            )
            setattr(self, name, weight)

    def call(self, x, region=None, training=False):
        ops = keras.ops
        wide_x = ops.cast(x, "float32")
        if training and self.trainable:
            if batch_part.current() is not None:
                raise ValueError(
                    "Batch norm takes the statistics of a whole batch, and here several devices "
                    "share one. Choose another response, train on one device, or on JAX, where "
                    "the statistics are of all."
                )
            centred, variance = self._centred(wide_x, region_of(region, None))
        else:
            centred = wide_x - self._float32(self.moving_mean)
            variance = self._float32(self.moving_variance)
        factor = self._float32(self.gamma) * ops.rsqrt(variance + self.epsilon)
        return ops.cast(centred * factor + self._float32(self.beta), x.dtype)

    def _centred(self, x, region):
        """`x` without its mean, and the variance (C,), both over the visible positions of the
        batch, which are counted into the moving averages."""
        ops = keras.ops
        visible = region.clean(ops.ones_like(x[..., :1]))  # (B, H, W, 1)
        num_visible = ops.sum(visible)
        divisor = ops.maximum(num_visible, 1.0)
        mean = ops.sum(region.clean(x), axis=(0, 1, 2)) / divisor
        centred = x - mean
        squares = ops.square(region.clean(centred))
        variance = ops.sum(squares, axis=(0, 1, 2)) / divisor
        share = ops.where(num_visible > 0, 1.0 - self.momentum, 0.0)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            now = self._float32(moving)
            moving.assign(now + share * (ops.stop_gradient(value) - now))
        return centred, variance

    def _float32(self, weight):
        return keras.ops.cast(keras.ops.convert_to_tensor(weight), "float32")

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}
