r"""Kills a training at random instants, most of them within a save, and compares what comes of it.

    python -m tests.reference.kill_training --folder=FOLDER --kills=200 --seed=0

A program that has imported everything and computed nothing starts the training again and again as
a process of its own, and sends it SIGKILL. After each kill every checkpoint that has its name must
be whole. The training that was killed so often must end equal, bit for bit, to one that was not.
Prints what was counted as one JSON object, and raises where a promise is broken.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np

import keras_convnextv2 as kc
from keras_convnextv2.data import Augmentation, ImageBatches, open_source
from keras_convnextv2.runs import checkpoint_folder
from keras_convnextv2.training.optimizers import adamw
from keras_convnextv2.training.schedules import warmup_cosine

STEPS_PER_EPOCH = 4
_SHARE_WITHIN_A_SAVE = 0.75
_SECONDS = 120  # that a process may take to come so far


def write_images(folder):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (8 * STEPS_PER_EPOCH, 20, 20, 3), "uint8")
    np.savez(folder / "train.npz", images=images, mean=[0.5] * 3, std=[0.25] * 3)


def train(images, folder, epochs, last=None):
    """Trains to the end, from where `folder` says, and writes a digest of all that it ends with.

    Args:
        images: folder of train.npz.
        folder: of the training.
        epochs: int.
        last: optional int, the epoch to stop after.

    Returns:
        `keras.callbacks.History`.
    """
    source = open_source(images, "train")
    augmentation = Augmentation(crop_scale=(0.3, 1), horizontal_flip=0.5)
    batches = ImageBatches(
        source,
        augmentation.framing((16, 16)),
        8,
        labelled=False,
        shuffle=True,
        drop_remainder=True,
        **augmentation.stages(source.mean),
    )
    keras.utils.set_random_seed(3)  # of the first weights
    sizes = kc.Variant((1, 1, 1, 1), (8, 12, 16, 24))
    backbone = kc.ConvNeXtV2Backbone(sizes, (16, 16, 3), stem_stride=1, drop_path_rate=0.3, seed=1)
    fcmae = kc.FCMAE(backbone, decoder_width=32, seed=2)
    num_steps = epochs * STEPS_PER_EPOCH
    schedule = warmup_cosine(1e-3, num_steps, num_steps // 10)
    fcmae.compile(optimizer=adamw(fcmae, schedule, 0.05, 0.95, ema_momentum=0.9))
    saving = kc.training.Checkpoints(folder / "checkpoints", every=1)
    history = fcmae.fit(
        batches, epochs=last or epochs, shuffle=False, verbose=0, callbacks=[saving]
    )
    digest = hashlib.sha256()
    for variable in [*fcmae.variables, *fcmae.optimizer.variables]:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value)).tobytes())
    (folder / "digest").write_text(digest.hexdigest())
    return history


def start(images, folder, epochs):
    """The number of a process that trains."""
    folder.mkdir(parents=True, exist_ok=True)
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        with open(folder / "said", "a") as said:
            os.dup2(said.fileno(), 2)
            train(images, folder, epochs)
        status = 0
    finally:
        os._exit(status)


def names_in(checkpoints):
    return {path.name for path in checkpoints.glob("*")}


def kill_at(number, checkpoints, draw):
    """Kills the process at an instant that is drawn; says where that was, None if it had ended."""
    is_within_a_save = draw.random() < _SHARE_WITHIN_A_SAVE
    num_more = draw.randint(1, 3)  # saves that are let through
    until = time.monotonic() + _SECONDS
    seen = names_in(checkpoints)
    while time.monotonic() < until:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            if status:
                raise RuntimeError(f"the training ended with status {status}")
            return None
        names = names_in(checkpoints)
        num_more -= len({name for name in names - seen if name.startswith("step-")})
        seen |= names
        if num_more <= 0:
            if not is_within_a_save:
                time.sleep(draw.random() * 0.02)
                break
            if any(name.startswith("unfinished") for name in names):
                time.sleep(draw.random() * 0.001)
                break
    else:
        raise RuntimeError("the training does not come on")
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    left = any(name.startswith("unfinished") for name in names_in(checkpoints))
    return "within a save" if left else "between saves"


def kill(folder, num_kills, seed):
    """Does all of it; returns what was counted, a dict."""
    draw = random.Random(seed)
    images = folder / "images"
    images.mkdir(parents=True)
    write_images(images)
    epochs = max(num_kills, 2)
    straight, killed = folder / "straight", folder / "killed"
    number = start(images, straight, epochs)
    if os.waitpid(number, 0)[1]:
        raise RuntimeError((straight / "said").read_text())
    checkpoints = killed / "checkpoints"
    counted = {"within a save": 0, "between saves": 0}
    num_whole = 0
    while True:
        number = start(images, killed, epochs)
        # After as many kills as were asked for it may end.
        enough = sum(counted.values()) >= num_kills
        where = None if enough else kill_at(number, checkpoints, draw)
        if enough and os.waitpid(number, 0)[1]:
            raise RuntimeError((killed / "said").read_text())
        for _, path in checkpoint_folder.checkpoints_in(checkpoints):
            checkpoint_folder.open_checkpoint(path)
            num_whole += 1
        if where is None:
            break
        counted[where] += 1
    equal = (straight / "digest").read_text() == (killed / "digest").read_text()
    if not equal:
        raise RuntimeError("the training that was killed ended with other numbers")
    return {
        "backend": keras.backend.backend(),
        "kills": sum(counted.values()),
        **{f"kills {where}": count for where, count in counted.items()},
        "steps": epochs * STEPS_PER_EPOCH,
        "checkpoints found after a kill, all whole": num_whole,
        "ended equal to the bit": equal,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(kill(given.folder, given.kills, given.seed)))
    sys.stdout.flush()
