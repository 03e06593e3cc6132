"""What `fit` of the current backend makes of ImageBatches."""

import keras
import numpy as np
import pytest

from keras_convnextv2.data import ImageBatches, ImageSourceError, SetEpoch, open_source


class LoggedBatches(ImageBatches):
    """Keeps (epoch, index) of every batch asked for."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.asked = []

    def __getitem__(self, index):
        self.asked.append((self.epoch, index))
        return super().__getitem__(index)


def make_model():
    """Logits of 2 classes from 5x7 images with 2 channels."""
    model = keras.Sequential(
        [keras.layers.Input((5, 7, 2)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss, metrics=["accuracy"])
    return model


class ImageEnergy(keras.layers.Layer):
    """(B, C) means of the pixels; the sum of all squared pixels of a batch is the loss."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        self.add_loss(keras.ops.sum(keras.ops.square(self.scale * x)))
        return keras.ops.mean(x, axis=(1, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_fit_draws_each_epoch_in_its_own_order(tmp_path, write_npz, workers):
    write_npz(tmp_path, "train", count=23)
    source = open_source(tmp_path, "train")
    batches = LoggedBatches(source, (5, 7), 4, labelled=True, shuffle=True, workers=workers)
    model = make_model()
    history = model.fit(
        batches,
        epochs=5,
        initial_epoch=3,
        shuffle=False,
        verbose=0,
        callbacks=[SetEpoch(batches)],
        validation_data=ImageBatches(source, (5, 7), 4, labelled=True, workers=workers),
    )
    assert len(history.history["loss"]) == len(history.history["val_accuracy"]) == 2
    # Before, Keras draws some batches to learn their shapes.
    assert batches.asked[-12:] == [(epoch, index) for epoch in (3, 4) for index in range(6)]
    assert model.evaluate(batches, verbose=0, return_dict=True)["loss"] > 0
    images_alone = ImageBatches(source, (5, 7), 4, labelled=False, workers=workers)
    assert model.predict(images_alone, verbose=0).shape == (23, 2)


@pytest.mark.parametrize("labelled", [False, True])
def test_fit_sees_every_image_once_an_epoch_with_readers_ahead(tmp_path, write_npz, labelled):
    write_npz(tmp_path, "train", count=24)
    source = open_source(tmp_path, "train")
    batches = ImageBatches(source, (5, 7), 2, labelled=labelled, shuffle=True, workers=2)
    model = keras.Sequential([keras.layers.Input((5, 7, 2)), ImageEnergy()])
    # With metrics, Keras draws a batch before the first epoch to build them.
    metrics = ["accuracy"] if labelled else None
    model.compile(optimizer=keras.optimizers.SGD(0.0), metrics=metrics)
    history = model.fit(batches, epochs=2, shuffle=False, verbose=0)
    total = sum(float(np.sum(np.square(batch[0], dtype="float64"))) for batch in batches)
    # Sums of 140 values a batch and means of 12 batches, in float32.
    np.testing.assert_allclose(history.history["loss"], [total / 12] * 2, rtol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_cause_of_a_failed_fit_is_kept(tmp_path, write_image, workers):
    for number in range(12):
        write_image(tmp_path / "train" / "cat" / f"{number:02}.png", seed=number)
    (tmp_path / "train" / "cat" / "09.png").write_bytes(b"broken")
    source = open_source(tmp_path, "train")
    batches = ImageBatches(source, (5, 7), 2, labelled=True, workers=workers)
    model = keras.Sequential(
        [keras.layers.Input((5, 7, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    # TensorFlow raises an error of its own, with the cause in its text.
    with pytest.raises(Exception, match=r"09\.png cannot be read as an image"):
        model.fit(batches, verbose=0, shuffle=False)
    assert isinstance(batches.error, ImageSourceError)
    assert "09.png cannot be read as an image" in str(batches.error)
