"""One checkpoint: a folder that is there whole or not at all.

    config.json               the model's class and arguments, as in a .keras file
    model.safetensors         its weights, as `save_weights` writes them
    training.safetensors      what else training goes on from: the optimizer, counters, metrics
    state.json                where in the images and the run it was taken
    manifest.json             size and SHA-256 of each of these, written last

`from_preset` and `load_weights` take such a folder too.
"""

import dataclasses
import itertools
import json
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np

from keras_convnextv2.runs import manifest
from keras_convnextv2.runs import training_state as states
from keras_convnextv2.runs.errors import CheckpointError
from keras_convnextv2.weights import own_folder, safetensors_file
from keras_convnextv2.weights.checkpoint import StoredTensor
from keras_convnextv2.weights.description import Description, description_of
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.folders import CONFIG_NAME, SAFETENSORS_NAME, read_json
from keras_convnextv2.whole_files import whole_folder

TRAINING_NAME, STATE_NAME = "training.safetensors", "state.json"
_FOLDER = re.compile(r"step-(\d{8,})")
_LEFT = re.compile(r"unfinished\.\d+\.step-\d+")
_MAX_BYTES = 1 << 26  # of state.json: bad images are named in it


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What a checkpoint is written from, in memory of its own.

    Args:
        config: the model's, as Keras serializes it.
        description: `Description` of its weights.
        weights, training: {name: NumPy array}.
        state: what JSON keeps.
    """

    config: dict
    description: Description
    weights: dict
    training: dict
    state: dict


def metrics_in(model):
    """A copy of what a model's metrics have counted, for `take_snapshot`."""
    states.bring_up_to_date(model)
    return states.copied(states.metrics_of(model), {})


def take_snapshot(model, state, with_metrics, buffers=None, metrics=None):
    """Copies what training goes on from.

    Args:
        model: a compiled model of this library, built with its optimizer.
        state: a dict that JSON keeps.
        with_metrics: bool, whether within an epoch, whose metrics are in progress.
        buffers: optional, as in `training_state.copied`; the snapshot before must be written.
        metrics: optional, those of an earlier time, as `metrics_in` gave them.
    """
    buffers = {} if buffers is None else buffers
    states.bring_up_to_date(model)
    weights = states.weights_of(model)
    training = states.others_of(model, weights)
    if with_metrics and metrics is None:
        training |= states.metrics_of(model)
    return Snapshot(
        keras.saving.serialize_keras_object(model),
        description_of(model),
        states.copied(weights, buffers),
        {**states.copied(training, buffers), **((metrics or {}) if with_metrics else {})},
        state,
    )


def write(folder, snapshot):
    """Writes a checkpoint.

    Args:
        folder: Path, of `path_of`; must not exist.
        snapshot: a `Snapshot`.

    Raises:
        FloatingPointError: weights or the optimizer hold NaN or Inf: nothing could go on from them.
    """
    _demand_finite(snapshot)
    with whole_folder(folder) as unfinished:
        own_folder.write(
            unfinished, snapshot.config, _tensors(snapshot.weights), snapshot.description
        )
        (unfinished / STATE_NAME).write_text(json.dumps(snapshot.state, indent=1) + "\n")
        safetensors_file.write(
            unfinished / TRAINING_NAME, _tensors(snapshot.training), Description()
        )
        manifest.write(unfinished)


def _demand_finite(snapshot):
    for name, array in (snapshot.weights | snapshot.training).items():
        if name.startswith("metrics/") or array.dtype.kind in "iu":
            continue
        if not np.isfinite(array).all():
            raise FloatingPointError(
                f"{name} holds values that are not finite, and is not saved. The training is "
                "stopped; what it saved before is intact. Try a lower learning rate, more warm-up "
                "steps, or float32 or bfloat16 instead of float16."
            )


def _tensors(arrays):
    return {
        name: StoredTensor(array.shape, array.dtype.name, lambda array=array: array)
        for name, array in arrays.items()
    }


def path_of(folder, step):
    """Where the checkpoint of a step is.

    Args:
        folder: Path of all checkpoints.
        step: int, batches since the run began.
    """
    return folder / f"step-{step:08d}"


def newest_checkpoint(folder):
    """The newest checkpoint that is whole, a Path; None where there is none.

    Args:
        folder: of all checkpoints of a training. Where it has none itself, those in its folders
            count, as recipes.finetune leaves them of the part in which the head learns alone.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> kc.runs.newest_checkpoint("not/begun") is None
        True
    """
    folder = Path(folder)
    folders = [path for path in sorted(folder.glob("*")) if not _FOLDER.fullmatch(path.name)]
    found = checkpoints_in(folder)
    for _, path in found or itertools.chain.from_iterable(map(checkpoints_in, folders)):
        try:
            manifest.check(path)
        except CheckpointError:
            continue
        return path
    return None


