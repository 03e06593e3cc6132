"""A checkpoint within an epoch, to be damaged, and a training that goes on from it."""

import shutil
import types

import keras
import numpy as np

import keras_convnextv2 as kc
from keras_convnextv2.data import ImageBatches, open_source
from keras_convnextv2.runs import CheckpointError, manifest
from keras_convnextv2.training.callbacks import WriteMetrics
from keras_convnextv2.training.optimizers import adamw
from recipes.validation import Validation
from tests.reference.fuzzing import Subject
from tests.reference.mutations import mutated_bytes, mutated_json, mutated_safetensors

_NUM_IMAGES, _BATCH, _EPOCHS = 8, 2, 2
_MADE = {}  # the model, which is built once


class _Stop(keras.callbacks.Callback):
    """Ends a training in its second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and self.model.optimizer.iterations > _NUM_IMAGES // _BATCH:
            raise KeyboardInterrupt


def _classifier():
    sizes = kc.Variant((1, 1, 1, 1), (4, 4, 8, 8))
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(sizes, (16, 16, 3), stem_stride=1), 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(adamw(model, 1e-3, 0.05), loss)
    return model


def _fit(folder, *others):
    """Trains a run in a folder, as recipes.finetune does, from where it is."""
    batches, validated = (
        ImageBatches(open_source(folder, "train"), (16, 16), _BATCH, labelled=True, shuffle=shuffle)
        for shuffle in (True, False)
    )
    settings = {"output_dir": folder, "early_stopping_epochs": 0, "monitor": "accuracy"}
    settings["allow_changed_settings"] = True
    callbacks = [
        Validation(validated, types.SimpleNamespace(**settings)),
        WriteMetrics(folder / "metrics.jsonl", _NUM_IMAGES),
        # Settings that differ are let through to what comes after them.
        kc.training.Checkpoints(folder / "checkpoints", every=1, keep=1, allow_changes=True),
        *others,
    ]
    return _MADE["model"].fit(batches, epochs=_EPOCHS, verbose=0, callbacks=callbacks)


def _make(folder):
    _MADE["model"] = _classifier()
    images = np.random.default_rng(0).integers(0, 256, (_NUM_IMAGES, 16, 16, 3), "uint8")
    kept = {"mean": [0.5] * 3, "std": [0.25] * 3, "class_names": ["a", "b"]}
    np.savez(folder / "train.npz", images=images, labels=np.arange(_NUM_IMAGES) % 2, **kept)
    try:
        _fit(folder, _Stop())
    except KeyboardInterrupt:
        return sorted((folder / "checkpoints").glob("step-*/*"))
    raise AssertionError("it was not stopped")


def _mutated(content, rng, path):
    if path.suffix == ".safetensors":
        return mutated_safetensors(content, rng)
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice((b"[", b'{"a":', b'{"settings":{"a":')) * rng.choice((30, 900, 100_000))
    return (mutated_bytes if kind < 3 else mutated_json)(content, rng)


def go_on(path):
    """Goes on to the end in a copy of the run; with an error nothing of it is changed."""
    run = path.parents[2]
    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    try:
        step = copy / path.parent.relative_to(run)
        if path.name != manifest.NAME:  # else what it reads would never be asked
            (step / manifest.NAME).unlink()
            manifest.write(step)
        before = _contents(copy)
        try:
            _fit(copy)
        except CheckpointError:
            assert _contents(copy) == before
            raise
        except ValueError as error:  # of weights that are finite, but no more
            if "outputs are not finite" in str(error):
                raise FloatingPointError from error
            raise
        assert len((copy / "metrics.jsonl").read_text().splitlines()) <= _EPOCHS + 1
    finally:
        shutil.rmtree(copy)


def _contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


SUBJECTS = {
    "checkpoint": Subject(_make, _mutated, go_on, (CheckpointError, FloatingPointError), warns=True)
}
