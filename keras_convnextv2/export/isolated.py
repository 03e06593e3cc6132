"""Writing an artefact in a process of its own, with the framework that the format needs.

The process is `python -m keras_convnextv2.export.isolated FORMAT FOLDER PATH`.
"""

import dataclasses
import importlib
import json
import sys
import tempfile
from pathlib import Path

from keras_convnextv2.export.network import Network
from keras_convnextv2.export.processes import run_python
from keras_convnextv2.export.settings import Settings

# Format: the module that writes it, which is its framework's and Keras's backend's name too.
_WRITERS = {"saved_model": ("saved_model", "tensorflow"), "torch": ("torch_program", "torch")}


def write(format, network, path, settings):
    """Writes a network in one of the formats that need a framework, "saved_model" or "torch".

    Raises:
        ExportError: the process failed; its last words are told.
    """
    _, backend = _WRITERS[format]
    with tempfile.TemporaryDirectory() as folder:
        network.save(folder)
        Path(folder, "settings.json").write_text(json.dumps(dataclasses.asdict(settings)))
        run_python(
            ["-m", __name__, format, folder, str(path)],
            f"{backend} failed to write {path}",
            KERAS_BACKEND=backend,
        )


def _main(format, folder, path):
    name, _ = _WRITERS[format]
    writer = importlib.import_module(f"keras_convnextv2.export.{name}")
    fields = json.loads(Path(folder, "settings.json").read_text())
    writer.write(Network.load(folder), path, Settings(**fields))


if __name__ == "__main__":
    _main(*sys.argv[1:])
