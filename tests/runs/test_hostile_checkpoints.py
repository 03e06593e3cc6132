"""A checkpoint that somebody has written: success, or the documented error, in little memory."""

import json
import random
import resource

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.data import ImageBatches, open_source
from keras_convnextv2.runs import CheckpointError, manifest
from keras_convnextv2.training.optimizers import adamw

pytestmark = pytest.mark.one_backend

NUM_MUTATIONS = 120  # of each file
MEGABYTES = 200  # beside what the process has already
VALUES = [None, True, -1, 0, 2**63, 1e308, "", "x", "../x", [], [[]], {}, {"a": {}}, "\ud800"]


class Counts(keras.callbacks.Callback):
    """A callback that keeps something."""

    num_epochs = 0

    def get_state(self):
        return {"num_epochs": self.num_epochs}

    def set_state(self, state):
        self.num_epochs = state["num_epochs"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(model, batches, folder with one checkpoint within an epoch, its files)."""
    folder = tmp_path_factory.mktemp("hostile")
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), "uint8")
    np.savez(folder / "train.npz", images=images, mean=[0.5] * 3, std=[0.25] * 3)
    batches = ImageBatches(open_source(folder, "train"), (16, 16), 2, labelled=False, shuffle=True)
    sizes = kc.Variant((1, 1, 1, 1), (4, 4, 8, 8))
    fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(sizes, (16, 16, 3), stem_stride=1), decoder_width=8)
    fcmae.compile(optimizer=adamw(fcmae, 1e-3, 0.05))

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    saving = kc.training.Checkpoints(folder / "run", every=1, keep=1)
    with pytest.raises(KeyboardInterrupt):
        fit(fcmae, batches, saving, Stop())
    (path,) = (folder / "run").glob("step-*")
    return fcmae, batches, path, {file.name: file.read_bytes() for file in path.iterdir()}


def fit(fcmae, batches, saving, *others):
    callbacks = [Counts(), saving, *others]
    return fcmae.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)


def mutated_bytes(content, draw):
    content = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(content))
        kind = draw.random()
        if kind < 0.5:
            content[place] = draw.randrange(256)
        elif kind < 0.75:
            del content[place : place + draw.randint(1, 40)]
        else:
            content[place:place] = draw.randbytes(draw.randint(1, 40))
        if not content:
            break
    return bytes(content)


def mutated_json(content, draw):
    """Another value, or none, somewhere within it."""
    content = json.loads(content)
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return json.dumps(draw.choice(VALUES)).encode()
        key = draw.choice(list(keys))
        if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.8:
            place = place[key]
            continue
        if draw.random() < 0.2:
            del place[key]
        else:
            place[key] = draw.choice(VALUES)
        return json.dumps(content).encode()


@pytest.mark.parametrize(
    "name",
    ["config.json", "state.json", "manifest.json", "model.safetensors", "training.safetensors"],
)
def test_any_change_of_a_file_is_a_checkpoint_error_or_none(made, name):
    fcmae, batches, path, files = made
    draw = random.Random(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"refused": 0, "taken": 0}
    for place in range(NUM_MUTATIONS):
        for other, content in files.items():
            (path / other).write_bytes(content)
        mutate = mutated_json if name.endswith("json") and place % 2 else mutated_bytes
        (path / name).write_bytes(mutate(files[name], draw))
        if name != "manifest.json":  # else what it reads would never be asked
            (path / "manifest.json").unlink()
            manifest.write(path)
        # Settings that differ are let through to what comes after them.
        saving = kc.training.Checkpoints(path.parent, allow_changes=bool(draw.randrange(2)))
        try:
            saving.open(fcmae, batches, [Counts(), saving], initial_epoch=0, epochs=2)
            outcomes["taken"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
        finally:
            saving.close()
    assert outcomes["refused"] > NUM_MUTATIONS / 10, outcomes
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEGABYTES * 1024
