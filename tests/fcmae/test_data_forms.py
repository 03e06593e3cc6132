"""Whatever form the images come in, `fit`, `evaluate` and `predict` see the same images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.reference.compute import compute

IMAGES = np.random.default_rng(0).normal(size=(6, 16, 24, 3)).astype("float32")
LABELS = np.arange(6)
MASKS = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 1, 1], [1, 0, 1]]] * 3, "int32")
BATCH_SIZE = 2


class Batches(keras.utils.PyDataset):
    """(images, labels), or images alone."""

    def __init__(self, labelled):
        super().__init__()
        self.labelled = labelled

    def __len__(self):
        return len(IMAGES) // BATCH_SIZE

    def __getitem__(self, index):
        taken = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
        return (IMAGES[taken], LABELS[taken]) if self.labelled else (IMAGES[taken],)


def generator(*arrays):
    """Endless batches, as Keras expects of a generator with a number of steps."""
    while True:
        for start in range(0, len(IMAGES), BATCH_SIZE):
            yield tuple(array[start : start + BATCH_SIZE] for array in arrays)


def tf_data(*arrays):
    arrays = arrays if len(arrays) > 1 else arrays[0]
    return tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH_SIZE, drop_remainder=True)


# Each form: the arguments of fit and evaluate, and the number of steps where they need it.
FORMS = {
    "arrays": lambda: ({"x": IMAGES, "batch_size": BATCH_SIZE}, None),
    "arrays and labels": lambda: ({"x": IMAGES, "y": LABELS, "batch_size": BATCH_SIZE}, None),
    "tf.data": lambda: ({"x": tf_data(IMAGES)}, None),
    "tf.data with labels": lambda: ({"x": tf_data(IMAGES, LABELS)}, None),
    "PyDataset": lambda: ({"x": Batches(labelled=False)}, None),
    "PyDataset with labels": lambda: ({"x": Batches(labelled=True)}, None),
    "generator": lambda: ({"x": generator(IMAGES)}, 3),
    "generator with labels": lambda: ({"x": generator(IMAGES, LABELS)}, 3),
}
FORMS_WITH_MASKS = {
    "dict of arrays": lambda: (
        {"x": {"images": IMAGES, "hidden": MASKS}, "batch_size": BATCH_SIZE},
        None,
    ),
    "tf.data of dicts": lambda: ({"x": tf_data({"images": IMAGES, "hidden": MASKS})}, None),
}


# What Keras makes batches of is the same on each backend.
EACH_FORM = [
    pytest.param(form, marks=pytest.mark.one_backend if form.endswith("with labels") else ())
    for form in FORMS
]


@pytest.fixture(scope="module")
def fcmae(make_fcmae):
    """One model, so that its steps compile once; a rate of 0 keeps its weights."""
    model = make_fcmae()
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    return model


@pytest.fixture(scope="module")
def expected_loss(fcmae):
    return fcmae.evaluate(IMAGES, batch_size=BATCH_SIZE, verbose=0, return_dict=True)["loss"]


@pytest.fixture(scope="module")
def expected_prediction(fcmae):
    return fcmae.predict(IMAGES, batch_size=BATCH_SIZE, verbose=0)


@pytest.mark.parametrize("form", [*EACH_FORM, *FORMS_WITH_MASKS])
def test_fit_reports_loss_and_gradient_norm(fcmae, form):
    arguments, steps = {**FORMS, **FORMS_WITH_MASKS}[form]()
    before = int(fcmae.step.numpy())
    history = fcmae.fit(**arguments, steps_per_epoch=steps, epochs=2, verbose=0).history
    assert set(history) == {"loss", "gradient_norm"}
    assert np.isfinite([*history["loss"], *history["gradient_norm"]]).all()
    assert min(history["gradient_norm"]) > 0
    assert int(fcmae.step.numpy()) == before + 6


@pytest.mark.parametrize("form", EACH_FORM)
def test_evaluate_gives_the_same_loss(fcmae, expected_loss, form):
    arguments, steps = FORMS[form]()
    logs = fcmae.evaluate(**arguments, steps=steps, verbose=0, return_dict=True)
    assert logs == {"loss": expected_loss}  # the same program on the same numbers


@pytest.mark.parametrize("form", EACH_FORM)
def test_predict_gives_the_same_predictions(fcmae, expected_prediction, form):
    arguments, steps = FORMS[form]()
    arguments.pop("y", None)
    outputs = fcmae.predict(**arguments, steps=steps, verbose=0)
    assert outputs["prediction"].shape == (6, 2, 3, 192)
    assert outputs["hidden"].shape == (6, 2, 3)
    for name, output in outputs.items():
        np.testing.assert_array_equal(output, expected_prediction[name])


@pytest.mark.parametrize("form", FORMS_WITH_MASKS)
def test_masks_from_outside_are_used(fcmae, form):
    arguments, _ = FORMS_WITH_MASKS[form]()
    outputs = fcmae.predict(**arguments, verbose=0)
    np.testing.assert_array_equal(outputs["hidden"], MASKS)
    loss = fcmae.evaluate(**arguments, verbose=0, return_dict=True)["loss"]
    expected = np.mean(
        [compute(fcmae.loss_on, IMAGES[i : i + 2], MASKS[i : i + 2]) for i in (0, 2, 4)]
    )
    assert abs(loss / expected - 1) < 1e-5  # compiled or not: float32 sums in another order


def test_fit_evaluates_on_validation_data(fcmae, expected_loss):
    history = fcmae.fit(
        IMAGES, batch_size=BATCH_SIZE, validation_data=(IMAGES, LABELS), verbose=0
    ).history
    assert set(history) == {"loss", "gradient_norm", "val_loss"}
    assert history["val_loss"] == [expected_loss]
