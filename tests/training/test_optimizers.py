import keras
import numpy as np
import pytest

from keras_convnextv2.training.optimizers import KernelDecayAdamW, adamw
from keras_convnextv2.training.schedules import warmup_cosine
from tests.reference.random_weights import named_weights


def test_only_kernels_shrink_where_the_gradient_is_zero(make_fcmae):
    decoder = make_fcmae().decoder
    before = named_weights(decoder)
    optimizer = adamw(decoder, learning_rate=0.1, weight_decay=0.2)
    gradients = [keras.ops.zeros(weight.shape) for weight in decoder.trainable_weights]
    optimizer.apply(gradients, decoder.trainable_weights)
    kept = {"bias", "gamma", "beta", "mask_token"}
    for weight in decoder.trainable_weights:
        factor = 1.0 if weight.name in kept else 1 - 0.1 * 0.2
        assert weight.name in kept or weight.name == "kernel"
        # One float32 product.
        np.testing.assert_allclose(
            weight.numpy(), factor * before[weight.path], rtol=1e-6, err_msg=weight.path
        )


def test_the_schedule_and_beta_2_are_used(make_fcmae):
    schedule = warmup_cosine(0.3, 10, 2)
    optimizer = adamw(make_fcmae(), schedule, 0.05, beta_2=0.95)
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.weight_decay) == (0.9, 0.95, 0.05)
    assert float(optimizer.learning_rate) == 0.0  # the warm-up's first
    assert adamw(make_fcmae(), 0.1, 0.05).beta_2 == 0.999


def test_a_saved_optimizer_decays_the_same_weights_when_it_is_loaded(make_fcmae):
    decoder = make_fcmae().decoder
    before = named_weights(decoder)
    config = keras.saving.serialize_keras_object(adamw(decoder, 0.1, 0.2))
    assert config["module"].startswith("keras_convnextv2.")  # no backend's class in a file
    optimizer = keras.saving.deserialize_keras_object(config)
    gradients = [keras.ops.zeros(weight.shape) for weight in decoder.trainable_weights]
    optimizer.apply(gradients, decoder.trainable_weights)
    for weight in decoder.trainable_weights:
        factor = 1 - 0.1 * 0.2 if weight.name == "kernel" else 1.0
        # One float32 product.
        np.testing.assert_allclose(
            weight.numpy(), factor * before[weight.path], rtol=1e-6, err_msg=weight.path
        )


@pytest.mark.parametrize("weight_decay", [0.2, 0.0])
def test_its_steps_are_those_of_keras_adamw(rng, weight_decay):
    """Kernels alone, so that both decay the same; a rate that changes; a gradient of zeros."""
    start = rng.normal(size=(5, 7)).astype("float32")
    gradients = [rng.normal(size=start.shape).astype("float32") for _ in range(3)]
    gradients[1][2] = 0
    ends = []
    for kind in (KernelDecayAdamW, keras.optimizers.AdamW):
        weight = keras.Variable(start)
        rate = warmup_cosine(0.3, 10, 2)
        optimizer = kind(rate, weight_decay=weight_decay, beta_1=0.9, beta_2=0.95)
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        ends.append(weight.numpy())
    assert np.abs(ends[0] - start).max() > 0.1
    # The same formula; float32.
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5, atol=1e-6)


def test_a_compiled_step_is_that_of_keras_adamw(rng):
    start, gradient = (rng.normal(size=(5, 7)).astype("float32") for _ in range(2))
    ends = []
    for kind in (KernelDecayAdamW, keras.optimizers.AdamW):
        weight = keras.Variable(start)
        optimizer = kind(0.1, weight_decay=0.2)
        optimizer.build([weight])
        if kind is KernelDecayAdamW:
            apply_compiled(optimizer, gradient, weight)
        else:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        ends.append(weight.numpy())
    assert np.abs(ends[0] - start).max() > 0.05
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5, atol=1e-6)


def apply_compiled(optimizer, gradient, weight):
    """As `fit` does where it compiles; on torch without C++, whose compilation takes long."""
    gradient = keras.ops.convert_to_tensor(gradient)

    def step(gradient):
        optimizer.apply([gradient], [weight])

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.function(step)(gradient)
    elif keras.backend.backend() == "torch":
        import torch

        torch.compile(step, backend="aot_eager")(gradient)
    else:
        import jax

        state = [variable.value for variable in optimizer.variables]
        trained, _ = jax.jit(optimizer.stateless_apply)(state, [gradient], [weight.value])
        weight.assign(trained[0])


if keras.backend.backend() == "tensorflow":

    def test_what_decays_a_weight_is_not_computed_before_its_gradient(rng):
        """Else as much as all weights is kept from the beginning of a step to its end."""
        import tensorflow as tf

        weights = [keras.Variable(rng.normal(size=(5, 7))) for _ in range(2)]
        optimizer = KernelDecayAdamW(0.1, weight_decay=0.2)
        optimizer.build(weights)

        @tf.function
        def step(*gradients):
            optimizer.apply([gradient * 2.0 for gradient in gradients], weights)

        graph = step.get_concrete_function(*[tf.TensorSpec((5, 7), "float32")] * 2).graph
        decays = [op for op in graph.get_operations() if op.type == "AssignSubVariableOp"]
        assert len(decays) == 2
        # The weight times the rate, of which the weight is not read before.
        reads = [decay.inputs[1].op.inputs[0].op for decay in decays]
        assert [read.type for read in reads] == ["ReadVariableOp"] * 2
        waits_for = [op for read in reads for op in read.control_inputs]
        assert [op.name for op in waits_for] == ["mul", "mul_1"]  # its gradient

    def test_its_steps_are_those_of_keras_adamw_on_mirrored_weights(rng):
        import tensorflow as tf

        start, images = rng.normal(size=(5, 7)), rng.normal(size=(8, 5))
        ends = []
        for kind in (KernelDecayAdamW, keras.optimizers.AdamW):
            with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
                layer = keras.layers.Dense(7, bias_initializer="ones")
                model = keras.Sequential([keras.Input((5,)), layer])
                layer.kernel.assign(start)
                optimizer = kind(0.1, weight_decay=0.2)
                if kind is not KernelDecayAdamW:
                    optimizer.exclude_from_weight_decay(var_names=["bias"])
                model.compile(optimizer=optimizer, loss="mse")
            model.fit(images, np.zeros((8, 7)), batch_size=4, shuffle=False, verbose=0)
            ends.append([weight.numpy() for weight in layer.weights])
        assert np.abs(ends[0][0] - start).max() > 0.1
        for ours, expected in zip(*ends, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
