"""AdamW that decays kernels only, and counts updates."""

import keras

from keras_convnextv2.insides import OpenAdamW
from keras_convnextv2.layers.fast import table


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class KernelDecayAdamW(OpenAdamW):
    """AdamW that decays kernels only and may scale the rate of each weight, also when loaded.

    Weights of fewer than two dimensions are left out of the decay: biases, the scales and shifts
    of LayerNorm and GRN, and the mask token. `exclude_from_weight_decay` is refused: what it is
    told is not in Keras's config of an optimizer, and here it follows from the weights.

    Where gradients are accumulated (`gradient_accumulation_steps`), everything counts updates, not
    batches: the schedule, `iterations`, `learning_rate`, the decay, clipping and the averages of
    weights (`use_ema`). What an epoch leaves over is carried into the next one, and saved with the
    optimizer; what the last epoch leaves over updates nothing.

    Args:
        *arguments: those of `keras.optimizers.AdamW`, the learning rate first.
        **options: the same, by name.
        rate_scales: optional sequence of positive floats, one for each trainable weight of the
            model in their order: factors on the learning rate, and so on the decay, which AdamW
            multiplies by the rate.

    Raises:
        ValueError: scales that are not positive or, when it is built, not as many as weights;
            `ema_overwrite_frequency` beside `gradient_accumulation_steps`.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_convnextv2.training import KernelDecayAdamW
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile(KernelDecayAdamW(1e-3, weight_decay=0.05), loss="mse")
        >>> history = model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
        >>> list(history.history)
        ['loss']
    """

    def __init__(self, *arguments, rate_scales=None, **options):
        super().__init__(*arguments, **options)
        if self.gradient_accumulation_steps and self.ema_overwrite_frequency:
            raise ValueError(
                "`ema_overwrite_frequency` counts batches, also where several are accumulated for "
                f"an update. Received: ema_overwrite_frequency={self.ema_overwrite_frequency} with "
                f"gradient_accumulation_steps={self.gradient_accumulation_steps}"
            )
        if rate_scales is not None:
            rate_scales = tuple(map(float, rate_scales))
            wrong = [scale for scale in rate_scales if not 0 < scale < float("inf")]
            if wrong:
                raise ValueError(f"`rate_scales` must be positive floats. Received: {wrong[0]}")
        self.rate_scales = rate_scales
        self._own_weights = None  # while the model has the averages
        self.keeps_own_weights = False  # when `fit` ends

    def build(self, variables):
        if not self.built:
            super().exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
            if self.rate_scales is not None and len(self.rate_scales) != len(variables):
                raise ValueError(
                    "`rate_scales` must be one for each trainable weight. Received: "
                    f"{len(self.rate_scales)} for a model of {len(variables)} such weights. "
                    "Freeze layers before the optimizer is made."
                )
        super().build(variables)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Refuses: which weights are decayed follows from their shapes.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "KernelDecayAdamW decays all kernels and nothing else. To leave others out "
            "use keras.optimizers.AdamW."
        )

    def rate_scale(self, variable):
        """The factor on the learning rate of a weight."""
        return 1.0 if self.rate_scales is None else self.rate_scales[self.place_of(variable)]

    def take_gradients(self, gradients, variables):
        """As Keras's; on JAX without an update between updates where that is faster."""
        fast = self._fast_update(variables)
        if self.gradient_accumulation_steps and fast is not None and fast.accumulate is not None:
            fast.accumulate(self, gradients, variables)
        else:
            super().take_gradients(gradients, variables)

    def update(self, gradients, variables):
        """One update by gradients, with all that goes with it."""
        gradients = self.clip(gradients)
        self.decay_weights(variables)
        self.update_weights(gradients, variables, self.learning_rate)
        if self.use_ema:
            self.average_weights(self.weights())

    def update_step(self, gradient, variable, learning_rate):
        """As Keras's; on TensorFlow in one operation where that is faster."""
        fast = self._fast_update([variable])
        if fast is not None and fast.update_one is not None:
            fast.update_one(self, gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def decay_weights(self, variables):
        """As Keras's, each by its scale; nothing where the faster update decays, too."""
        for scale, (group,) in self._of_equal_scale(variables):  # those that are updated at once
            fast = self._fast_update(group)
            if fast is not None and fast.decays:
                continue
            decayed = [variable for variable in group if self.is_decayed(variable)]
            if decayed:  # Keras's fails on torch for none
                super().decay_weights(decayed, scale)

    def update_weights(self, gradients, variables, learning_rate):
        for scale, (some, of_them) in self._of_equal_scale(variables, gradients):
            fast = self._fast_update(some)
            rate = learning_rate if scale == 1 else learning_rate * scale
            if fast is not None and fast.decay is not None and self.weight_decay:
                fast.decay(self, of_them, some, rate)
            super().update_weights(of_them, some, rate)

    def update_at_once(self, gradients, variables, learning_rate):
        fast = self._fast_update(variables)
        if fast is not None and fast.update_all is not None:
            fast.update_all(self, gradients, variables, learning_rate)
        else:
            super().update_at_once(gradients, variables, learning_rate)

    def average_weights(self, variables):
        """The averages after an update; after the first they are the weights themselves.

            average += (1 - ema_momentum) * (weight - average)

        Between updates they stay as they are.
        """
        share = keras.ops.where(keras.ops.equal(self.iterations, 0), 1.0, 1.0 - self.ema_momentum)
        if self.gradient_accumulation_steps:
            share = keras.ops.where(self.ends_accumulation(), share, 0.0)
        pairs = self.weights_and_averages()
        fast = self._fast_update([weight for weight, _ in pairs])
        if fast is not None and fast.average is not None:
            fast.average(self, share, pairs)
            return
        for weight, average in pairs:
            change = keras.ops.subtract(weight, average) * keras.ops.cast(share, average.dtype)
            average.assign(keras.ops.add(average, change))

    def finalize_variable_values(self, variables):
        """Gives the model the averages, as `fit` asks when it ends, on JAX also by an error."""
        if not self.use_ema:
            return
        self.use_averages()
        if not self.keeps_own_weights:
            self.forget_own_weights()

    @property
    def uses_averages(self):
        """Whether the model has the averages of its weights for the time being."""
        return self._own_weights is not None

    def use_averages(self):
        """Gives the model the averages, and keeps its own weights; before an update, nothing."""
        if self.uses_averages or not self._has_updated():
            return
        pairs = self.weights_and_averages()
        # Copies: on JAX a step may take the memory of what it is given.
        self._own_weights = [_copy_of(weight) for weight, _ in pairs]
        for weight, average in pairs:
            weight.assign(_copy_of(average))

    def use_own_weights(self):
        """Gives the model its own weights again, where it has the averages."""
        if not self.uses_averages:
            return
        pairs = zip(self.weights_and_averages(), self._own_weights, strict=True)
        for (weight, _), value in pairs:
            weight.assign(value)
        self.forget_own_weights()

    def forget_own_weights(self):
        """Leaves the model what it has for good."""
        self._own_weights = None

    def _has_updated(self):
        return int(keras.ops.convert_to_numpy(self.iterations)) > 0

    def get_config(self):
        scales = {} if self.rate_scales is None else {"rate_scales": list(self.rate_scales)}
        return {**super().get_config(), **scales}

    def _of_equal_scale(self, variables, *others):
        """[(scale, [variables, ...])], with what belongs to them, in the order they come."""
        groups = {}
        for row in zip(variables, *others, strict=True):
            groups.setdefault(self.rate_scale(row[0]), []).append(row)
        return [(scale, map(list, zip(*rows, strict=True))) for scale, rows in groups.items()]

    def _fast_update(self, variables):
        """The `fast.adamw.AdamWUpdate` for these weights, or None."""
        values = [v.value if isinstance(v, keras.Variable) else v for v in variables]
        return None if self.amsgrad else table.find("adamw", values)


def _copy_of(variable):
    return keras.ops.copy(keras.ops.stop_gradient(keras.ops.convert_to_tensor(variable)))
