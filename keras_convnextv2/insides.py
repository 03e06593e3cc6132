"""What the library uses of Keras and of the backends that they do not promise to keep.

Each name was looked up in Keras 3.15, TensorFlow 2.21, JAX 0.10 and torch 2.13, and may go with any
release. `tests/test_insides.py` fails for each when it goes, and holds that none is used elsewhere.
"""

import contextlib

import keras

# On torch, Keras swaps its AdamW for one that updates all weights in one call, but not a subclass
# of it; and it saves that class under a name that no other backend can use. Subclassing what the
# backend makes of AdamW, under a name of our own, has the fast update and portable files.
_BackendAdamW = type(keras.optimizers.AdamW.__new__(keras.optimizers.AdamW))


def is_validation_of_fit(options):
    """Whether `evaluate` is called by `fit`, which reads the images by an iterator of its own.

    Args:
        options: those of `evaluate`.
    """
    return bool(options.get("_use_cached_eval_dataset"))


class OpenAdamW(_BackendAdamW):
    """What the backend makes of Keras's AdamW, with names for the steps of an update.

    A schedule is asked for the rate of the next update. Keras (3.15) asks for that of the next
    batch, also where several are accumulated for an update.
    """

    def decay_weights(self, variables, scale=1.0):
        """Decays weights before they are updated, by the decay times `scale`."""
        decay = self.weight_decay
        self.weight_decay = decay if decay is None else decay * scale
        try:
            super()._apply_weight_decay(variables)
        finally:
            self.weight_decay = decay

    def update_weights(self, gradients, variables, learning_rate):
        """Updates weights, within a replica of TensorFlow or without one."""
        super()._backend_update_step(gradients, variables, learning_rate)

    def update_at_once(self, gradients, variables, learning_rate):
        """Updates weights on torch, all in one call."""
        super()._parallel_update_step(gradients, variables, learning_rate)

    def take_gradients(self, gradients, variables):
        """Takes the gradients of one batch, with all that follows."""
        super()._backend_apply_gradients(gradients, variables)

    def clip(self, gradients):
        """The gradients, clipped as the optimizer was told."""
        return self._clip_gradients(gradients)

    def average_weights(self, variables):
        """Takes the weights into their averages, after each batch."""
        super()._update_model_variables_moving_average(variables)

    def ends_accumulation(self):
        """Whether the batch at hand is the last of those that are accumulated for an update."""
        return (self._iterations + 1) % (self.gradient_accumulation_steps or 1) == 0

    def weights(self):
        """The weights that the optimizer was built for."""
        return self._trainable_variables

    def accumulators(self, variables):
        """The Keras variables of the weights' gradients, added up since the last update."""
        return [self._accumulated_gradients[self.place_of(variable)] for variable in variables]

    def place_of(self, variable):
        """The place of a weight among those that the optimizer was built for."""
        return self._get_variable_index(variable)

    def weights_and_averages(self):
        """[(weight, its average)], Keras variables, of an optimizer that was built to average."""
        pairs = zip(self.weights(), self._model_variables_moving_average, strict=True)
        return [(weight, average) for weight, average in pairs if average is not None]

    def is_decayed(self, variable):
        """Whether a weight is decayed."""
        return self._use_weight_decay(variable)

    def moments(self, variable):
        """The Keras variables of a weight's first and second moment."""
        index = self.place_of(variable)
        return self._momentums[index], self._velocities[index]

    def for_each_replica(self, function, pairs):
        """On TensorFlow, calls `function(strategy, pairs)` where replicas come together."""
        import tensorflow as tf

        merge = tf.__internal__.distribute.interim.maybe_merge_call
        merge(function, self._distribution_strategy, pairs)

    def _backend_apply_gradients(self, gradients, variables):
        self.take_gradients(gradients, variables)

    def _apply_weight_decay(self, variables):
        self.decay_weights(variables)

    def _update_model_variables_moving_average(self, variables):
        self.average_weights(variables)

    def _get_current_learning_rate(self):
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return self._learning_rate(self.iterations)
        return super()._get_current_learning_rate()

    def _backend_update_step(self, gradients, variables, learning_rate):
        self.update_weights(gradients, variables, learning_rate)

    def _parallel_update_step(self, gradients, variables, learning_rate):
        self.update_at_once(gradients, variables, learning_rate)


def take_gradients_of_all_replicas(optimizer):
    """On TensorFlow, tells an optimizer that its gradients are those of all replicas together.

    Keras would add up those of each, after it has clipped and accumulated them.
    """
    for one in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if one is not None:
            one._all_reduce_sum_gradients = list


@contextlib.contextmanager
def replicas_together():
    """On TensorFlow, where replicas have come together: optimizers do not ask them to once more."""
    import tensorflow as tf

    interim = tf.__internal__.distribute.interim
    before = interim.maybe_merge_call
    interim.maybe_merge_call = lambda function, strategy, *arguments, **options: function(
        strategy, *arguments, **options
    )
    try:
        yield
    finally:
        interim.maybe_merge_call = before


def keep_variables(model_class):
    """Decorates a class of models: variables keep their values while `fit` steps.

    Keras on JAX empties them before the first step, and loses them if that raises.
    """
    model_class._purge_model_variables = lambda self, **groups: None
    return model_class


def forget_state_of_steps(model):
    """On JAX, drops what an earlier `fit` left of its state; weights may have been set since."""
    if getattr(model, "_jax_state_synced", True):
        model._jax_state = None


def weights_from_state_of_steps(model):
    """On JAX, gives a model the weights of its last step, which Keras holds outside it."""
    model.jax_state_sync()


def seed_all_processes_of_jax():
    """Gives all processes of JAX one seed, where none was set, as `keras.distribution` does."""
    from keras.src.backend.jax import distribution_lib

    distribution_lib.initialize_rng()


def build_metrics(model, batch):
    """Makes the variables of a compiled model's metrics, as a step would, of a batch of `fit`."""
    model._symbolic_build(data_batch=batch)


def build_for_data(model, batch):
    """On TensorFlow, makes a model's metrics of a batch, and keeps Keras from it.

    Keras (3.15) takes a batch of each process's data for it, and cannot put these together.
    """
    if model._compile_loss is not None:  # it is Keras that counts
        build_metrics(model, batch)
    model._maybe_symbolic_build = lambda iterator=None, data_batch=None: None


def compiled_metrics(model):
    """The metrics that a model was compiled with, once they are made."""
    return [] if model._compile_metrics is None else model._compile_metrics.metrics


def auto_jit_compile(model):
    """What `jit_compile="auto"` means for a compiled model on this backend."""
    return model._resolve_auto_jit_compile()


def layers_within(model):
    """A model or a layer, and all layers within it."""
    return model._flatten_layers()


def layers_directly_within(layer):
    """The layers that a layer holds, without those within them."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def torch_fused_adamw(*lists, **options):
    """torch's update of many weights by AdamW, in place, in one call."""
    import torch

    torch._fused_adamw_(*lists, **options)


def torch_move_towards(tensors, goals, share):
    """Moves each of torch's tensors by a share, a float, of its way to its goal, in place."""
    import torch

    torch._foreach_lerp_(tensors, goals, share)


def torch_gelu_gradient(upstream, x):
    """The gradient of torch's exact GELU of x."""
    import torch

    return torch.ops.aten.gelu_backward(upstream, x)
