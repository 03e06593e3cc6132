"""Trainings that are refused, that fail or are stopped, and what is left of them."""

import shutil
import time

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.runs import CheckpointError, checkpoint_folder
from keras_convnextv2.training.optimizers import adamw
from tests.reference.faulty_disk import ERRORS, FaultyDisk
from tests.runs.small_training import IMAGES, LABELS, SIZES, fit, make_classifier, names_in

pytestmark = pytest.mark.one_backend


def test_another_run_is_refused_with_what_differs(folder, capfd):
    with pytest.raises(CheckpointError, match=r"optimizer.learning_rate was 0.1\d*, is 0.2"):
        fit(make_classifier(rate=0.2), kc.training.Checkpoints(folder), epochs=4)
    with pytest.raises(
        CheckpointError, match="model.config.backbone.config.drop_path_rate was 0.0"
    ):
        fit(make_classifier(drop_path_rate=0.5), kc.training.Checkpoints(folder), epochs=4)
    allowed = kc.training.Checkpoints(folder, allow_changes=True)
    assert fit(make_classifier(drop_path_rate=0.5), allowed, epochs=4).epoch == [3]
    assert "with epoch 4; counters of draws of other settings" in capfd.readouterr().err


def test_a_model_of_other_sizes_is_refused_even_so(folder):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 16, 3), stem_stride=1)
    other = kc.ConvNeXtV2Classifier(backbone, 5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    other.compile(adamw(other, 0.1, 0.05), loss)
    before = [np.array(weight) for weight in other.get_weights()]
    with pytest.raises(CheckpointError, match=r"float32 \[8, 2\] for head/kernel, .* \[8, 5\]"):
        fit(other, kc.training.Checkpoints(folder, allow_changes=True), epochs=4)
    for one, weight in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, weight)


def test_what_a_callback_keeps_comes_back(tmp_path):
    class Counts(keras.callbacks.Callback):
        num_epochs = 0

        def on_epoch_end(self, epoch, logs=None):
            self.num_epochs += 1

        def get_state(self):
            return {"num_epochs": self.num_epochs}

        def set_state(self, state):
            self.num_epochs = state["num_epochs"]

    fit(make_classifier(), Counts(), kc.training.Checkpoints(tmp_path), epochs=2)
    counts = Counts()
    fit(make_classifier(), counts, kc.training.Checkpoints(tmp_path), epochs=3)
    assert counts.num_epochs == 3


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                weight = self.model.trainable_weights[0]
                weight.assign(np.full(weight.shape, np.nan))

    with pytest.raises(FloatingPointError, match="The loss is nan after 4 batches"):
        fit(make_classifier(), Spoil(), kc.training.Checkpoints(tmp_path), epochs=3)
    assert names_in(tmp_path) == ["step-00000002"]


def test_a_disk_that_fails_ends_the_training_and_keeps_what_was_saved(folder, monkeypatch):
    model = make_classifier()
    with FaultyDisk().in_use(monkeypatch) as disk:
        fit(model, kc.training.Checkpoints(folder, keep=9), epochs=4)
    shutil.rmtree(folder / "step-00000008")
    last = len(disk.operations) - 1
    for place in sorted({*np.linspace(0, last, 8).astype(int), *range(last - 4, last + 1)}):
        number = ERRORS[place % len(ERRORS)]
        faulty = FaultyDisk(place, number)
        with faulty.in_use(monkeypatch), pytest.raises(OSError) as caught:
            fit(make_classifier(), kc.training.Checkpoints(folder, keep=9), epochs=4)
        assert caught.value.errno == number, disk.operations[place]
        whole = [path.name for _, path in checkpoint_folder.checkpoints_in(folder)]
        for name in whole:
            checkpoint_folder.open_checkpoint(folder / name)
        assert whole[-3:] == ["step-00000006", "step-00000004", "step-00000002"]
        shutil.rmtree(folder / "step-00000008", ignore_errors=True)


def test_what_a_killed_program_left_is_removed(folder):
    (folder / "unfinished.123.step-00000008").mkdir()
    (folder / "unfinished.notes").mkdir()
    fit(make_classifier(), kc.training.Checkpoints(folder, keep=9), epochs=3)
    assert names_in(folder)[-1] == "unfinished.notes"
    assert "unfinished.123.step-00000008" not in names_in(folder)


def test_another_librarys_fit_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Checkpoints are of the `fit` of this library's models"):
        model.fit(np.ones((2, 3)), np.ones(2), verbose=0, callbacks=[kc.training.Checkpoints("x")])


@pytest.mark.parametrize(
    "options",
    [{"every": 0}, {"keep": None}, {"keep_every": 1.5}, {"mode": "best"}, {"monitor": "loss"}],
)
def test_bad_arguments_are_refused(options):
    with pytest.raises(ValueError, match="Received: "):
        kc.training.Checkpoints("run", **options)


