"""One training and one evaluation step on each backend, of a model that says what they compute.

Only the way to a gradient and the call that applies it differ. What a step computes is the model's
`loss_and_outputs(data)`, where the outputs have a row an image, or are None. What it counts and
reports is `record_step(num_images, outputs, loss, gradients)`, before the (scaled) gradients are
applied. A model may have an `after_update()`, for what follows the weights, and may assign there
what is not trained. A step of evaluation is `evaluation_outputs(data)`, which have a row an image,
and `record_evaluation(outputs, labels, weights, images)`, where images are None if other devices
have some of them.

Where a batch is shared by several devices, a step computes one part of it. The loss and gradients
that are recorded and applied are means over all parts, weighted by `loss_weight(data)`, and the
outputs those of all parts.
"""

import contextlib

import keras

from keras_convnextv2 import insides
from keras_convnextv2.training.averaged_weights import own_weights_after_error
from keras_convnextv2.training.distribution import engines, evaluation


@contextlib.contextmanager
def keep_weights(model):
    """Around `fit`, `evaluate` or `predict`: after an error the model has its last weights.

    Not their averages, where those were evaluated (`training.averaged_weights`). On JAX, Keras
    (3.15) holds the weights outside the model while it steps, and an error leaves them there.
    `insides.keep_variables` does the same for an error before the first step.
    """
    is_jax = keras.backend.backend() == "jax"
    if is_jax:
        insides.forget_state_of_steps(model)
    with own_weights_after_error(model):
        try:
            yield
        except BaseException:
            if is_jax:
                insides.weights_from_state_of_steps(model)
            raise


def train_step(model, *arguments):
    """`arguments` are (data,) on TensorFlow and torch, (state, data) on JAX, as Keras calls it."""
    steps = {"tensorflow": _tensorflow_step, "torch": _torch_step, "jax": _jax_step}
    return steps[keras.backend.backend()](model, *arguments)


def test_step(model, *arguments):
    """As `train_step`."""
    if keras.backend.backend() == "jax":
        return _jax_test_step(model, *arguments)
    return _test_step(model, *arguments)


def _test_step(model, data):
    data, labels_of_all = evaluation.split(data)
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    part = engines.current().part_of(_num_images(data))
    with part.computing():
        outputs = model.evaluation_outputs(data)
    outputs, labels, weights = part.all_rows((outputs, labels, weights))
    if labels_of_all is not None:
        labels, number = labels_of_all, keras.ops.shape(labels_of_all)[0]
        outputs = keras.tree.map_structure(lambda rows: rows[:number], outputs)
        images = keras.tree.map_structure(lambda rows: rows[:number], images)
    images = part.if_whole(images)
    return part.reported(model.record_evaluation(outputs, labels, weights, images))


def _tensorflow_step(model, data):
    import tensorflow as tf

    part = engines.current().part_of(_num_images(data))
    with tf.GradientTape() as tape, part.computing():
        loss, outputs = model.loss_and_outputs(data)
        scaled_loss = model.optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled_loss, model.trainable_weights)
    loss, *gradients = part.mean([loss, *gradients], model.loss_weight(data))
    logs = model.record_step(part.num_images, part.all_rows(outputs), loss, gradients)
    part.apply(model.optimizer, gradients, model.trainable_weights)
    _after_update(model)
    return part.reported(logs)


def _torch_step(model, data):
    if not model.jit_compile:
        return _torch_step_in_parts(model, data)
    import torch

    # Loss, gradients and update are compiled each alone. At `backward` the compiler gives up, and
    # would begin each of the functions around it again, with the whole loss every time.
    return torch.compiler.disable(_torch_step_in_parts, recursive=False)(model, data)


def _torch_step_in_parts(model, data):
    import torch

    part = engines.current().part_of(_num_images(data))
    model.zero_grad()
    with part.computing():
        loss, outputs = model.loss_and_outputs(data)
    model.optimizer.scale_loss(loss).backward()
    gradients = [weight.value.grad for weight in model.trainable_weights]
    with torch.no_grad():
        loss, *gradients = part.mean([loss.detach(), *gradients], model.loss_weight(data))
        logs = model.record_step(part.num_images, part.all_rows(outputs), loss, gradients)
        part.apply(model.optimizer, gradients, model.trainable_weights)
        _after_update(model)
    return logs


def _jax_step(model, state, data):
    import jax

    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )

    def scaled_loss(trainable):
        mapping = _mapping(groups, (trainable, *state[1:]))
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            loss, outputs = model.loss_and_outputs(data)
            scaled = model.optimizer.scale_loss(loss)
        return scaled, (loss, outputs, _values(groups[1], scope), _values(groups[3], scope))

    gradient = jax.grad(scaled_loss, has_aux=True)
    gradients, (loss, outputs, *counted) = gradient(state[0])
    mapping = _mapping(groups, (state[0], counted[0], state[2], counted[1]))
    with keras.StatelessScope(mapping) as scope:
        logs = model.record_step(_num_images(data), outputs, loss, gradients)
    # Not `apply` in the scope: the conditions of float16's loss scaling would leak out of it.
    trainable, optimizer = model.optimizer.stateless_apply(state[2], gradients, state[0])
    non_trainable, metrics = _values(groups[1], scope), _values(groups[3], scope)
    mapping = _mapping(groups[:3], (trainable, non_trainable, optimizer))
    with keras.StatelessScope(mapping) as scope:
        _after_update(model)
    non_trainable = _values(groups[1], scope)
    return logs, (trainable, non_trainable, optimizer, metrics)


def _jax_test_step(model, state, data):
    groups = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)
    with keras.StatelessScope(_mapping(groups, state), collect_losses=True) as scope:
        logs = _test_step(model, data)
    return logs, tuple(_values(group, scope) for group in groups)


def _num_images(data):
    """The images of a batch, of what Keras passes."""
    images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return keras.ops.shape(keras.tree.flatten(images)[0])[0]


def _after_update(model):
    if hasattr(model, "after_update"):
        model.after_update()


def _mapping(groups, state):
    return [
        pair
        for variables, values in zip(groups, state, strict=True)
        for pair in zip(variables, values, strict=True)
    ]


def _values(variables, scope):
    return [scope.get_current_value(variable) for variable in variables]
