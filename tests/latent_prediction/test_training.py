import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.latent_prediction.loss import (
    deviation_over_images,
    hidden_cell_loss,
    on_unit_sphere,
)
from keras_convnextv2.training.optimizers import adamw
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import randomize


def values_of(model):
    return [np.array(keras.ops.convert_to_numpy(w.value), copy=True) for w in model.weights]


def test_the_teacher_is_the_moving_average_of_the_student(make_latent, images):
    """After each update, of the gradients of two batches, and not between updates."""
    latent = make_latent(momentum=0.5, num_updates=4)
    latent.compile(adamw(latent, 0.1, 0.0, accumulation_steps=2))
    student, teacher = latent.backbone, latent.teacher
    randomize(student, np.random.default_rng(5))  # after the model was made: `fit` copies
    begun = expected = values_of(student)
    # 1 - (1 - .5) * (1 + cos(pi * k / 4)) / 2 for the updates k = 0, 1, 2
    for momentum in (0.5, 1 - 0.25 * (1 + np.sqrt(0.5)), 0.75):
        for is_update in (False, True):
            history = latent.fit(images, batch_size=6, verbose=0).history
            if is_update:
                expected = [
                    momentum * average + (1 - momentum) * weight
                    for average, weight in zip(expected, values_of(student), strict=True)
                ]
            for value, average in zip(values_of(teacher), expected, strict=True):
                np.testing.assert_allclose(value, average, rtol=1e-5, atol=1e-6)  # float32
    assert np.isfinite(list(history.values())).all()
    assert set(history) == {"loss", "teacher_deviation", "gradient_norm"}
    assert int(latent.step.numpy()) == 6
    for weight, value, first in zip(student.weights, values_of(student), begun, strict=True):
        assert np.any(value != first), weight.path  # all of the student learns


def test_gradients_by_visible_patches_are_those_of_the_dense_path_and_none_reach_the_teacher(
    images, rng
):
    sizes = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(sizes, (16, 24, 3), stem_stride=1)
    visible, dense = (
        kc.LatentPrediction(backbone, encoder_path=path) for path in ("visible", "dense")
    )
    randomize(visible, rng)
    dense.set_weights(visible.get_weights())
    trained, gradients = [], []
    for latent in (visible, dense):
        trained.append(latent.trainable_weights)
        latent.teacher.trainable = True  # so that the loss alone stops gradients
        weights = [*trained[-1], *latent.teacher.weights]
        gradients.append(
            gradients_of(lambda model=latent: model.loss_and_outputs((images,))[0], weights)
        )
    num_trained = len(trained[0])
    assert num_trained == len(backbone.weights) + len(visible.predictor.weights)
    for weight, one, other in zip(trained[0], *gradients, strict=False):
        assert np.linalg.norm(other) > 0, weight.path
        # float32; the sums run over the same numbers in another order.
        assert np.linalg.norm(one - other) <= 1e-4 * np.linalg.norm(other), weight.path
    for gradient in gradients[0][num_trained:]:
        assert gradient is None or not gradient.any()


@pytest.mark.one_backend
def test_the_teacher_is_never_trained(make_latent):
    latent = make_latent()
    latent.trainable = False
    latent.trainable = True  # Keras gives it to all layers
    teachers = {id(weight) for weight in latent.teacher.weights}
    assert not teachers & {id(weight) for weight in latent.trainable_weights}
    assert latent.backbone.trainable and latent.predictor.trainable


@pytest.mark.one_backend
def test_stochastic_depth_drops_in_the_student_s_training_alone(make_latent, images):
    latent = make_latent()
    randomize(latent, np.random.default_rng(2))

    def predictions():
        hidden = latent.draw_hidden(6)
        step, _ = latent.loss_and_outputs((images,))
        outside, inside = (latent(images, hidden, training=t) for t in (False, True))
        loss = hidden_cell_loss(outside["prediction"], outside["target"], hidden)
        return outside, inside, {"step": step, "loss": loss}

    outside, inside, losses = compute(predictions)
    assert np.abs(inside["prediction"] - outside["prediction"]).max() > 1e-2
    np.testing.assert_array_equal(inside["target"], outside["target"])  # of the teacher
    assert abs(losses["step"] / losses["loss"] - 1) > 1e-3


@pytest.mark.one_backend
def test_what_is_reported_is_the_mean_over_images_not_over_batches(make_latent, images):
    latent = make_latent()
    latent.compile(optimizer=keras.optimizers.SGD(0.0))
    data = np.concatenate([images[:5], 3 * images[5:]])
    logs = latent.evaluate(data, batch_size=4, verbose=0, return_dict=True)
    trained = latent.fit(data, batch_size=4, shuffle=False, verbose=0).history
    teacher = compute(lambda: latent.teacher.encode(data)[-1])
    parts = [on_unit_sphere(teacher[part]) for part in (slice(4), slice(4, 6))]
    first, second = (float(deviation_over_images(part)) for part in parts)
    assert abs(first / second - 1) > 0.1
    expected = pytest.approx((4 * first + 2 * second) / 6, rel=1e-4)  # float32
    assert logs["teacher_deviation"] == expected
    assert trained["teacher_deviation"] == [expected]
    whole = latent.evaluate(data, batch_size=6, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(whole["loss"], rel=1e-5)


def test_evaluate_repeats_whatever_the_batch_size_and_takes_masks(make_latent, images):
    latent = make_latent()
    latent.compile()
    figures = latent.evaluate(images, batch_size=3, verbose=0, return_dict=True)
    assert set(figures) == {"loss", "teacher_deviation"} and 0 < figures["teacher_deviation"] < 1
    given = {"images": images, "hidden": compute(lambda: latent.draw_fixed(6))}
    again = latent.evaluate(given, batch_size=6, verbose=0, return_dict=True)
    np.testing.assert_allclose(again["loss"], figures["loss"], rtol=1e-5)  # another order of sums


@pytest.mark.parametrize(
    "options, text",
    [
        ({"momentum": 1.5}, r"`momentum` must be in \[0, 1\]. Received: 1.5"),
        ({"num_updates": 0}, "`num_updates` must be a positive int. Received: 0"),
        ({"predictor_depth": 0}, "predictor's depth must be a positive int. Received: 0"),
        ({"mask_ratio": 0.95}, "leaves 0 of 6 patches visible"),
        ({"dtype": "bfloat16"}, "dtype='mixed_bfloat16'. Received weights in bfloat16"),
    ],
)
@pytest.mark.one_backend
def test_a_bad_argument_is_refused(make_latent, options, text):
    with pytest.raises(ValueError, match=text):
        make_latent(**options)


@pytest.mark.one_backend
def test_another_loss_is_refused(make_latent):
    with pytest.raises(ValueError, match="LatentPrediction brings its own loss.*loss='mse'"):
        make_latent().compile(loss="mse")
