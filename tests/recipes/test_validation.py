"""The epoch that is kept: the weights that were measured, whatever optimizer comes after them."""

import json
import types
import warnings

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.data import ImageBatches, open_source
from keras_convnextv2.training.averaged_weights import averaged_weights
from keras_convnextv2.training.classification_loss import classification_loss
from keras_convnextv2.training.optimizers import adamw
from recipes.validation import Validation


class Batches(list):
    """As far as `Validation` looks at `ImageBatches`."""

    @property
    def source(self):
        return types.SimpleNamespace(labels=self[0][1])


class Remember(keras.callbacks.Callback):
    """The averages of the weights after each epoch."""

    def __init__(self):
        super().__init__()
        self.averages = []

    def on_epoch_end(self, epoch, logs=None):
        with averaged_weights(self.model):
            self.averages.append(self.model.get_weights())


def _settings(folder, **others):
    """As far as `Validation` looks at them."""
    settings = {"early_stopping_epochs": 0, "monitor": None, "allow_changed_settings": False}
    return types.SimpleNamespace(output_dir=folder, **{**settings, **others})


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("dtype", "multi_label"), [("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_the_best_epoch_of_an_earlier_phase_is_taken_exactly(dtype, multi_label, tmp_path, rng):
    names, mean, std = ("ant", "bee\udcff", "cat"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.7)
    sizes = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(sizes, (16, 16, 3), stem_stride=1, dtype=dtype)
    backbone.normalisation, backbone.pixel_range = (mean, std), (0.5, 4000.0)
    classifier = kc.ConvNeXtV2Classifier(backbone, 3, class_names=names, multi_label=multi_label)
    images = rng.normal(size=(8, 16, 16, 3)).astype("float32")
    labels = np.arange(8) % 3
    if multi_label:
        labels = np.eye(3, dtype="float32")[labels]
    settings = _settings(tmp_path, monitor="negative_log_likelihood")
    chooser, remember = Validation(Batches([(images, labels)]), settings), Remember()

    def fit(first, end, rate):
        classifier.compile(
            adamw(classifier, rate, 0.0, ema_momentum=0.5), classification_loss(multi_label)
        )
        options = {"initial_epoch": first, "epochs": end, "batch_size": 4, "verbose": 0}
        classifier.fit(images, labels, callbacks=[remember, chooser], **options)

    backbone.trainable = False
    fit(0, 1, 1e-2)
    chooser.best = 0.0  # nothing is better
    backbone.trainable = True
    backbone.get_layer("stage0_block0").trainable = False
    fit(1, 2, 1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # as that an optimizer does not fit
        chooser.take_best(classifier)
    assert chooser.best_epoch == 1
    differs = []
    for found, first, second in zip(classifier.get_weights(), *remember.averages, strict=True):
        np.testing.assert_array_equal(found, first)
        differs.append((first != second).any())
    assert any(differs)
    assert not backbone.get_layer("stage0_block0").trainable
    assert backbone.get_layer("stage1_block0").trainable
    assert (classifier.class_names, classifier.temperature) == (names, 1.0)
    assert classifier.multi_label == multi_label
    assert backbone.normalisation == (mean, std) and backbone.pixel_range == (0.5, 4000.0)
    # The weights alone, 4 bytes each, and a header of names.
    (path,) = (tmp_path / "checkpoints").iterdir()
    assert 0 < path.stat().st_size - 4 * classifier.count_params() < 20_000


@pytest.mark.one_backend
def test_without_validation_images_no_epoch_is_chosen(tmp_path):
    chooser = Validation(None, _settings(tmp_path))
    chooser.on_epoch_end(0, {})
    chooser.take_best(None)
    assert chooser.best_epoch is None and not list(tmp_path.iterdir())


@pytest.mark.one_backend
def test_other_validation_images_are_noticed(tmp_path, capsys):
    def make(pixel, **settings):
        images = np.full((6, 4, 4, 3), 7, "uint8")
        images[3, 2, 1, 0] = pixel
        kept = {"mean": [0.5] * 3, "std": [0.25] * 3, "class_names": ["a", "b"]}
        np.savez(tmp_path / "validation.npz", images=images, labels=np.arange(6) % 2, **kept)
        batches = ImageBatches(open_source(tmp_path, "validation"), (4, 4), 2, labelled=True)
        return Validation(batches, _settings(tmp_path, **settings))

    best = tmp_path / "checkpoints" / "best-3.safetensors"
    best.parent.mkdir()
    best.touch()
    before = make(7)
    before.set_state([0.9, 3, 1, 4, before.get_state()[4]])
    state = json.loads(json.dumps(before.get_state()))
    same = make(7)
    same.set_state(state)
    assert (same.best, same.best_epoch) == (0.9, 3)
    with pytest.raises(ValueError, match="^the validation images are of other contents$"):
        make(8).set_state(state)
    other = make(8, allow_changed_settings=True)
    other.set_state(state)
    assert (other.best, other.best_epoch, other.num_measured) == (None, None, 4)
    assert "the best epoch is one of those that follow" in capsys.readouterr().err
