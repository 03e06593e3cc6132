"""The optimizer of the paper."""

import keras

from keras_convnextv2.insides import OpenAdamW
from keras_convnextv2.layers.fast import table


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class KernelDecayAdamW(OpenAdamW):
    """AdamW that decays kernels only, also after it was loaded from a file.

    Weights of fewer than two dimensions are left out of the decay: biases, the scales and shifts
    of LayerNorm and GRN, and the mask token. What `exclude_from_weight_decay` is told is not in
    Keras's config of an optimizer; here it follows from the weights.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_convnextv2.training import KernelDecayAdamW
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile(KernelDecayAdamW(1e-3, weight_decay=0.05), loss="mse")
        >>> history = model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
        >>> list(history.history)
        ['loss']
    """

    def build(self, variables):
        if not self.built:
            self.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """As Keras's; on TensorFlow in one operation where that is faster."""
        fast = self._fast_update([variable])
        if fast is not None and fast.update_one is not None:
            fast.update_one(self, gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def decay_weights(self, variables):
        """As Keras's; nothing where the faster update decays, too."""
        if self._fast_update(variables) is None and any(map(self.is_decayed, variables)):
            super().decay_weights(variables)  # Keras's fails on torch if there are none

    def update_weights(self, gradients, variables, learning_rate):
        fast = self._fast_update(variables)
        if fast is not None and fast.decay is not None and self.weight_decay:
            fast.decay(self, gradients, variables, learning_rate)
        super().update_weights(gradients, variables, learning_rate)

    def update_at_once(self, gradients, variables, learning_rate):
        fast = self._fast_update(variables)
        if fast is not None and fast.update_all is not None:
            fast.update_all(self, gradients, variables, learning_rate)
        else:
            super().update_at_once(gradients, variables, learning_rate)

    def _fast_update(self, variables):
        """The `table.AdamWUpdate` for these weights, or None."""
        values = [v.value if isinstance(v, keras.Variable) else v for v in variables]
        return None if self.amsgrad else table.find("adamw", values)


def adamw(model, learning_rate, weight_decay, beta_2=0.999):
    """AdamW (beta_1 .9) for the trainable weights of `model`, which decays only its kernels.

    The official code decays GRN and the mask token in pretraining, which pulls GRN back to the
    identity.

    Args:
        model: a built model.
        learning_rate: float or schedule.
        weight_decay: float.
        beta_2: float, .999 for fine-tuning and .95 for pretraining (paper tables 8 to 13).
    """
    optimizer = KernelDecayAdamW(
        learning_rate, weight_decay=weight_decay, beta_1=0.9, beta_2=beta_2
    )
    optimizer.build(model.trainable_variables)
    return optimizer
