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
        """As Keras's; on TensorFlow in one operation."""
        if self._updates_on_tensorflow():
            _update_on_tensorflow(self, gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables):
        """As Keras's; nothing where we decay with the update: on TensorFlow, and on torch's CPU."""
        if self._updates_on_tensorflow() or self._updates_at_once_on_torch(variables):
            return
        if any(self._use_weight_decay(variable) for variable in variables):
            super()._apply_weight_decay(variables)  # which on torch fails where it has none

    def _backend_update_step(self, gradients, variables, learning_rate):
        """As Keras's, and on TensorFlow the decay before it."""
        if self._updates_on_tensorflow() and self.weight_decay:
            _decay_on_tensorflow(self, gradients, variables, learning_rate)
        super()._backend_update_step(gradients, variables, learning_rate)

    def _parallel_update_step(self, gradients, variables, learning_rate):
        """As Keras's of all weights on torch; on a CPU with their decay, going over them once."""
        if self._updates_at_once_on_torch(variables):
            _update_on_torch(self, gradients, variables, learning_rate)
        else:
            super()._parallel_update_step(gradients, variables, learning_rate)

    def _updates_on_tensorflow(self):
        return keras.backend.backend() == "tensorflow" and not self.amsgrad

    def _updates_at_once_on_torch(self, variables):
        is_torch = keras.backend.backend() == "torch"
        return is_torch and not self.amsgrad and _can_update_on_torch(variables)


def _decay_on_tensorflow(optimizer, gradients, variables, learning_rate):
    """Decays the weights, each when its gradient is there.

    Keras's own decay waits for no gradient: TensorFlow computes what is to be subtracted from each
    weight as the step begins, and keeps it, as much as all weights, until the weight may change.
    And what `update_step` is given went through one operation with all gradients: what waits for
    one there waits for all, and keeps them.
    """
    import tensorflow as tf

    def decay(variable, gradient):
        with tf.control_dependencies([gradient]):
            rate = tf.cast(learning_rate * optimizer.weight_decay, variable.dtype)
            variable.assign_sub(variable * rate)

    def decay_all(strategy, pairs):
        for gradient, variable in pairs:
            strategy.extended.update(variable, decay, args=(gradient,), group=False)

    pairs = [
        (gradient, variable.value if isinstance(variable, keras.Variable) else variable)
        for gradient, variable in zip(gradients, variables, strict=True)
        if optimizer._use_weight_decay(variable)
    ]
    strategy = optimizer._distribution_strategy
    tf.__internal__.distribute.interim.maybe_merge_call(decay_all, strategy, pairs)


def _update_on_tensorflow(optimizer, gradient, variable, learning_rate):
    """Updates one weight, going over it once."""
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


def _can_update_on_torch(variables):
    """Whether `_update_on_torch` takes these weights: on a CPU, outside a compiled function."""
    import torch

    if torch.compiler.is_compiling():  # which fuses by itself
        return False
    values = [variable.value for variable in variables]
    # The operation goes over memory as it lies: a transposed weight has its numbers elsewhere.
    return all(value.device.type == "cpu" and value.is_contiguous() for value in values)


def _update_on_torch(optimizer, gradients, variables, learning_rate):
    """Decays and updates all weights, going over them once, where Keras goes eleven times."""
    import torch

    # Keras corrects the moments' bias in the learning rate, before epsilon is added; told of a
    # step at which there is no bias left, the operation does not correct it again. The count of
    # steps is a variable, or where gradients are accumulated a tensor.
    step = keras.ops.convert_to_tensor(optimizer.iterations) + 1
    bias_1, bias_2 = (1 - beta**step for beta in (optimizer.beta_1, optimizer.beta_2))
    corrected_rate = learning_rate * bias_2**0.5 / bias_1
    # It decays by the rate it is given, Keras by the one that is not corrected. A number, not a
    # tensor: there is no device to wait for here.
    decay = optimizer.weight_decay * (bias_1 / bias_2**0.5).numpy().item()
    for is_decayed in (True, False):
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if optimizer._use_weight_decay(variable) == is_decayed
        ]
        if not pairs:
            continue
        indices = [optimizer._get_variable_index(variable) for _, variable in pairs]
        torch._fused_adamw_(
            [variable.value for _, variable in pairs],
            [gradient.to(variable.value.dtype).contiguous() for gradient, variable in pairs],
            [optimizer._momentums[index].value for index in indices],
            [optimizer._velocities[index].value for index in indices],
            [],  # amsgrad's
            [torch.tensor(1e9)] * len(pairs),
            lr=corrected_rate,
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            weight_decay=decay if is_decayed else 0.0,
            eps=optimizer.epsilon,
            amsgrad=False,
            maximize=False,
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
