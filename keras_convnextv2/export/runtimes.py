"""Runs an exported artefact in its own runtime, without Keras and without this package.

`open_artefact` needs NumPy and that runtime alone. As a program, `python -I runtimes.py ARTEFACT
FOLDER THREADS REPETITIONS`, it is the clean process in which `export.check` tries an artefact: it
reads `images0.npy` and so on from the folder, writes `outputs0.npy` and so on, and prints the
median latency as JSON.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

METADATA_FILE = "keras_convnextv2.json"
METADATA_KEY = "keras_convnextv2"

# Kind of artefact: the name that its files end in, the package that runs it.
SUFFIXES = {"litert": ".tflite", "onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
PACKAGES = {
    "saved_model": "tensorflow",
    "litert": "ai_edge_litert",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "torch": "torch",
}


def kind_of(path):
    """The kind of artefact that a path holds, a key of `PACKAGES`, or None.

    Args:
        path: a file, or for a SavedModel a folder.
    """
    path = Path(path)
    if path.is_dir():
        return "saved_model" if (path / "saved_model.pb").is_file() else None
    return next((kind for kind, suffix in SUFFIXES.items() if path.suffix == suffix), None)


class Artefact:
    """An exported model that is ready to run.

    Attributes:
        kind: a key of `PACKAGES`.
        metadata: dict, as `Settings.metadata` in `export/settings.py` makes it.
    """

    def __init__(self, kind, metadata, run):
        self.kind = kind
        self.metadata = metadata
        self._run = run

    def __call__(self, images):
        """The outputs for images, as the artefact's metadata describes both.

        Args:
            images: (N, H, W, C) of the artefact's dtype and size. Any N: where the artefact has a
                fixed batch, images are given to it in such batches, the last one filled up.

        Returns:
            float32 (N, ...), logits, probabilities or features.

        Raises:
            ValueError: images of another dtype or size.
        """
        batch, *size = self.metadata["input"]["shape"]
        dtype = self.metadata["input"]["dtype"]
        images = np.asarray(images)
        fits = images.ndim == 4 and all(
            wanted in (None, given) for wanted, given in zip(size, images.shape[1:], strict=True)
        )
        if images.dtype != dtype or not fits or len(images) == 0:
            wanted = ", ".join("any" if side is None else str(side) for side in size)
            raise ValueError(
                f"The artefact takes {dtype} images (N, {wanted}). Received: {images.dtype} "
                f"{images.shape}"
            )
        if batch is None:
            return np.asarray(self._run(images), "float32")
        outputs = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            filling = np.repeat(part[-1:], batch - len(part), axis=0)
            output = self._run(np.concatenate([part, filling]))
            outputs.append(np.array(output, "float32")[: len(part)])
        return np.concatenate(outputs)


def open_artefact(path, threads=None):
    """Opens a SavedModel, LiteRT, ONNX, OpenVINO or PyTorch artefact.

    Args:
        path: str or Path.
        threads: optional int, CPU threads to use; None leaves it to the runtime.

    Returns:
        An `Artefact`.

    Raises:
        ValueError: a path that holds no artefact, a damaged one, or one without this package's
            metadata.
        ModuleNotFoundError: its runtime is not installed.
        OSError: the file cannot be read.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.export import export_model, open_artefact
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> report = export_model(model, "model.onnx", include_preprocessing=True)
        >>> artefact = open_artefact("model.onnx")
        >>> artefact.metadata["input"]["dtype"], artefact.metadata["input"]["shape"]
        ('uint8', [None, 64, 64, 3])
        >>> artefact(np.zeros((3, 64, 64, 3), "uint8")).shape
        (3, 2)
    """
    path = Path(path)
    kind = kind_of(path)
    if kind is None:
        if not path.exists():
            raise FileNotFoundError(f"There is no {path}")
        raise ValueError(
            f"{path} is no artefact: expected a SavedModel's folder or a file that ends in "
            f"{', '.join(SUFFIXES.values())}."
        )
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}")
    openers = {
        "saved_model": _open_saved_model,
        "litert": _open_litert,
        "onnx": _open_onnx,
        "openvino": _open_openvino,
        "torch": _open_torch,
    }
    try:
        text, run = openers[kind](path, threads)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each runtime raises its own
        if isinstance(error, OSError) and str(path) in str(error):
            raise
        raise ValueError(
            f"{path} cannot be opened by {PACKAGES[kind]}; copy or export it again "
            f"({type(error).__name__}: {error})"
        ) from error
    if text is None:
        raise ValueError(f"{path} was not exported by keras-convnextv2: it holds no metadata of it")
    return Artefact(kind, json.loads(text), run)


def _open_saved_model(path, threads):
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    file = path / "assets.extra" / METADATA_FILE
    text = file.read_text() if file.is_file() else None
    call = tf.saved_model.load(str(path)).signatures["serving_default"]

    def run(images):
        (output,) = call(images=tf.constant(images)).values()
        return output.numpy()

    run.loaded = call  # whose variables would go with it
    return text, run


def _open_litert(path, threads):
    from ai_edge_litert.interpreter import Interpreter

    content = path.read_bytes()
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    known = None

    def run(images):
        nonlocal known
        if images.shape != known:
            interpreter.resize_tensor_input(source["index"], images.shape)
            interpreter.allocate_tensors()
            known = images.shape
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return _litert_metadata(content), run


def _litert_metadata(content):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    for place in range(model.MetadataLength()):
        entry = model.Metadata(place)
        if entry.Name() == METADATA_KEY.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode()
    return None


def _open_onnx(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    name = session.get_inputs()[0].name
    return text, lambda images: session.run(None, {name: images})[0]


def _open_openvino(path, threads):
    import openvino

    core = openvino.Core()
    if threads is not None:
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
    # Its default on some CPUs is bfloat16.
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    model = core.read_model(path)
    place = ["model_info", METADATA_KEY]
    text = model.get_rt_info(place).astype(str) if model.has_rt_info(place) else None
    compiled = core.compile_model(model, "CPU")
    return text, lambda images: compiled(images)[0]


def _open_torch(path, threads):
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    extra = {METADATA_FILE: ""}
    program = torch.export.load(str(path), extra_files=extra)
    module = program.module()

    def run(images):
        try:
            with torch.inference_mode():
                return module(torch.from_numpy(np.ascontiguousarray(images))).numpy()
        except AssertionError as error:  # of a size that the program was not traced for
            raise ValueError(
                f"The program does not take images of the shape {images.shape}: {error}"
            ) from error

    return extra[METADATA_FILE] or None, run


def measure(artefact, folder, repetitions):
    """Runs all images of a folder, leaves the outputs there, and times a batch of the last."""
    for number in range(len(list(folder.glob("images*.npy")))):
        images = np.load(folder / f"images{number}.npy")
        np.save(folder / f"outputs{number}.npy", artefact(images))
    batch = artefact.metadata["input"]["shape"][0] or 1
    part = np.resize(images, (batch, *images.shape[1:]))
    artefact(part)
    seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        artefact(part)
        seconds.append(time.perf_counter() - started)
    return {
        "latency_batch_size": batch,
        "latency_milliseconds": 1000 * statistics.median(seconds),
    }


if __name__ == "__main__":
    path, folder, threads, repetitions = sys.argv[1:]
    measured = measure(open_artefact(path, int(threads)), Path(folder), int(repetitions))
    if "keras_convnextv2" in sys.modules:
        raise ImportError(f"{path} needs keras_convnextv2 to run")
    print(json.dumps(measured))
