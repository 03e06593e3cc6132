"""A program: trains small models on the devices that it finds, and keeps what it got.

    python -m tests.reference.many_devices IMAGES OUTPUT.npz visible,dense,latent,classifier DEVICES

Three steps of 8 images each, and an evaluation of 13: FCMAE by visible patches and dense, latent
prediction with accumulation, and a classifier with mixup, layer-wise decay, averages and clipping.
DEVICES is 1; or 2, virtual ones of this process; or "processes", where this is one of several.
"""

import contextlib
import sys
from pathlib import Path

import keras
import numpy as np

import keras_convnextv2 as kc
from keras_convnextv2.data import ImageBatches, Mixing, SetEpoch, open_source
from keras_convnextv2.training import distribution
from keras_convnextv2.training.optimizers import adamw

BATCH = 8
SIZE = (16, 24)


def backbone(drop_path_rate=0.3):
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    return kc.ConvNeXtV2Backbone(
        variant, (*SIZE, 3), stem_stride=1, drop_path_rate=drop_path_rate, seed=0
    )


def batches(folder, split, labelled, **options):
    source = open_source(folder, split)
    return ImageBatches(source, SIZE, BATCH, labelled=labelled, **options)


def training(folder, labelled=False, **options):
    shard = distribution.shard()
    options |= {"shuffle": True, "drop_remainder": True, "seed": 3, "shard": shard}
    return batches(folder, "train", labelled, **options)


def fitted(model, batches, **options):
    callbacks = [SetEpoch(batches)]
    return model.fit(batches, verbose=0, shuffle=False, callbacks=callbacks, **options).history


def pretrained(folder, model, **options):
    model.compile(adamw(model, 1e-3, 0.05, 0.95, **options))
    history = fitted(model, training(folder))
    figures = {name: values[0] for name, values in history.items()}
    scores = model.evaluate(batches(folder, "test", False), verbose=0, return_dict=True)
    return figures | {f"test_{name}": value for name, value in scores.items()}


def classified(folder):
    model = kc.ConvNeXtV2Classifier(backbone(), 4)
    model.compile(
        adamw(model, 1e-3, 0.05, layer_decay=0.8, ema_momentum=0.5, clip_norm=0.5),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    mixed = training(folder, labelled=True, batch_transforms=[Mixing()])
    test = batches(folder, "test", True, label_smoothing=0.1)
    history = fitted(model, mixed, validation_data=test)
    return model, {name: values[0] for name, values in history.items()}


def fcmae(path):
    return kc.FCMAE(backbone(), decoder_width=8, encoder_path=path, seed=1)


def trained(folder, kind):
    """(model, its figures)."""
    if kind == "classifier":
        return classified(folder)
    if kind == "latent":
        model = kc.LatentPrediction(backbone(), seed=1)
        return model, pretrained(folder, model, accumulation_steps=3)
    model = fcmae(kind)
    return model, pretrained(folder, model, clip_norm=0.02, ema_momentum=0.5)


def run(folder, kinds):
    found = {}
    for kind in kinds:
        model, figures = trained(folder, kind)
        found |= {f"{kind}/{name}": value for name, value in figures.items()}
        for place, weight in enumerate([*model.weights, *model.optimizer.variables]):
            found[f"{kind}/weights/{place:03d}"] = keras.ops.convert_to_numpy(weight)
    return found


if __name__ == "__main__":
    folder, output, kinds, devices = sys.argv[1:]
    keras.utils.set_random_seed(0)
    if keras.backend.backend() == "tensorflow" and devices == "2":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, parts)
    with contextlib.nullcontext() if devices == "1" else distribution.data_parallel():
        found = run(folder, kinds.split(","))
        index, _ = distribution.shard()
        found["rows"] = distribution.gathered_rows(np.full((2 + index, 3), index + 1 / 3))
        if distribution.is_writer():
            found["devices"] = distribution.devices().count
            np.savez(Path(output), **found)
