import keras
import numpy as np
import pytest

from keras_convnextv2.training.optimizers import KernelDecayAdamW, adamw
from keras_convnextv2.training.schedules import warmup_cosine
from tests.reference.apply_gradients import apply_to, compiled_step
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


# What a user may ask of any optimizer of Keras's, and what of it goes together.
SETTINGS = {
    "plain": {},
    "accumulation": {"gradient_accumulation_steps": 2},
    "amsgrad": {"amsgrad": True},
    "amsgrad, accumulation": {"amsgrad": True, "gradient_accumulation_steps": 2},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.1},
    "global_clipnorm, accumulation": {"global_clipnorm": 0.7, "gradient_accumulation_steps": 2},
    "loss_scale_factor": {"loss_scale_factor": 4.0},
    "average": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
}
NUM_STEPS = 5  # with two accumulated, one is left over


class OfBatches(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of updates for Keras's optimizers, which ask for the rate of a batch."""

    def __init__(self, schedule, batches_an_update):
        super().__init__()
        self.schedule, self.batches_an_update = schedule, batches_an_update

    def __call__(self, step):
        return self.schedule(keras.ops.floor_divide(step, self.batches_an_update))


def steps_of(kind, gradients, wrap=lambda optimizer: optimizer, **settings):
    """The values of two kernels and a bias after each step, then what averages make of them."""
    rng = np.random.default_rng(3)
    weights = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
    schedule = warmup_cosine(0.3, 10, 2)
    if kind is not KernelDecayAdamW:
        schedule = OfBatches(schedule, settings.get("gradient_accumulation_steps", 1))
    optimizer = kind(schedule, weight_decay=0.2, beta_2=0.95, **settings)
    if kind is not KernelDecayAdamW:
        optimizer.exclude_from_weight_decay([weights[-1]])
    optimizer = wrap(optimizer)
    optimizer.build(weights)
    after = []
    for step in gradients:
        apply_to(optimizer, step, weights)
        after.append([weight.numpy() for weight in weights])
    optimizer.finalize_variable_values(weights)
    return [*after, [weight.numpy() for weight in weights]]


SHAPES = ((5, 7), (3, 4, 2), (6,))


def random_gradients(rng):
    return [
        [keras.ops.convert_to_tensor(rng.normal(size=shape).astype("float32")) for shape in SHAPES]
        for _ in range(NUM_STEPS)
    ]


def assert_equal_steps(ours, expected):
    assert len(ours) == len(expected) == NUM_STEPS + 1
    for step, (weights, wanted) in enumerate(zip(ours, expected, strict=True)):
        for weight, value in zip(weights, wanted, strict=True):
            # The same formula; float32 over five steps of at most .3.
            np.testing.assert_allclose(weight, value, rtol=2e-5, atol=5e-6, err_msg=f"step {step}")


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_each_step_is_that_of_keras_adamw_under_any_setting(rng, settings):
    gradients = random_gradients(rng)
    ours = steps_of(KernelDecayAdamW, gradients, **settings)
    assert_equal_steps(ours, steps_of(keras.optimizers.AdamW, gradients, **settings))
    assert np.abs(ours[-1][0] - ours[0][0]).max() > 0.01


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}, {"amsgrad": True}])
def test_a_weight_without_a_gradient_stays_as_it_is(rng, settings):
    gradients = [[None, *step[1:]] for step in random_gradients(rng)]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        ours = steps_of(KernelDecayAdamW, gradients, **settings)
        expected = steps_of(keras.optimizers.AdamW, gradients, **settings)
    assert_equal_steps(ours, expected)
    np.testing.assert_array_equal(ours[-1][0], ours[0][0])
    assert np.abs(ours[-1][1] - ours[0][1]).max() > 0.01


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}, {"amsgrad": True}])
def test_under_a_loss_scale_each_step_is_that_of_keras_adamw(rng, settings):
    def wrap(optimizer):
        return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)

    gradients = random_gradients(rng)
    gradients[2][1] = gradients[2][1] * np.inf  # the step is left out, and the scale halved
    ours = steps_of(KernelDecayAdamW, gradients, wrap, **settings)
    assert_equal_steps(ours, steps_of(keras.optimizers.AdamW, gradients, wrap, **settings))
    for weight, before in zip(ours[2], ours[1], strict=True):
        np.testing.assert_array_equal(weight, before)


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}, {"amsgrad": True}])
def test_weights_of_which_none_decays_are_updated(settings):
    """As where the biases alone are trained."""
    weight = keras.Variable(np.ones(6, "float32"))
    optimizer = KernelDecayAdamW(0.1, weight_decay=0.2, **settings)
    for _ in range(2):
        optimizer.apply([keras.ops.ones(6)], [weight])
    num_updates = 2 // settings.get("gradient_accumulation_steps", 1)
    # Adam's step is the rate where all gradients are equal; float32.
    np.testing.assert_allclose(weight.numpy(), 1 - 0.1 * num_updates, rtol=1e-5)