def test_a_training_may_begin_later_than_with_the_first_epoch(tmp_path):
    options = {"batch_size": 3, "verbose": 0, "initial_epoch": 2, "epochs": 4}
    saving = kc.training.Checkpoints(tmp_path, keep=9, first_step=4)
    history = make_classifier().fit(IMAGES, LABELS, callbacks=[saving], **options)
    assert history.epoch == [2, 3]
    assert names_in(tmp_path) == ["step-00000006", "step-00000008"]


def test_a_rate_that_is_changed_is_the_one_that_is_trained_with(folder):
    model = make_classifier(rate=0.2)
    fit(model, kc.training.Checkpoints(folder, allow_changes=True), epochs=4)
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(0.2)


def test_weights_that_are_not_finite_end_the_training_and_are_not_saved(tmp_path):
    class Spoil(keras.callbacks.Callback):
        num_batches = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.num_batches += 1
            if self.num_batches == 6:  # the last of an epoch: its loss is of the weights before
                self.model.optimizer.learning_rate = float("inf")

    with pytest.raises(FloatingPointError, match="not finite, and is not saved"):
        fit(make_classifier(), Spoil(), kc.training.Checkpoints(tmp_path, keep=1), epochs=5)
    assert names_in(tmp_path) == ["step-00000004"]
    saved = kc.from_preset(tmp_path / "step-00000004")
    assert all(np.isfinite(weight.numpy()).all() for weight in saved.weights)


def test_the_best_one_stays_until_its_successor_is_written(tmp_path, monkeypatch):
    class Judge(keras.callbacks.Callback):
        figures = iter([0.5, 0.1, 0.2, 0.9])

        def on_epoch_end(self, epoch, logs=None):
            logs["figure"] = next(self.figures)

    real = checkpoint_folder.write

    def slow_write(path, snapshot):
        if path.name == "step-00000008":
            raise OSError("no space left")
        time.sleep(0.2)
        real(path, snapshot)

    monkeypatch.setattr(checkpoint_folder, "write", slow_write)
    saving = kc.training.Checkpoints(tmp_path, keep=1, monitor="figure", mode="max")
    with pytest.raises(OSError, match="no space left"):
        fit(make_classifier(), Judge(), saving, epochs=4)
    assert names_in(tmp_path) == ["step-00000002", "step-00000006"]


def test_a_folder_is_of_one_training_at_a_time(tmp_path):
    class Another(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            fit(make_classifier(), kc.training.Checkpoints(tmp_path))

    with pytest.raises(CheckpointError, match="another program is at work in"):
        fit(make_classifier(), kc.training.Checkpoints(tmp_path), Another(), epochs=2)
    assert fit(make_classifier(), kc.training.Checkpoints(tmp_path), epochs=2).epoch


@pytest.mark.parametrize("late", [keras.callbacks.EarlyStopping(monitor="loss"), None])
def test_callbacks_with_a_state_stand_before(tmp_path, late):
    class Stateful(keras.callbacks.Callback):
        def get_state(self):
            return None

        def set_state(self, state):
            pass

    with pytest.raises(ValueError, match="put them behind (EarlyStopping|Stateful)"):
        fit(make_classifier(), kc.training.Checkpoints(tmp_path), late or Stateful())


def test_what_keras_callbacks_forget_is_said(folder, capfd):
    stopping = keras.callbacks.EarlyStopping(monitor="loss", patience=9)
    fit(make_classifier(), stopping, kc.training.Checkpoints(folder), epochs=4)
    assert "epoch 4; EarlyStopping keeps nothing and begins anew" in capfd.readouterr().err


def test_a_training_that_a_callback_ended_is_done_unless_more_is_asked_for(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    saving = kc.training.Checkpoints(tmp_path)
    assert fit(make_classifier(), Stop(), saving, epochs=5).epoch == [0, 1]
    assert fit(make_classifier(), kc.training.Checkpoints(tmp_path), epochs=5).epoch == []
    assert fit(make_classifier(), kc.training.Checkpoints(tmp_path), epochs=6).epoch == [2, 3, 4, 5]


def test_several_steps_an_execution_are_refused(tmp_path):
    model = make_classifier()
    model.steps_per_execution = 2
    with pytest.raises(ValueError, match="steps_per_execution=1. Received: 2"):
        fit(model, kc.training.Checkpoints(tmp_path))


def test_other_data_are_saved_when_an_epoch_ends_and_it_is_said(tmp_path):
    with pytest.warns(UserWarning, match="every=1 is of `ImageBatches`"):
        fit(make_classifier(), kc.training.Checkpoints(tmp_path, every=1))
    assert names_in(tmp_path) == ["step-00000002"]


def test_a_loss_that_is_a_function_is_known_by_its_name(tmp_path):
    def make():
        model = make_classifier()
        loss = lambda y, p: keras.losses.sparse_categorical_crossentropy(  # noqa: E731
            y, p, from_logits=True
        )
        model.compile(adamw(model, 0.1, 0.05), loss)
        return model

    fit(make(), kc.training.Checkpoints(tmp_path))
    assert fit(make(), kc.training.Checkpoints(tmp_path), epochs=2).epoch == [1]
