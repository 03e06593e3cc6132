import time

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.runs import checkpoint_folder
from recipes.projection import clock_time, num_checkpoints, project
from recipes.run_settings import Settings

# What it calls of a backend, `fit`, `save` and `evaluate`, is tested elsewhere.
pytestmark = pytest.mark.one_backend


class Batches(keras.utils.PyDataset):
    """Five batches, of which each takes a while to read; counts those that are read."""

    def __init__(self, rng, labelled=False, seconds=0.0):
        super().__init__()
        self.images = rng.normal(size=(20, 16, 24, 3)).astype("float32")
        self.labelled, self.seconds, self.num_read = labelled, seconds, 0

    def __len__(self):
        return 5

    def __getitem__(self, index):
        self.num_read += 1
        time.sleep(self.seconds)
        images = self.images[4 * index : 4 * index + 4]
        return (images, np.arange(4) % 2) if self.labelled else (images,)


@pytest.mark.parametrize(("every", "count"), [(0, 2), (5, 8), (31, 2)])
def test_checkpoints_of_each_so_many_epochs_take_room_too(every, count):
    assert num_checkpoints(Settings({"keep_checkpoints": 2, "keep_every": every}), 30) == count


def test_what_a_pretraining_takes(make_fcmae, rng):
    fcmae = make_fcmae()
    fcmae.compile()
    batches = Batches(rng, seconds=0.2)
    found = project(fcmae, batches, epochs=7)
    assert found["projected_steps"] == 35
    assert found["seconds_per_step"] > 0.2  # reading counts
    assert found["images_per_second"] == pytest.approx(4 / found["seconds_per_step"])
    expected = (
        found["first_step_seconds"] + 35 * found["seconds_per_step"] + 7 * found["save_seconds"]
    )
    assert found["projected_seconds"] == pytest.approx(expected)
    assert found["disk_bytes"] == 4 * found["checkpoint_bytes"] > 4 * 4 * fcmae.count_params()
    assert found["peak_memory_bytes"] > 50e6  # Python with a backend
    assert np.isfinite(found["loss"])
    # The steps are real ones, as few as are needed: 1 + 1 + 3, and looks at the first batch.
    assert int(keras.ops.convert_to_numpy(fcmae.optimizer.iterations)) == 5
    assert batches.num_read <= 5 + 6  # TensorFlow looks most often


def test_evaluation_is_counted_as_often_as_it_runs(rng):
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(sizes, (16, 24, 3), stem_stride=1)
    classifier = kc.ConvNeXtV2Classifier(backbone, 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile("adam", loss=loss, metrics=["accuracy"])
    train = Batches(rng, labelled=True)
    found = project(classifier, train, 2, Batches(rng, labelled=True, seconds=0.3), 3)
    assert found["loss"] == pytest.approx(np.log(2), abs=0.1)  # a head of std .00002
    assert found["evaluation_seconds"] > 5 * 0.3  # of all five batches, by one
    without = found["projected_seconds"] - 3 * found["evaluation_seconds"]
    steps = found["first_step_seconds"] + 10 * found["seconds_per_step"]
    assert without == pytest.approx(steps + 2 * found["save_seconds"])


def test_a_checkpoint_that_is_not_what_was_saved_is_said(make_fcmae, rng, monkeypatch):
    fcmae = make_fcmae()
    fcmae.compile()
    write = checkpoint_folder.write

    def write_with_a_change(path, snapshot):
        snapshot.weights["stem/conv/bias"] += 1e-3
        write(path, snapshot)
        snapshot.weights["stem/conv/bias"] -= 1e-3

    monkeypatch.setattr(checkpoint_folder, "write", write_with_a_change)
    with pytest.raises(ValueError, match="stem/conv/bias was restored with other values"):
        project(fcmae, Batches(rng), epochs=1)


def test_a_loss_that_is_not_finite_is_said(make_fcmae, rng):
    fcmae = make_fcmae()
    fcmae.compile()
    batches = Batches(rng)
    batches.images[:] = np.nan
    with pytest.raises(FloatingPointError, match="loss is nan"):
        project(fcmae, batches, epochs=1)


def test_times_are_shown_as_a_clock_does():
    assert [clock_time(seconds) for seconds in (0.4, 59.6, 3725, 100 * 3600)] == [
        "0:00:00",
        "0:01:00",
        "1:02:05",
        "100:00:00",
    ]
