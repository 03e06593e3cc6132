"""The norm of all gradients of a step together."""

import keras

from keras_convnextv2.layers import ops


class GradientNorm(keras.metrics.Mean):
    """The mean of the gradients' norm over the steps of an epoch, before any clipping.

    Steps whose scaled gradients overflow, which training in float16 skips, are not in it.
    """

    def __init__(self, name="gradient_norm"):
        super().__init__(name=name)

    def count_step(self, gradients, optimizer):
        """Counts one step.

        Args:
            gradients: list of tensors, or None, as of the loss that `optimizer` scales.
            optimizer: a Keras optimizer.
        """
        scale = optimizer.scale_loss(keras.ops.ones(()))
        gradients = [gradient for gradient in gradients if gradient is not None]
        norm = keras.ops.sqrt(ops.sum_of_squares(gradients)) / keras.ops.cast(scale, "float32")
        finite = keras.ops.isfinite(norm)
        self.update_state(
            keras.ops.where(finite, norm, 0.0), sample_weight=keras.ops.cast(finite, "float32")
        )
