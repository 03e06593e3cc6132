"""What a callback that stops a training within an epoch leaves, and what goes on from it."""

import json

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.training.averaged_weights import EvaluateAveragedWeights
from keras_convnextv2.training.board import WriteBoard
from keras_convnextv2.training.callbacks import WriteMetrics
from keras_convnextv2.training.optimizers import adamw
from tests.runs.small_training import IMAGES, LABELS, fit, make_classifier, names_in

pytestmark = pytest.mark.one_backend


class StopAtBatch(keras.callbacks.Callback):
    """Stops at the end of so many batches of all."""

    def __init__(self, number):
        super().__init__()
        self.left = number

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        self.model.stop_training = self.model.stop_training or self.left == 0


class Counts(keras.callbacks.Callback):
    num_epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        self.num_epochs += 1

    def get_state(self):
        return self.num_epochs

    def set_state(self, state):
        self.num_epochs = state


class OtherCounts(Counts):
    pass


@pytest.fixture
def batches(tmp_path):
    """Makes `ImageBatches` of 12 images, 4 batches."""
    images = np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), "uint8")
    arrays = {"class_names": ["cat", "dog"], "mean": [0.5] * 3, "std": [0.25] * 3}
    np.savez(tmp_path / "train.npz", images=images, labels=np.arange(12) % 2, **arrays)
    source = kc.data.open_source(tmp_path, "train")
    return lambda: kc.data.ImageBatches(source, (16, 16), 3, labelled=True, shuffle=True, seed=0)


@pytest.mark.parametrize("behind", [False, True])
def test_arrays_that_are_stopped_within_an_epoch_begin_it_again(tmp_path, behind):
    saving = kc.training.Checkpoints(tmp_path)
    both = (saving, StopAtBatch(3)) if behind else (StopAtBatch(3), saving)
    assert fit(make_classifier(), *both, epochs=4).epoch == [0, 1]
    assert names_in(tmp_path) == ["step-00000002"]
    assert fit(make_classifier(), saving, epochs=4).epoch == [1, 2, 3]


def test_a_stop_at_the_last_batch_of_an_epoch_is_an_end(tmp_path):
    saving = kc.training.Checkpoints(tmp_path)
    assert fit(make_classifier(), StopAtBatch(4), saving, epochs=4).epoch == [0, 1]
    assert fit(make_classifier(), saving, epochs=4).epoch == []


def test_a_generator_that_is_stopped_within_an_epoch_begins_it_again(tmp_path):
    def forever():
        while True:
            yield IMAGES[:3], LABELS[:3]

    options = {"steps_per_epoch": 3, "verbose": 0, "epochs": 2}
    saving = kc.training.Checkpoints(tmp_path)
    make_classifier().fit(forever(), callbacks=[StopAtBatch(4), saving], **options)
    assert make_classifier().fit(forever(), callbacks=[saving], **options).epoch == [1]


def test_what_an_epoch_reports_is_of_all_its_batches_where_it_was_stopped_and_validated(
    batches, tmp_path
):
    def train(name, *callbacks):
        keras.utils.set_random_seed(0)
        log, board = tmp_path / name / "metrics.jsonl", tmp_path / name / "board"
        log.parent.mkdir(exist_ok=True)
        watching = [WriteMetrics(log, 12), WriteBoard(board, 3, every=2)]
        saving = kc.training.Checkpoints(tmp_path / name / "checkpoints")
        make_classifier(0.01).fit(
            batches(),
            validation_data=(IMAGES, LABELS),
            epochs=2,
            verbose=0,
            callbacks=[*callbacks, *watching, saving],
        )
        return [json.loads(line) for line in log.read_text().splitlines()]

    expected = train("whole")
    train("stopped", StopAtBatch(2))
    found = train("stopped")
    assert [line["epoch"] for line in found] == [1, 2]
    for line, other in zip(found, expected, strict=True):
        for name in ("loss", "accuracy", "gradient_norm", "val_loss"):
            assert line[name] == pytest.approx(other[name], rel=1e-5), name


def test_states_of_callbacks_are_those_of_their_class(tmp_path, capfd):
    saving = kc.training.Checkpoints(tmp_path)
    fit(make_classifier(), Counts(), saving, epochs=2)
    counts, others = Counts(), OtherCounts()
    fit(make_classifier(), others, counts, saving, epochs=3)
    assert (counts.num_epochs, others.num_epochs) == (3, 1)
    assert "without a state of OtherCounts, which begins anew" in capfd.readouterr().err
    fit(make_classifier(), Counts(), saving, epochs=4)
    assert "without OtherCounts, whose state is left out" in capfd.readouterr().err


def test_a_figure_that_no_epoch_has_is_said(tmp_path):
    saving = kc.training.Checkpoints(tmp_path, monitor="acc", mode="max")
    with pytest.warns(UserWarning, match="'acc' is none of .* accuracy, gradient_norm, loss: no"):
        fit(make_classifier(), saving, epochs=2)


def test_a_second_fit_goes_on_where_a_callback_changed_the_rate(tmp_path):
    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2

    model, saving = make_classifier(), kc.training.Checkpoints(tmp_path)
    fit(model, Halve(), saving, epochs=2)
    assert fit(model, Halve(), saving, epochs=4).epoch == [2, 3]
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1 / 16)
    model.optimizer.learning_rate = 0.5  # by hand
    with pytest.raises(kc.runs.CheckpointError, match="learning_rate was"):
        fit(model, saving, epochs=5)


def test_where_the_best_weights_were_restored_the_end_is_not_said_to_have_them(tmp_path, capfd):
    stopping = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    saving = kc.training.Checkpoints(tmp_path)
    fit(make_classifier(), stopping, saving)
    fit(make_classifier(), stopping, saving)
    assert "restore_best_weights was of the run itself" in capfd.readouterr().err


def test_own_weights_are_not_restored_where_averages_are_evaluated():
    model = make_classifier()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(adamw(model, 0.05, 0.0, ema_momentum=0.5), loss)
    stopping = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    with pytest.raises(ValueError, match="restore_best_weights=True brings back the model's own"):
        fit(model, EvaluateAveragedWeights(), stopping)
