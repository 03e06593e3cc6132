"""Masks from outside on the path that computes visible patches alone."""

import keras
import numpy as np
import pytest

from tests.reference.compute import compute

EVEN = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 1, 1], [1, 0, 1]]], "int32")  # 2 visible, as drawn
FEWER = np.array([[[1, 0, 1], [1, 1, 1]], [[1, 1, 1], [1, 0, 1]]], "int32")
UNEVEN = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]]], "int32")
IMAGES = np.random.default_rng(3).normal(size=(2, 16, 24, 3)).astype("float32")


@pytest.fixture
def pair(make_fcmae):
    """Two of the same weights, one for each path."""
    visible, dense = (make_fcmae(encoder_path=path) for path in ("visible", "dense"))
    for model in (visible, dense):
        model.compile(optimizer=keras.optimizers.SGD(0.1))
    return visible, dense


@pytest.mark.parametrize(
    "hidden",
    [
        FEWER,
        *(
            pytest.param(each, marks=pytest.mark.one_backend)
            for each in (EVEN, np.zeros_like(EVEN))
        ),
    ],
)
def test_known_masks_of_any_equal_number_give_what_the_dense_path_gives(pair, hidden):
    visible, dense = pair
    for one, other in zip(
        *(
            (
                compute(model.encode, IMAGES, hidden=hidden),
                compute(model.call, IMAGES, hidden=hidden)["prediction"],
                compute(model.loss_on, IMAGES, hidden=hidden),
                model.reconstruct(IMAGES, hidden)["pasted"],
            )
            for model in (visible, dense)
        ),
        strict=True,
    ):
        # float32 sums in another order.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("path", ["visible", "dense"])
def test_what_is_not_zero_is_hidden(make_fcmae, path):
    fcmae = make_fcmae(encoder_path=path)
    forms = EVEN, EVEN * 255, EVEN * np.float32(0.5), EVEN == 1, -EVEN
    expected, *losses = (compute(fcmae.loss_on, IMAGES, hidden=form) for form in forms)
    assert losses == [expected] * 4


def test_steps_with_given_masks_are_those_of_the_dense_path(pair):
    data = {"images": IMAGES, "hidden": EVEN}
    results = []
    for model in pair:
        losses = model.fit(data, batch_size=2, epochs=3, verbose=0).history["loss"]
        results.append((losses, model.evaluate(data, verbose=0, return_dict=True)["loss"]))
    # Rounding, grown over three steps.
    np.testing.assert_allclose(*(losses for losses, _ in results), rtol=1e-4)
    np.testing.assert_allclose(*(loss for _, loss in results), rtol=1e-4)


@pytest.mark.parametrize("hidden", [UNEVEN, np.ones_like(EVEN)])
def test_uneven_masks_are_refused_with_the_way_out(pair, hidden):
    counts = r"\[2, 5\]" if hidden is UNEVEN else r"\[0\]"
    for call in (pair[0].encode, pair[0].loss_on, pair[0].reconstruct, pair[0]):
        with pytest.raises(ValueError, match=f"leave {counts} visible.*encoder_path='dense'"):
            call(IMAGES, hidden=hidden)


def test_runs_take_masks_of_any_numbers_as_the_dense_path_does(pair):
    data = {"images": IMAGES, "hidden": UNEVEN}
    results = []
    for model in pair:
        losses = model.fit(data, batch_size=2, epochs=2, verbose=0).history["loss"]
        loss = model.evaluate(data, verbose=0, return_dict=True)["loss"]
        outputs = model.predict(data, verbose=0)
        np.testing.assert_array_equal(outputs["hidden"], UNEVEN)
        results.append([losses, loss, outputs["prediction"]])
    for one, other in zip(*results, strict=True):
        # Rounding of sums that threads share otherwise, grown over two steps.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_not_finite_is_not_blamed_on_masks_that_fit(pair):
    visible, _ = pair
    data = {"images": np.full_like(IMAGES, np.nan), "hidden": EVEN}
    assert np.isnan(visible.evaluate(data, verbose=0, return_dict=True)["loss"])
    assert np.isnan(visible.predict(data, verbose=0)["prediction"]).all()
    with pytest.raises(FloatingPointError, match="loss is nan"):
        visible.fit(data, verbose=0)


def test_the_dense_path_takes_any_masks(pair):
    _, dense = pair
    data = {"images": IMAGES, "hidden": UNEVEN}
    assert np.isfinite(dense.fit(data, verbose=0).history["loss"]).all()
    assert np.isfinite(dense.predict(data, verbose=0)["prediction"]).all()
