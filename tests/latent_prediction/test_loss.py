import keras
import numpy as np

from keras_convnextv2.latent_prediction.loss import (
    deviation_over_images,
    hidden_cell_loss,
    on_unit_sphere,
)
from keras_convnextv2.layers.regions import MaskedMap
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import randomize


def numpy_loss(prediction, target, hidden):
    """Cell by cell and channel by channel."""
    costs = []
    for place in zip(*np.nonzero(hidden), strict=True):
        cost = 0.0
        for p, t in zip(prediction[place], target[place], strict=True):
            d = abs(float(p) - float(t))
            cost += d * d / 2 if d < 1 else d - 0.5
        costs.append(cost)
    return np.mean(costs)


def numpy_predictor(weights, x):
    """`weights` are those of the predictor by the last two parts of their path, in float64."""
    for index in range(3):
        if index:
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            x = (x - mean) / np.sqrt(variance + 1e-6)
            x = x * weights[f"norm{index - 1}/gamma"] + weights[f"norm{index - 1}/beta"]
            x = np.maximum(x, 0)
        kernel, padded = (
            weights[f"depthwise{index}/kernel"],
            np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]),
        )
        _, height, width, _ = x.shape
        x = weights[f"depthwise{index}/bias"] + sum(
            padded[:, i : i + height, j : j + width] * kernel[i, j, :, 0]
            for i in range(3)
            for j in range(3)
        )
        x = x @ weights[f"linear{index}/kernel"] + weights[f"linear{index}/bias"]
    return x


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def loss_and_deviation(latent, images, hidden):
    """By visible patches alone, without stochastic depth."""
    prediction, target = latent._predict(images, latent.region_for(hidden), training=False)
    return hidden_cell_loss(prediction, target, hidden), deviation_over_images(target)


def test_loss_and_deviation_of_a_step_are_those_of_numpy(make_latent, images, rng):
    latent = make_latent(mask_ratio=0.5)
    randomize(latent, rng)
    for weight in latent.teacher.weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    hidden = compute(lambda: latent.draw_hidden(6))
    region = MaskedMap(hidden)
    # The student by the dense path here, by visible patches alone in the model.
    student, teacher, outputs, (loss, deviation) = compute(
        lambda x: (
            latent.backbone.encode(x, region)[-1],
            latent.teacher.encode(x)[-1],
            latent(x, hidden),
            loss_and_deviation(latent, x, hidden),
        ),
        images,
    )
    weights = {
        "/".join(w.path.split("/")[-2:]): np.float64(keras.ops.convert_to_numpy(w))
        for w in latent.predictor.weights
    }
    token = weights["predictor/mask_token"]
    features = np.where(hidden[..., None] == 1, token, student.astype("float64"))
    prediction = unit(numpy_predictor(weights, features))
    target = unit(teacher.astype("float64"))
    # float32 through two networks; the values are of the order of .3.
    np.testing.assert_allclose(outputs["prediction"], prediction, rtol=0, atol=2e-5)
    np.testing.assert_allclose(outputs["target"], target, rtol=0, atol=2e-5)
    np.testing.assert_allclose(loss, numpy_loss(prediction, target, hidden), rtol=1e-4)
    expected = np.sqrt(12) * target.std(axis=0).mean()
    np.testing.assert_allclose(deviation, expected, rtol=1e-4)


def test_far_vectors_are_paid_for_linearly_and_visible_ones_not(rng):
    prediction, target = rng.normal(size=(2, 3, 2, 4, 5)).astype("float32") * 2
    hidden = rng.integers(0, 2, (3, 2, 4))
    expected = numpy_loss(prediction, target, hidden)
    prediction[hidden == 0] = np.nan
    loss = compute(hidden_cell_loss, prediction, target, hidden)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)  # float32


def test_collapsed_features_show_even_where_each_place_has_its_own(rng):
    of_places = on_unit_sphere(np.tile(rng.normal(size=(1, 2, 3, 8)), (4, 1, 1, 1)))
    assert abs(float(deviation_over_images(of_places))) < 1e-6  # rounding alone
    many = on_unit_sphere(rng.normal(size=(4000, 1, 2, 8)))
    # All directions alike: 1, but for the spread of a deviation of 4000 draws, about 1 %.
    assert abs(float(deviation_over_images(many)) - 1) < 0.02


def test_a_vector_of_zeros_stays_and_has_a_finite_gradient():
    variable = keras.Variable(np.zeros((1, 3), "float32"))
    (gradient,) = gradients_of(lambda: keras.ops.sum(on_unit_sphere(variable)), [variable])
    np.testing.assert_array_equal(compute(on_unit_sphere, np.zeros((1, 3), "float32")), 0)
    assert np.isfinite(gradient).all()