def checkpoints_in(folder):
    """[(step, Path)] of what is named as a checkpoint, the newest first; none are opened."""
    found = [(_FOLDER.fullmatch(path.name), path) for path in folder.glob("step-*")]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def remove(path):
    """Removes a checkpoint, in one step for who looks for some."""
    doomed = path.with_name(f"unfinished.{os.getpid()}.{path.name}")
    os.replace(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def put_aside(path):
    """Gives a checkpoint a name under which it is none, "passed-over.1.step-00000500"."""
    number = 1
    while (aside := path.with_name(f"passed-over.{number}.{path.name}")).exists():
        number += 1
    os.replace(path, aside)


def remove_unfinished(folder):
    """Removes what killed programs left while they wrote."""
    for path in folder.glob("unfinished.*"):
        if _LEFT.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been found whole, not yet loaded.

    Args:
        path: of its folder.
        state: what was kept beside the arrays.
        weights, training: {name: `StoredTensor`}.
    """

    path: Path
    state: dict
    weights: dict
    training: dict

    def read(self, model, allow_changes=False):
        """Reads all but the metrics for a model and its optimizer, and changes nothing yet.

        Args:
            model: compiled, and built with its optimizer.
            allow_changes: bool, whether counters and the optimizer, where the model has others
                than were saved, stay as they are.

        Returns:
            (function without arguments that gives the model what was read, list of what stays as
            it is, in words).

        Raises:
            CheckpointError: it is of another model, or of one that was compiled in another way.
        """
        weights = states.weights_of(model)
        others = states.others_of(model, weights)
        read = [(weights, _arrays(weights, self.weights))]
        stayed = []
        for kind, words in (("model", "counters of draws"), ("optimizer", "the optimizer")):
            variables = _of_kind(others, kind)
            try:
                read.append((variables, _arrays(variables, _of_kind(self.training, kind))))
            except CheckpointError:
                if not allow_changes:
                    raise
                stayed.append(words)

        def load():
            for variables, arrays in read:
                states.assign(variables, arrays)

        return load, stayed

    def load_metrics(self, model):
        """Gives a model the metrics in progress; there are some within an epoch alone."""
        held = _of_kind(self.training, "metrics")
        if held:
            variables = states.metrics_of(model)
            states.assign(variables, _arrays(variables, held))


def _of_kind(named, kind):
    return {name: value for name, value in named.items() if name.startswith(f"{kind}/")}


def _arrays(variables, stored):
    states.check(variables, {name: (t.shape, t.dtype) for name, t in stored.items()})
    return {name: tensor.load() for name, tensor in stored.items()}


def state_of(path):
    """The content of a checkpoint's state.json, a dict.

    Raises:
        CheckpointError: it is none.
    """
    path = path / STATE_NAME
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"its {STATE_NAME} is too large to be one")
        state = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"its {STATE_NAME} cannot be read") from error
    return checked_state(state)


def checked_state(state):
    """The state, if it is one.

    Raises:
        CheckpointError: it is none.
    """
    wanted = {"epoch": int, "batch": int, "steps": int, "settings": dict, "callbacks": list}
    is_one = isinstance(state, dict) and all(
        type(state.get(name)) is kind for name, kind in wanted.items()
    )
    best = state.get("best") if is_one else None
    is_best = best is None or (
        isinstance(best, list) and [type(part) for part in best] in ([float, str], [int, str])
    )
    if not (is_one and is_best) or min(state["epoch"], state["batch"], state["steps"]) < 0:
        raise CheckpointError(f"its {STATE_NAME} is damaged")
    return state


def open_checkpoint(path):
    """Opens a checkpoint after comparing all its files with their sums.

    Raises:
        CheckpointError: what is wrong with it, without its name.
    """
    manifest.check(path, demanded=(CONFIG_NAME, STATE_NAME, TRAINING_NAME))
    try:
        read_json(path / CONFIG_NAME)  # that `from_preset` can
        state = state_of(path)
        weights = path / SAFETENSORS_NAME
        weights = safetensors_file.read(weights).tensors if weights.is_file() else {}
        training = safetensors_file.read(path / TRAINING_NAME).tensors
    except (WeightsError, OSError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(str(error)) from error
    return Checkpoint(path, state, weights, training)
