import keras
import numpy as np
import pytest

from keras_convnextv2.training.checkpoints import save_model


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
