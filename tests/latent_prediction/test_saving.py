"""A training that goes on from a file or a checkpoint ends as one that never stopped."""

import shutil

import keras
import numpy as np

import keras_convnextv2 as kc
from keras_convnextv2.training.optimizers import adamw

ARGUMENTS = {
    "mask_ratio": 0.5,
    "block_share": 0.5,
    "predictor_depth": 2,
    "momentum": 0.5,
    "num_updates": 4,
    "encoder_path": "dense",
    "seed": 3,
    "name": "renamed",
    "trainable": True,
}


def compiled(latent):
    latent.compile(adamw(latent, 1e-2, 0.05, accumulation_steps=2))
    return latent


def fit(latent, images, epochs, *callbacks, initial_epoch=0):
    """Three batches an epoch, of which the first epoch leaves one that is carried over."""
    options = {"batch_size": 2, "shuffle": False, "verbose": 0, "initial_epoch": initial_epoch}
    return latent.fit(images, epochs=epochs, callbacks=list(callbacks), **options)


def values_of(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v.value), copy=True) for v in variables]


def test_checkpoints_and_files_go_on_as_if_nothing_had_stopped(make_latent, images, tmp_path):
    whole = compiled(make_latent(**ARGUMENTS))
    fit(whole, images, 2, kc.training.Checkpoints(tmp_path / "all", keep=9))
    expected = values_of(whole)

    (tmp_path / "half").mkdir()
    shutil.copytree(tmp_path / "all/step-00000003", tmp_path / "half/step-00000003")
    again = compiled(make_latent(initial_seed=9, **ARGUMENTS))
    history = fit(again, images, 2, kc.training.Checkpoints(tmp_path / "half"))
    assert history.epoch == [1]
    for value, other in zip(values_of(again), expected, strict=True):
        np.testing.assert_array_equal(value, other)  # equal programs on equal numbers
    whole.save(tmp_path / "whole.keras")
    for saved in ("half/step-00000006", "whole.keras"):
        backbone = kc.from_preset(tmp_path / saved)
        assert isinstance(backbone, kc.ConvNeXtV2Backbone)
        for one, other in zip(backbone.weights, whole.backbone.weights, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())

    half = compiled(make_latent(**ARGUMENTS))
    fit(half, images, 1)
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert {name: getattr(loaded, name) for name in ARGUMENTS} == ARGUMENTS
    assert loaded.get_config() == half.get_config()
    for weight, other in zip(loaded.weights, half.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), other.numpy())
    fit(loaded, images, 2, initial_epoch=1)
    for weight, other in zip(loaded.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), other.numpy(), err_msg=weight.path)


def test_frozen_layers_of_backbone_and_predictor_stay_frozen(make_latent):
    latent = make_latent()
    latent.backbone.get_layer("stem").trainable = False
    latent.predictor.linears[0].trainable = False
    copy = kc.LatentPrediction.from_config(latent.get_config())
    assert [w.path for w in copy.trainable_weights] == [w.path for w in latent.trainable_weights]
    assert len(copy.trainable_weights) == len(make_latent().trainable_weights) - 6
