"""The optimizer of the paper."""

import keras

# On torch, Keras swaps its AdamW for one that updates all weights in one call, but not a subclass
# of it; and it saves that class under a name that no other backend can use. Subclassing what the
# backend makes of AdamW, under a name of our own, has the fast update and portable files.
_BackendAdamW = type(keras.optimizers.AdamW.__new__(keras.optimizers.AdamW))


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class KernelDecayAdamW(_BackendAdamW):
    """AdamW that decays kernels only, also after it was loaded from a file.

    Weights of fewer than two dimensions are left out of the decay: biases, the scales and shifts
    of LayerNorm and GRN, and the mask token. What `exclude_from_weight_decay` is told is not in
    Keras's config of an optimizer; here it follows from the weights.
    """

    def build(self, variables):
        if not self.built:
            self.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """As Keras's; on TensorFlow in one operation, which goes over the weights once."""
        if keras.backend.backend() == "tensorflow" and not self.amsgrad:
            _fused_update(self, gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)


def _fused_update(optimizer, gradient, variable, learning_rate):
    import tensorflow as tf

    step = tf.cast(optimizer.iterations + 1, variable.dtype)
    betas = [tf.cast(beta, variable.dtype) for beta in (optimizer.beta_1, optimizer.beta_2)]
    index = optimizer._get_variable_index(variable)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=optimizer._momentums[index].value.handle,
        v=optimizer._velocities[index].value.handle,
        beta1_power=tf.pow(betas[0], step),
        beta2_power=tf.pow(betas[1], step),
        lr=tf.cast(learning_rate, variable.dtype),
        beta1=betas[0],
        beta2=betas[1],
        epsilon=optimizer.epsilon,
        grad=tf.cast(gradient, variable.dtype),
        use_locking=True,
    )


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