@pytest.mark.parametrize("transposed", ["gradient", "weight"])
def test_what_lies_transposed_in_memory_is_updated_alike(rng, transposed):
    start, gradient = (rng.normal(size=(5, 7)).astype("float32") for _ in range(2))
    ends = []
    for lies_transposed in (True, False):
        tensors = [start, gradient]
        if lies_transposed:
            place = ("weight", "gradient").index(transposed)
            tensors[place] = tensors[place].T.copy().T
        weight = keras.Variable(keras.ops.convert_to_tensor(tensors[0]))
        optimizer = KernelDecayAdamW(0.1, weight_decay=0.2)
        optimizer.apply([keras.ops.convert_to_tensor(tensors[1])], [weight])
        ends.append(weight.numpy())
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5, atol=1e-6)  # float32


def test_a_gradient_of_half_precision_updates_a_weight_of_full(rng):
    weight = keras.Variable(rng.normal(size=(5, 7)).astype("float32"))
    before = weight.numpy()
    gradient = keras.ops.cast(keras.ops.full((5, 7), -2.0), "bfloat16")
    KernelDecayAdamW(0.1, weight_decay=0.2).apply([gradient], [weight])
    # Adam's first step is the rate; float32.
    np.testing.assert_allclose(weight.numpy(), 0.98 * before + 0.1, rtol=1e-5, atol=1e-6)


def test_compiled_steps_that_accumulate_are_those_of_keras_adamw(rng):
    start = rng.normal(size=(5, 7)).astype("float32")
    gradients = [rng.normal(size=start.shape).astype("float32") for _ in range(NUM_STEPS)]
    options = {"weight_decay": 0.2, "gradient_accumulation_steps": 2}
    weight, expected = keras.Variable(start), keras.Variable(start)
    ours = KernelDecayAdamW(0.1, **options)
    keras_own = keras.optimizers.AdamW(0.1, **options)
    ours.build([weight])
    for gradient in gradients:
        apply_compiled(ours, gradient, weight)
        keras_own.apply([keras.ops.convert_to_tensor(gradient)], [expected])
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert np.abs(expected.numpy() - start).max() > 0.1


@pytest.mark.one_backend
def test_fcmae_trains_with_accumulated_gradients(make_fcmae, rng):
    """Two batches of two, accumulated, are one of four."""
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    ends = []
    for steps, batch_size in ((2, 2), (None, 4)):
        fcmae = make_fcmae(encoder_path="dense")
        optimizer = KernelDecayAdamW(1e-2, weight_decay=0.2, gradient_accumulation_steps=steps)
        fcmae.compile(optimizer=optimizer)
        hidden = np.zeros((4, *fcmae.grid), "int32")
        hidden[:, 0, 1] = hidden[:, 1, :2] = 1
        data = {"images": images, "hidden": hidden}
        fcmae.fit(data, batch_size=batch_size, shuffle=False, verbose=0)
        assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 1
        ends.append(named_weights(fcmae))
    for name, value in ends[0].items():
        # A step of Adam's is the gradient's sign, which float32 blurs where the gradient is none.
        difference = np.abs(value - ends[1][name])
        assert np.median(difference) < 1e-5 and difference.max() <= 0.021, name


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
        apply_to(optimizer, [gradient], [weight], compiled_step(optimizer))


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

    @pytest.mark.parametrize("settings", [{}, {"amsgrad": True}, {"global_clipnorm": 0.5}])
    def test_its_steps_are_those_of_keras_adamw_on_mirrored_weights(rng, settings):
        import tensorflow as tf

        start, images = rng.normal(size=(5, 7)), rng.normal(size=(8, 5))
        ends = []
        for kind in (KernelDecayAdamW, keras.optimizers.AdamW):
            with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
                layer = keras.layers.Dense(7, bias_initializer="ones")
                model = keras.Sequential([keras.Input((5,)), layer])
                layer.kernel.assign(start)
                optimizer = kind(0.1, weight_decay=0.2, **settings)
                if kind is not KernelDecayAdamW:
                    optimizer.exclude_from_weight_decay(var_names=["bias"])
                model.compile(optimizer=optimizer, loss="mse")
            model.fit(images, np.zeros((8, 7)), batch_size=4, shuffle=False, verbose=0)
            ends.append([weight.numpy() for weight in layer.weights])
        assert np.abs(ends[0][0] - start).max() > 0.1
        for ours, expected in zip(*ends, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scales", [None, (1.0, 0.5)])
def test_a_weight_of_another_order_in_memory_is_decayed_once_as_the_others(scales):
    """Torch updates at once what stands in order; a kernel that begins orthogonal may not."""
    orthogonal = keras.initializers.Orthogonal(seed=0)((8, 4))
    weights = [keras.Variable(np.ones((3, 2), "float32")), keras.Variable(orthogonal)]
    before = [weight.numpy().copy() for weight in weights]
    optimizer = KernelDecayAdamW(0.1, weight_decay=0.5, rate_scales=scales)
    optimizer.apply([keras.ops.zeros(weight.shape) for weight in weights], weights)
    for weight, start, scale in zip(weights, before, scales or (1.0, 1.0), strict=True):
        np.testing.assert_allclose(weight.numpy(), start * (1 - 0.05 * scale), rtol=1e-6)


@pytest.mark.one_backend
def test_what_is_decayed_is_not_to_be_chosen():
    with pytest.raises(ValueError, match=r"decays all kernels.*keras.optimizers.AdamW"):
        KernelDecayAdamW(0.1).exclude_from_weight_decay(var_names=["kernel"])
