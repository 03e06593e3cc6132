"""From what a user names, a file, a folder or a place on the hub, to an open checkpoint."""

from pathlib import Path

from keras_convnextv2.models.normalisation import IMAGENET_MEAN, IMAGENET_STD
from keras_convnextv2.weights import hub, keras_file, pytorch_file, safetensors_file
from keras_convnextv2.weights.checkpoint import Checkpoint
from keras_convnextv2.weights.description import Description
from keras_convnextv2.weights.errors import WeightsError, in_brief
from keras_convnextv2.weights.folders import (
    CONFIG_NAME,
    INDEX_NAME,
    WEIGHTS_NAMES,
    folder_of_weights,
    part_names,
    read_json,
)
from keras_convnextv2.weights.formats import FORMATS
from keras_convnextv2.weights.presets import PRESETS
from keras_convnextv2.weights.zip_entries import ZIP_MAGIC, ends_as_archive, open_archive

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PICKLE_MAGIC = b"\x80"


def open_weights(source, entry=None, variant=None):
    """Opens what holds weights; none are read yet.

    Args:
        source: path of a file (safetensors, PyTorch, `.keras`, `.weights.h5`), of a folder with
            one, of a run's folder, or "hf://owner/name" on the Hugging Face hub, also "hf://owner/name@revision".
            The kind of file is told by its content.
        entry: the state dict of a PyTorch file to take, such as "model_ema".
        variant: the `Variant` of a `.weights.h5` file whose shapes do not tell it.

    Returns:
        Checkpoint, described by the `config.json` beside its file too, and by `PRESETS`.

    Raises:
        WeightsError: there is nothing such, or it is damaged or hostile.
    """
    if str(source).startswith(hub.SCHEME):
        path = hub.download(str(source))
    else:
        path = Path(source).expanduser()
    try:
        if path.is_dir():
            path = folder_of_weights(path)
            checkpoint = _open_folder(path, entry)
        elif path.is_file():
            checkpoint = _open_file(path, entry, variant)
        else:
            raise WeightsError(
                f"There is no file or folder {source}. Name one, or hf://owner/name on the hub, of "
                "which `PRESETS` lists the public ones. New weights are those of "
                "`ConvNeXtV2Backbone`."
            )
        if entry is not None and checkpoint.container != "PyTorch":
            raise WeightsError(
                f"Only PyTorch files have entries. Received: entry={entry!r} for "
                f"{checkpoint.path}, which is {checkpoint.container}."
            )
        folder = path if path.is_dir() else path.parent
        in_folder = path.is_dir() or path.name in WEIGHTS_NAMES
        if in_folder and (folder / CONFIG_NAME).is_file():
            config = read_json(folder / CONFIG_NAME)
            checkpoint.description = checkpoint.description.completed_by(_described(config))
            if keras_file.is_of_own_model(config):
                checkpoint.model_config = _own_arguments(config, folder)
                checkpoint.is_own_folder = True
    except OSError as error:
        raise WeightsError(f"{source} cannot be read: {in_brief(error)}") from error
    preset = PRESETS.get(str(source).partition("@")[0])
    if preset is not None:
        size, normalisation = (preset.image_size,) * 2, (IMAGENET_MEAN, IMAGENET_STD)
        known = Description(None, size, preset.licence, normalisation)
        checkpoint.description = known.completed_by(checkpoint.description)
    return checkpoint


def _open_file(path, entry, variant=None):
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # first: before it stands a length, which may look like anything
        checkpoint = safetensors_file.read(path)
    elif start.startswith(ZIP_MAGIC) and _is_keras_archive(path):
        checkpoint = keras_file.read_keras(path)
    elif start.startswith(ZIP_MAGIC) and not ends_as_archive(path):
        raise WeightsError(
            f"{path} is damaged: it begins as a zip file, as .keras and PyTorch's files do, and "
            "does not end as one. If it was copied or downloaded, see whether all of it came."
        )
    elif start.startswith((ZIP_MAGIC, _PICKLE_MAGIC)):
        checkpoint = pytorch_file.read(path, entry)
    elif start.startswith(_HDF5_MAGIC):
        checkpoint = keras_file.read_hdf5(path, variant)
    else:
        what = "is empty" if not start else f"begins with {start[:8]!r}"
        raise WeightsError(
            f"{path} {what}: no safetensors, PyTorch, .keras or .weights.h5 file is like that. If "
            "it was downloaded, see whether it is a web page or a Git LFS pointer."
        )
    return checkpoint


def _is_keras_archive(path):
    try:
        with open_archive(path) as archive:
            return keras_file.WEIGHTS in archive.namelist()
    except Exception:  # zipfile raises anything on damaged bytes; the reader will say it
        return False


def _open_folder(folder, entry):
    names = [name for name in WEIGHTS_NAMES if (folder / name).is_file()]
    if not names:
        raise WeightsError(f"{folder} holds none of {', '.join(WEIGHTS_NAMES)}. Name the file.")
    if names[0] == INDEX_NAME:
        return _open_parts(folder)
    return _open_file(folder / names[0], entry)


def _described(config):
    readers = [format.read_config for format in FORMATS if format.read_config]
    described = [reader(config) for reader in readers] if isinstance(config, dict) else []
    return next(filter(None, described), Description())


def _own_arguments(config, folder):
    try:
        return keras_file.own_arguments(config)
    except WeightsError as error:
        raise WeightsError(f"{folder / CONFIG_NAME} was refused: {error}") from error
    except Exception as error:  # a damaged configuration makes Python raise anything
        raise WeightsError(f"{folder / CONFIG_NAME} is damaged: {in_brief(error)}") from error


def _open_parts(folder):
    tensors = {}
    for name in part_names(folder / INDEX_NAME):
        if not (folder / name).is_file():
            raise WeightsError(f"{folder} lacks {name}, a part of its weights.")
        part = safetensors_file.read(folder / name)
        twice = sorted(set(tensors) & set(part.tensors))
        if twice:
            raise WeightsError(f"{folder} holds {len(twice)} keys twice, among them {twice[0]}.")
        tensors.update(part.tensors)
    return Checkpoint(folder, "safetensors, in parts", tensors)
