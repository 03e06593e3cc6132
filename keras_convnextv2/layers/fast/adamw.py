"""AdamW in fewer passes over the weights, for the CPUs of each backend.

What `KernelDecayAdamW` asks for, in the parts that Keras's optimizer has. A part that is None is
left to Keras.
"""

import dataclasses
from collections.abc import Callable

import keras

from keras_convnextv2.insides import torch_fused_adamw, torch_move_towards


@dataclasses.dataclass(frozen=True)
class AdamWUpdate:
    """A faster update for `KernelDecayAdamW`.

    Each part takes the optimizer; then, but for the last, a gradient and a variable or lists of
    them, and the learning rate.

    Args:
        decay: decays weights before they are updated.
        update_one: updates one weight.
        update_all: decays and updates all weights of one rate.
        average: takes the weights into their averages; called with (optimizer, share, pairs),
            `share` being what is new and `pairs` the weights with their averages.
        accumulate: takes the gradients of one batch where several make one update; called with
            (optimizer, gradients, variables).
    """

    decay: Callable | None = None
    update_one: Callable | None = None
    update_all: Callable | None = None
    average: Callable | None = None
    accumulate: Callable | None = None

    @property
    def decays(self):
        """Whether it decays the weights, so that Keras must not."""
        return self.decay is not None or self.update_all is not None


def takes_torch(values):
    """Whether `TORCH` takes the tensors of these weights: outside a compiled function."""
    import torch

    if torch.compiler.is_compiling():  # which fuses by itself
        return False
    # The operation goes over memory as it lies: a transposed weight has its numbers elsewhere.
    return all(value.device.type == "cpu" and value.is_contiguous() for value in values)


def _torch_update(optimizer, gradients, variables, learning_rate):
    """Decays and updates all weights of an `OpenAdamW`, in one pass where Keras has eleven.

    A step without it takes 1.09x (pretraining tiny).
    """
    import torch

    # Keras corrects the moments' bias in the learning rate, before epsilon is added; told of a
    # step at which there is no bias left, the operation does not correct it again.
    step = _number(optimizer.iterations) + 1
    bias_1, bias_2 = (1 - beta**step for beta in (optimizer.beta_1, optimizer.beta_2))
    corrected_rate = _number(learning_rate) * bias_2**0.5 / bias_1
    # It decays by the rate it is given, Keras by the one that is not corrected.
    decay = (optimizer.weight_decay or 0.0) * bias_1 / bias_2**0.5
    for is_decayed in (True, False):
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
            if optimizer.is_decayed(variable) == is_decayed
        ]
        if not pairs:
            continue
        moments = [optimizer.moments(variable) for _, variable in pairs]
        torch_fused_adamw(
            [variable.value for _, variable in pairs],
            [gradient.to(variable.value.dtype).contiguous() for gradient, variable in pairs],
            [first.value for first, _ in moments],
            [second.value for _, second in moments],
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


def _number(tensor):
    """A number of a tensor: there is no device to wait for here."""
    return keras.ops.convert_to_numpy(tensor).item()


def _torch_average(optimizer, share, pairs):
    """All averages in one call, and in none between updates."""
    import torch

    share = _number(share)
    if share:
        averages = [average.value for _, average in pairs]
        with torch.no_grad():
            torch_move_towards(averages, [weight.value for weight, _ in pairs], share)


def _tensorflow_decay(optimizer, gradients, variables, learning_rate):
    """Decays the weights of an `OpenAdamW`, each when its gradient is there.

    Keras's own decay waits for no gradient: TensorFlow computes what is to be subtracted from each
    weight as the step begins, and keeps it, as much as all weights, until the weight may change.
    And what an update of one weight is given went through one operation with all gradients: what
    waits for one there waits for all, and keeps them.
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
        if optimizer.is_decayed(variable)
    ]
    optimizer.for_each_replica(decay_all, pairs)


def _tensorflow_update(optimizer, gradient, variable, learning_rate):
    """Updates one weight of an `OpenAdamW`, going over it once.

    A step without this and `_tensorflow_decay` takes 1.31x the memory (pretraining tiny), without
    the latter's order alone 1.17x.
    """
    import tensorflow as tf

    step = tf.cast(optimizer.iterations + 1, variable.dtype)
    betas = [tf.cast(beta, variable.dtype) for beta in (optimizer.beta_1, optimizer.beta_2)]
    first, second = optimizer.moments(variable)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=first.value.handle,
        v=second.value.handle,
        beta1_power=tf.pow(betas[0], step),
        beta2_power=tf.pow(betas[1], step),
        lr=tf.cast(learning_rate, variable.dtype),
        beta1=betas[0],
        beta2=betas[1],
        epsilon=optimizer.epsilon,
        grad=tf.cast(gradient, variable.dtype),
        use_locking=True,
    )


def _jax_accumulate(optimizer, gradients, variables):
    """Adds the gradients up, or updates: one of both, where Keras computes both and chooses.

    With 4 accumulated this takes 5 ms a batch for atto, Keras's way 30 (one core of a shared AMD
    EPYC, 2026-11-29).
    """
    import jax

    held = optimizer.accumulators(variables)
    state = [*optimizer.weights(), *optimizer.variables]
    values = [variable.value for variable in state]

    def add():
        for gradient, total in zip(gradients, held, strict=True):
            total.assign(total + gradient)

    def update():
        steps = optimizer.gradient_accumulation_steps
        sums = [gradient + total for gradient, total in zip(gradients, held, strict=True)]
        optimizer.update([total / steps for total in sums], variables)
        for total in held:
            total.assign(keras.ops.zeros(total.shape, total.dtype))

    def after(function):
        with keras.StatelessScope(list(zip(state, values, strict=True))) as scope:
            function()
        return [scope.get_current_value(variable) for variable in state]

    ends = optimizer.ends_accumulation()
    found = jax.lax.cond(ends, lambda: after(update), lambda: after(add))
    for variable, value in zip(state, found, strict=True):
        variable.assign(value)


JAX = AdamWUpdate(accumulate=_jax_accumulate)
TENSORFLOW = AdamWUpdate(decay=_tensorflow_decay, update_one=_tensorflow_update)
TORCH = AdamWUpdate(update_all=_torch_update, average=_torch_average)
