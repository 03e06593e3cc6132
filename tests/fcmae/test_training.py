import dataclasses
import functools

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers.regions import MaskedMap
from keras_convnextv2.training.optimizers import adamw
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import named_weights

HIDDEN = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]]], "int32")


def smooth_images(rng, count):
    """Images whose hidden patches can be told from the visible ones: plane waves."""
    rows, columns = np.mgrid[:16, :24].astype("float32")
    slopes = rng.normal(scale=0.3, size=(2, count, 1, 1, 3))
    phase = slopes[0] * rows[..., None] + slopes[1] * columns[..., None]
    return np.sin(phase + rng.uniform(0, 6, (count, 1, 1, 3))).astype("float32")


def fit(fcmae, images, epochs=2):
    """The losses of `epochs` epochs of 2 steps, in an order that Keras's seed fixes."""
    keras.utils.set_random_seed(5)
    fcmae.compile(optimizer=adamw(fcmae, 3e-3, 0.05, beta_2=0.95))
    return fcmae.fit(
        images, batch_size=len(images) // 2, epochs=epochs, shuffle=False, verbose=0
    ).history


@dataclasses.dataclass(frozen=True)
class Trained:
    """An FCMAE that was trained, its weights before, and what `fit` reported."""

    fcmae: kc.FCMAE
    before: dict
    history: dict


@pytest.fixture(scope="module")
def trained(make_fcmae):
    """FCMAEs of one start that were trained on the same images under dtype policies.

    To compile a step takes longer than all of its epochs: each is trained once for all tests.
    """

    @functools.cache
    def train(dtype):
        fcmae = make_fcmae(dtype=dtype)
        before = named_weights(fcmae)
        images = smooth_images(np.random.default_rng(0), 8)
        return Trained(fcmae, before, fit(fcmae, images, epochs=25))

    return train


def test_every_trainable_weight_gets_a_finite_gradient_that_is_not_zero(rng, make_fcmae):
    fcmae = make_fcmae(
        kc.Variant((1, 1, 2, 1), (4, 6, 8, 12)), decoder_depth=2, encoder_path="dense"
    )
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    gradients = gradients_of(
        lambda: fcmae.loss_on(images, HIDDEN, training=True), fcmae.trainable_weights
    )
    assert len(gradients) == 91  # 66 of the backbone, 10 a block of the decoder, 5 more
    for weight, gradient in zip(fcmae.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), weight.path
        assert np.abs(gradient).max() > 1e-7, weight.path


def test_training_lowers_the_loss_and_moves_every_weight(trained):
    run = trained("float32")
    losses = run.history["loss"]
    # A tenth is far beyond what masks, drawn anew each step, make the loss vary by.
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:2])
    for path, value in named_weights(run.fcmae).items():
        assert (value != run.before[path]).any(), path


@pytest.mark.slow
def test_equal_seeds_give_equal_runs_and_others_do_not(rng, make_fcmae):
    images = smooth_images(rng, 4)
    first, second, other = (
        fit(make_fcmae(seed=seed, drop_path_rate=0.5), images) for seed in (1, 1, 2)
    )
    assert first == second  # to the last bit
    assert first["loss"] != other["loss"]


