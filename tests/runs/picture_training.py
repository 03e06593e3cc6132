"""A training on pictures in files, as the tests of faults disturb it."""

import keras
import numpy as np
from PIL import Image

import keras_convnextv2 as kc
from keras_convnextv2.data import Augmentation, ImageBatches, open_source
from keras_convnextv2.training.optimizers import adamw

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
BATCH, STEPS, EPOCHS = 2, 4, 2
_AUGMENTATION = Augmentation(crop_scale=(0.3, 1), horizontal_flip=0.5)


def write_picture(path, seed, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), "uint8")
    Image.fromarray(pixels).save(path)


def write_pictures(folder):
    for number in range(BATCH * STEPS):
        write_picture(folder / ("bolt", "nut")[number % 2] / f"{number}.png", number)
    return folder


def make_batches(folder, **options):
    source = open_source(folder, "train")
    settings = {"labelled": False, "shuffle": True, "drop_remainder": True, "workers": 2}
    settings |= _AUGMENTATION.stages(source.mean)
    transforms = [*settings.pop("transforms", ()), *options.pop("transforms", ())]
    framing = _AUGMENTATION.framing((16, 16))
    return ImageBatches(source, framing, BATCH, transforms=transforms, **settings, **options)


def make_fcmae():
    keras.utils.set_random_seed(1)
    backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 16, 3), stem_stride=1, seed=2)
    fcmae = kc.FCMAE(backbone, decoder_width=8, seed=4)
    fcmae.compile(optimizer=adamw(fcmae, 1e-2, 0.05))
    return fcmae


def fit(batches, folder, *callbacks, model=None, **options):
    """The model after a `fit` to the end, from the checkpoints in a folder."""
    model = make_fcmae() if model is None else model
    saving = kc.training.Checkpoints(folder, every=1, **options)
    model.fit(batches, epochs=EPOCHS, verbose=0, callbacks=[*callbacks, saving])
    return model


def values_of(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v.value), copy=True) for v in variables]


class AtStep(keras.callbacks.Callback):
    """Calls a function when so many steps are done."""

    def __init__(self, step, function):
        super().__init__()
        self.step, self.function, self.num_done = step, function, 0

    def on_train_batch_end(self, batch, logs=None):
        self.num_done += 1
        if self.num_done == self.step:
            self.function()
