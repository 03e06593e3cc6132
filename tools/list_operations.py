r"""Prints the lists of operations that `export/runtimes.py` lets an artefact have.

    KERAS_BACKEND=torch python -m tools.list_operations

Models are exported with every option that changes a graph; what is computed does not depend on
their sizes. It takes ten minutes, and needs TensorFlow and PyTorch. After a change of an exporter,
or of the framework that it writes with, the lists go into `OPERATIONS` and `SAVER_OPERATIONS`; what
else of a .pt2 is compared stands below them, and is printed as a line in quotation marks here.
"""

import itertools
import tempfile
import textwrap
from pathlib import Path

from recipes import program

_SIZES = ((64, 96), (None, 96), (None, None))
_ACTIVATIONS = (None, "softmax", "sigmoid")
_NAMES = {"saved_model": "model", "onnx": "model.onnx", "torch": "model.pt2"}


def main():
    with tempfile.TemporaryDirectory() as folder:
        for format in _NAMES:
            run, left_alone = set(), set()
            for number, (model, options) in enumerate(variants()):
                found, rest = operations_of(
                    model, format, Path(folder, f"{format}{number}"), options
                )
                run |= found
                left_alone |= rest
            _print(format, run)
            if left_alone:
                _print(f"{format}, not run", left_alone - run)


def variants():
    """(model, arguments of `make_settings`) of every kind of graph."""
    import keras_convnextv2 as kc

    variant = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(variant, (None, None, 3))
    classifiers = [kc.ConvNeXtV2Classifier(backbone, 5, activation=name) for name in _ACTIVATIONS]
    grey = kc.ConvNeXtV2Backbone(variant, (None, None, 1), stem_stride=1)
    for model, size, batch_size, pixels in itertools.product(
        (backbone, *classifiers, grey), _SIZES, (None, 1, 2), (False, True)
    ):
        channels = getattr(model, "backbone", model).image_shape[-1]
        yield (
            model,
            {
                "image_size": size,
                "batch_size": batch_size,
                "include_preprocessing": pixels,
                "normalisation": ((0.5,) * channels, (0.3,) * channels),
            },
        )


def operations_of(model, format, folder, options):
    """`operations_in` an artefact of a model, that is written into a new folder in this process."""
    from keras_convnextv2.export import onnx_graph, saved_model, torch_program
    from keras_convnextv2.export.arguments import make_settings
    from keras_convnextv2.export.artefact import as_asked
    from keras_convnextv2.export.network import network_of
    from keras_convnextv2.export.runtimes import operations_in

    writers = {"saved_model": saved_model, "onnx": onnx_graph, "torch": torch_program}
    settings = make_settings(model, **options)
    path = folder / _NAMES[format]
    folder.mkdir()
    writers[format].write(as_asked(network_of(model), settings), path, settings)
    return operations_in(path)


def _print(name, operations):
    lines = textwrap.wrap(" ".join(sorted(operations)), 90, break_on_hyphens=False)
    print("\n    ".join([f"{name}:", *lines]), flush=True)


if __name__ == "__main__":
    program.run(main)
