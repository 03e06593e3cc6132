r"""Times what saving costs a training, by steps with a save beside steps without, in one run.

    KERAS_BACKEND=torch python -m tools.benchmark_checkpoints --variant=tiny --batch_size=8

An FCMAE with its optimizer is trained, and saved by `Checkpoints` every few steps. "stall" is the
time in which the training waits for the copy that is then written beside it. "cost" is the stall,
and what the steps during the writing take longer than the others. Both are medians, in steps.
"""

import json
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from absl import app, flags

import keras_convnextv2 as kc
from keras_convnextv2.training.optimizers import adamw

FLAGS = flags.FLAGS

flags.DEFINE_string("variant", "tiny", "Of the model.")
flags.DEFINE_integer("image_size", 224, "In pixels.")
flags.DEFINE_integer("batch_size", 8, "Images a step.")
flags.DEFINE_integer("saves", 5, "How many are timed.")
flags.DEFINE_integer("every", 6, "Steps from one to the next.", lower_bound=4)


class SameBatch(keras.utils.PyDataset):
    """One batch, again and again, that `Checkpoints` can save within an epoch."""

    epoch = 0

    def __init__(self, batch, epoch_length):
        super().__init__()
        self.batch, self.epoch_length = batch, epoch_length

    def __len__(self):
        return self.epoch_length

    def __getitem__(self, index):
        return (self.batch,)

    def state(self):
        return {}

    def begin_anew(self):
        """There is no other place than the first."""

    restore = None  # that it is there says that a place can be kept


class Timed(kc.training.Checkpoints):
    """Notes the seconds of each step, and of each save."""

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.steps, self.stalls = [], []
        self.ended = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for the step
        now = time.monotonic()
        self.steps.append(now - self.ended)
        super().on_train_batch_end(batch, logs)
        self.ended = time.monotonic()
        self.stalls.append(self.ended - now)


def main(_):
    size, every, saves = FLAGS.image_size, FLAGS.every, FLAGS.saves
    fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(FLAGS.variant, (size, size, 3)))
    fcmae.compile(optimizer=adamw(fcmae, 1e-4, 0.05, 0.95))
    images = np.random.default_rng(0).normal(size=(FLAGS.batch_size, size, size, 3))
    data = SameBatch(images.astype("float32"), (saves + 1) * every)
    with tempfile.TemporaryDirectory() as folder:
        timed = Timed(folder, every=every, keep=1)
        fcmae.fit(data, shuffle=False, verbose=0, callbacks=[timed])
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        megabytes = sum(path.stat().st_size for path in files) / 1e6
    steps = np.array(timed.steps).reshape(-1, every)[1:]  # after each save; the first compile
    stall = np.median([timed.stalls[(save + 1) * every - 1] for save in range(saves)])
    half = every // 2
    step = np.median(steps[:, half:])  # nothing is written any more
    slower = np.median(steps[:, :half].sum(axis=1)) - half * step
    result = {
        "backend": keras.backend.backend(),
        "variant": FLAGS.variant,
        "megabytes": round(megabytes, 1),
        "step_seconds": round(float(step), 3),
        "stall_in_steps": round(float(stall / step), 3),
        "cost_in_steps": round(float((stall + slower) / step), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    app.run(main)