@pytest.mark.slow
def test_masks_follow_the_steps_of_the_run(rng, make_fcmae):
    fcmae = make_fcmae(seed=4)
    images = smooth_images(rng, 4)
    fcmae.compile(optimizer=keras.optimizers.SGD(0.0))
    losses = fcmae.fit(images, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert int(fcmae.step.numpy()) == 3
    for step, loss in enumerate(losses):
        expected = compute(fcmae.loss_on, images, fcmae.draw_hidden(4, step=step))
        # The step is compiled, this is not: float32 sums in another order.
        assert abs(loss / expected - 1) < 1e-5


@pytest.mark.one_backend
def test_stochastic_depth_drops_in_training_and_only_there(rng, make_fcmae):
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    hidden = HIDDEN[[0, 0, 0, 0]]
    plain, dropping = make_fcmae(), make_fcmae(drop_path_rate=0.5)

    def results(fcmae, training):
        """Of all that is told whether it is training; in one program, since JAX compiles it."""
        region = MaskedMap(keras.ops.convert_to_tensor(hidden))
        return compute(
            lambda: {
                "encode": fcmae.encode(images, hidden, training=training),
                "encode of the backbone": fcmae.backbone.encode(images, region, training)[-1],
                "call": fcmae(images, hidden=hidden, training=training)["prediction"],
                "call under drawn masks": fcmae(images, training=training)["prediction"],
                "loss_on": fcmae.loss_on(images, hidden, training=training),
                "step": fcmae.step_loss(images),  # of `fit`: always training
            }
        )

    expected = results(plain, training=True)
    outside, inside = (results(dropping, training) for training in (False, True))
    assert abs(outside.pop("step") - expected["step"]) > 1e-2
    for name, result in outside.items():
        np.testing.assert_allclose(result, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
    for name, result in inside.items():
        assert np.abs(result - expected[name]).max() > 1e-2, name


@pytest.mark.one_backend
def test_the_reported_loss_is_the_mean_over_images_not_over_batches(rng, make_fcmae):
    fcmae = make_fcmae(normalize_targets=False, encoder_path="dense")
    fcmae.compile(optimizer=keras.optimizers.SGD(0.0))
    images, hidden = rng.normal(size=(3, 16, 24, 3)).astype("float32"), HIDDEN[[0, 1, 1]]
    images[2] *= 3
    data = {"images": images, "hidden": hidden}
    history = fcmae.fit(data, batch_size=2, shuffle=False, verbose=0).history
    losses = [float(fcmae.loss_on(images[part], hidden[part])) for part in ([0, 1], [2])]
    assert losses[1] > 2 * losses[0]
    assert history["loss"][0] == pytest.approx((2 * losses[0] + losses[1]) / 3, rel=1e-5)


def test_the_reported_gradient_norm_is_that_of_all_gradients(rng, make_fcmae):
    fcmae = make_fcmae(encoder_path="dense")
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    gradients = gradients_of(
        lambda: fcmae.loss_on(images, HIDDEN, training=True), fcmae.trainable_weights
    )
    expected = np.sqrt(sum((gradient.astype("float64") ** 2).sum() for gradient in gradients))
    fcmae.compile(optimizer=keras.optimizers.SGD(0.1))
    data = {"images": images, "hidden": HIDDEN}
    history = fcmae.fit(data, batch_size=2, verbose=0).history
    assert abs(history["gradient_norm"][0] / expected - 1) < 1e-4  # the project's for gradients


def test_the_reported_gradient_norm_leaves_out_steps_that_overflowed(rng, make_fcmae):
    images, num_steps, scale = rng.normal(size=(2, 16, 24, 3)).astype("float32"), 6, 2.0**19
    data = {"images": images, "hidden": HIDDEN}
    fcmae = make_fcmae(dtype="mixed_float16", encoder_path="dense")
    # A rate of 0: all steps have one gradient.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), initial_scale=scale)
    fcmae.compile(optimizer=optimizer)
    repeated = {name: np.concatenate([array] * num_steps) for name, array in data.items()}
    history = fcmae.fit(repeated, batch_size=2, epochs=2, shuffle=False, verbose=0).history
    # Each overflow halves the scale, until there are none: in the first epoch.
    num_overflows = np.log2(scale / float(optimizer.dynamic_scale.numpy()))
    assert 1 <= num_overflows < num_steps
    first, second = history["gradient_norm"]
    assert first == pytest.approx(second, rel=0.01)  # float16 has 11 bits


@pytest.mark.slow
def test_the_backbone_trained_inside_is_that_of_a_classifier_on_it(rng, make_fcmae):
    fcmae = make_fcmae()
    classifier = kc.ConvNeXtV2Classifier(fcmae.backbone, 3)
    images = smooth_images(rng, 4)
    before = compute(classifier.backbone, images)
    fit(fcmae, images, epochs=1)
    after = compute(fcmae.backbone, images)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(after, compute(classifier.get_layer(fcmae.backbone.name), images))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(trained, dtype):
    run = trained(dtype)
    history = run.history
    scales_loss = isinstance(run.fcmae.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales_loss == (dtype == "mixed_float16")
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["gradient_norm"]).all()
    assert history["loss"][-1] < history["loss"][0]
    # About 3; with float16's loss scale of 2^15 still in it, tens of thousands.
    assert 0 < max(history["gradient_norm"]) < 100
    for path, value in named_weights(run.fcmae).items():
        assert np.isfinite(value).all() and (value != run.before[path]).any(), path


@pytest.mark.slow
def test_the_losses_of_bfloat16_stay_near_those_of_float32(trained):
    losses = [trained(dtype).history["loss"] for dtype in ("float32", "mixed_bfloat16")]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[0][-1] < 0.9 * losses[0][0]  # there was something to learn


def test_the_default_optimizer_is_the_papers_and_decays_kernels_only(make_fcmae):
    fcmae = make_fcmae()
    fcmae.compile()
    decayed = {
        weight.name
        for weight in fcmae.trainable_variables
        if fcmae.optimizer._use_weight_decay(weight)
    }
    assert decayed == {"kernel"}
    assert fcmae.optimizer.weight_decay == pytest.approx(0.05)
    assert (fcmae.optimizer.beta_1, fcmae.optimizer.beta_2) == (0.9, 0.95)
    assert float(fcmae.optimizer.learning_rate) == pytest.approx(1.5e-4)
