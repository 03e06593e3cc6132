"""A training that goes on from a file or a checkpoint ends as one that never stopped."""

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
    fit(whole, images, 1, kc.training.Checkpoints(tmp_path / "run"))
    whole.save(tmp_path / "half.keras")
    student, config = whole.backbone.get_weights(), whole.get_config()
    for saved in ("run/step-00000003", "half.keras"):
        backbone = kc.from_preset(tmp_path / saved)
        assert isinstance(backbone, kc.ConvNeXtV2Backbone)
        for one, other in zip(backbone.get_weights(), student, strict=True):
            np.testing.assert_array_equal(one, other)
    fit(whole, images, 2, initial_epoch=1)

    again = compiled(make_latent(initial_seed=9, **ARGUMENTS))
    history = fit(again, images, 2, kc.training.Checkpoints(tmp_path / "run"))
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert {name: getattr(loaded, name) for name in ARGUMENTS} == ARGUMENTS
    assert loaded.get_config() == config
    fit(loaded, images, 2, initial_epoch=1)
    assert history.epoch == [1]
    for model in (again, loaded):
        for value, other in zip(values_of(model), values_of(whole), strict=True):
            np.testing.assert_array_equal(value, other)  # equal programs on equal numbers


def test_frozen_layers_of_backbone_and_predictor_stay_frozen(make_latent):
    latent = make_latent()
    latent.backbone.get_layer("stem").trainable = False
    latent.predictor.linears[0].trainable = False
    copy = kc.LatentPrediction.from_config(latent.get_config())
    assert [w.path for w in copy.trainable_weights] == [w.path for w in latent.trainable_weights]
    assert len(copy.trainable_weights) == len(make_latent().trainable_weights) - 6
