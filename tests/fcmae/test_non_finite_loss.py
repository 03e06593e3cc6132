import keras
import numpy as np
import pytest

from tests.reference.save_each_epoch import SaveEachEpoch

IMAGES = np.random.default_rng(2).normal(size=(2, 16, 24, 3)).astype("float32")


def batches(num_good):
    """`num_good` batches, then NaN."""
    for _ in range(num_good):
        yield (IMAGES,)
    while True:
        yield (np.full_like(IMAGES, np.nan),)


def test_a_loss_that_is_not_finite_stops_fit_and_leaves_what_was_saved(tmp_path, make_fcmae):
    fcmae = make_fcmae()
    fcmae.compile(optimizer=keras.optimizers.AdamW(1e-3))
    path = tmp_path / "checkpoints" / "last.keras"
    saved = []

    class ReadSaved(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            saved.append(path.read_bytes())

    with pytest.raises(FloatingPointError) as error:
        fcmae.fit(
            batches(num_good=5),
            steps_per_epoch=2,
            epochs=4,
            verbose=0,
            callbacks=[SaveEachEpoch(path), ReadSaved()],
        )
    text = str(error.value)
    assert "The loss is nan at step 6, with learning rate 0.001." in text
    assert "Try a lower learning rate" in text and "look for NaN in the images" in text
    assert len(saved) == 2
    assert path.read_bytes() == saved[-1]
    assert [file.name for file in path.parent.iterdir()] == ["last.keras"]
    loaded = keras.saving.load_model(path)
    assert all(np.isfinite(weight.numpy()).all() for weight in loaded.trainable_weights)
    assert int(loaded.step.numpy()) == 4
