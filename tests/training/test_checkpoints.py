import keras
import numpy as np
import pytest

from keras_convnextv2.training.checkpoints import SaveEachEpoch, save_model


class FailsWhileSaving(keras.Sequential):
    """Writes part of a file, then fails, from the time that `fails` is set."""

    fails = False

    def save(self, path, **options):
        if self.fails:
            path.write_bytes(b"half a file")
            raise OSError("no space left on device")
        super().save(path, **options)


def make_model(kind=keras.Sequential):
    model = kind([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    return model


def test_save_model_replaces_the_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"an older one")
    model = make_model()
    save_model(model, path)
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(
        keras.saving.load_model(path).get_weights()[0], model.get_weights()[0]
    )


def test_a_save_that_fails_midway_leaves_the_file_before(tmp_path):
    model = make_model(FailsWhileSaving)
    path = tmp_path / "model.keras"
    path.write_bytes(b"the file before")
    model.fails = True
    with pytest.raises(OSError, match="no space left"):
        save_model(model, path)
    assert path.read_bytes() == b"the file before"


def test_save_each_epoch_makes_its_folder_and_keeps_the_last_epoch_and_the_optimizer(tmp_path, rng):
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    model = make_model()
    path = tmp_path / "new" / "folder" / "last.keras"
    model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[SaveEachEpoch(path)])
    loaded = keras.saving.load_model(path)
    assert int(loaded.optimizer.iterations.numpy()) == 6
    for saved, weight in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, weight)


def test_save_each_epoch_leaves_the_epoch_before_when_saving_fails(tmp_path, rng):
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    model = make_model(FailsWhileSaving)
    path = tmp_path / "last.keras"
    saver = SaveEachEpoch(path)
    model.fit(x, y, epochs=1, verbose=0, callbacks=[saver])
    before = path.read_bytes()
    model.fails = True
    with pytest.raises(OSError, match="no space left"):
        model.fit(x, y, epochs=1, verbose=0, callbacks=[saver])
    assert path.read_bytes() == before
