"""Runs an exported artefact in its own runtime, without Keras and without this package.

`open_artefact` needs NumPy and that runtime alone, and this file alone may be copied. An artefact
may come from anybody, so what it holds is compared with what our exports hold before the runtime
sees it. As a program, `python -I runtimes.py ARTEFACT
FOLDER THREADS REPETITIONS`, it is the clean process in which `export.check` tries an artefact: it
reads `images0.npy` and so on from the folder, writes `outputs0.npy` and so on, and prints the
median latency as JSON.
"""

import io
import json
import math
import pickle
import re
import statistics
import sys
import time
import zipfile
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

# What our exports compute with. Others are refused: TensorFlow can write files, and what a .pt2
# holds is made into Python. LiteRT's and OpenVINO's own operations only compute, and neither is
# given others here. The lists are printed by `python -m tools.list_operations`, which exports
# models with every option; tests/export/test_operations.py holds exports to them.
OPERATIONS = {
    "saved_model": """
        AddV2 Cast Const Conv2D DepthwiseConv2dNative Erfc Greater Identity MatMul Mean Mul Neg NoOp
        ReadVariableOp RealDiv Rsqrt SelectV2 Sigmoid Softmax Sqrt Square SquaredDifference
        StatefulPartitionedCall StopGradient StridedSlice Sub Sum""",
    "onnx": """
        Add Cast Conv Div Gelu Identity LayerNormalization MatMul Mul ReduceL2 ReduceMean Sigmoid
        Softmax Transpose""",
    "torch": """
        torch.ops.aten._assert_tensor_metadata.default torch.ops.aten.add.Tensor
        torch.ops.aten.conv2d.default torch.ops.aten.div.Tensor torch.ops.aten.gelu.default
        torch.ops.aten.layer_norm.default torch.ops.aten.linalg_vector_norm.default
        torch.ops.aten.linear.default torch.ops.aten.mean.dim torch.ops.aten.mul.Tensor
        torch.ops.aten.numpy_T.default torch.ops.aten.permute.default
        torch.ops.aten.sigmoid.default torch.ops.aten.softmax.int torch.ops.aten.to.dtype""",
}
# Of a SavedModel's saver for TensorFlow 1, which nothing here runs.
SAVER_OPERATIONS = """
    AssignVariableOp DisableCopyOnRead MergeV2Checkpoints Pack Placeholder RestoreV2 SaveV2 Select
    ShardedFilename StaticRegexFullMatch StringJoin VarHandleOp"""

# The files in a .pt2, and the texts in its graph, by their names; PyTorch evaluates the first two.
_TORCH_FILES = re.compile(
    r"data/weights/(weight_[0-9]+|model_weights_config\.json)|models/model\.json|byteorder"
    r"|data/constants/model_constants_config\.json|data/sample_inputs/model\.pt|\.data/\w+"
    rf"|extra/{re.escape(METADATA_FILE)}|archive_format|archive_version|version"
    r"|\.format_version|\.storage_alignment"
)
_TORCH_TEXTS = {
    "expr_str": re.compile(
        r"(Symbol\('[su][0-9]+'(, (positive|integer)=True)*\)|Integer|FloorDiv|Mod|Mul|Add|Max|Min"
        r"|[su][0-9]|[-+*/%(), 0-9])*"
    ),
    "guards_code": re.compile(
        r"(L\['\w+'\]|\.size\(\)|\[[0-9]\]|max|min|Mod|[-+*/%<>=!(), 0-9])*", re.ASCII
    ),
    **dict.fromkeys(
        ("in_spec", "out_spec"),
        re.compile(
            r'("(type|context|children_spec|null|\[\]|builtins\.(tuple|dict))"|null|[][{}:, 1])*'
        ),
    ),
}
_TORCH_NAME = re.compile(r"[\w.+]*", re.ASCII)


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
            ValueError: images of another dtype or size, or an artefact that fails at them.
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
            return self._outputs(images)
        outputs = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            filling = np.repeat(part[-1:], batch - len(part), axis=0)
            outputs.append(self._outputs(np.concatenate([part, filling]))[: len(part)])
        return np.concatenate(outputs)

    def _outputs(self, images):
        try:
            outputs = np.array(self._run(images), "float32")
        except (ValueError, MemoryError):
            raise
        except Exception as error:  # each runtime raises its own
            raise ValueError(
                f"The artefact fails at images of the shape {images.shape}; copy or export it "
                f"again ({type(error).__name__}: {error})"
            ) from error
        names = self.metadata.get("class_names")
        kind = self.metadata.get("output", {}).get("kind")
        rank = outputs.ndim if kind is None else 4 if kind == "features" else 2
        fits = outputs.ndim == rank and len(outputs) == len(images)
        if not fits or not (names is None or outputs.shape[-1] == len(names)):
            raise ValueError(
                f"The artefact gives an output of the shape {outputs.shape} for images of the "
                f"shape {images.shape}, which is not what it says of itself; copy or export it "
                "again"
            )
        return outputs


def open_artefact(path, threads=None, trusted=False):
    """Opens a SavedModel, LiteRT, ONNX, OpenVINO or PyTorch artefact.

    Args:
        path: str or Path.
        threads: optional int, CPU threads to use; None leaves it to the runtime.
        trusted: bool; True: what it computes with is not compared with what our exports hold. A
            SavedModel may then write files, and a .pt2 run any program.

    Returns:
        An `Artefact`.

    Raises:
        ValueError: a path that holds no artefact, a damaged one, one without this package's
            metadata, or one with other operations than our exports have.
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
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}")
    if kind is None or not (path.is_file() or kind == "saved_model"):
        raise ValueError(
            f"{path} is no artefact: expected a SavedModel's folder or a file that ends in "
            f"{', '.join(SUFFIXES.values())}."
        )
    openers = {
        "saved_model": _open_saved_model,
        "litert": _open_litert,
        "onnx": _open_onnx,
        "openvino": _open_openvino,
        "torch": _open_torch,
    }
    try:
        foreign = [] if trusted else foreign_operations(path)
        text, run = (None, None) if foreign else openers[kind](path, threads)
        metadata = None if text is None else json.loads(text)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # each runtime raises its own
        if isinstance(error, OSError) and str(path) in str(error):
            raise
        raise ValueError(
            f"{path} cannot be opened by {PACKAGES[kind]}; copy or export it again "
            f"({type(error).__name__}: {error})"
        ) from error
    if foreign:
        raise ValueError(refusal(path, foreign))
    if metadata is None:
        raise ValueError(f"{path} was not exported by keras-convnextv2: it holds no metadata of it")
    if not _is_complete(metadata):
        raise ValueError(f"{path} holds damaged metadata; copy or export it again")
    return Artefact(kind, metadata, run)


def _is_complete(metadata):
    """Whether an artefact says of itself all that running it takes."""

    def is_count(number):
        return type(number) is int and number > 0

    try:
        taken, given, names = metadata["input"], metadata["output"], metadata["class_names"]
        variant = metadata["variant"]
        *sides, channels = taken["shape"]
        numbers = [*taken["mean"], *taken["std"]]
        return all(
            (
                len(sides) == 3 and all(side is None or is_count(side) for side in sides),
                is_count(channels) and is_count(metadata["total_stride"]),
                taken["dtype"] in ("uint8", "float32"),
                len(taken["mean"]) == len(taken["std"]) == channels,
                all(math.isfinite(number) for number in numbers) and min(taken["std"]) > 0,
                given["kind"] in ("logits", "probabilities", "features"),
                0 < given.get("temperature", 1) < math.inf,
                isinstance(given.get("multi_label", False), bool),
                names is None
                or (isinstance(names, list) and all(isinstance(name, str) for name in names)),
                isinstance(metadata["licence"], str | None),
                isinstance(metadata["precision"], str),
                isinstance(variant, str)
                or all(isinstance(variant[part], list) for part in ("depths", "widths")),
            )
        )
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return False


def refusal(path, foreign):
    """What is said of an artefact that holds `foreign_operations`."""
    return (
        f"{path} was refused: it holds what no export of keras-convnextv2 does, "
        f"{', '.join(foreign[:5])}{' and more' if len(foreign) > 5 else ''}. With trusted=True "
        "(--trusted of recipes) it is run all the same, and may do anything to your files"
    )


def foreign_operations(path):
    """What an artefact holds that no export does, such as operations that write files.

    Args:
        path: str or Path of an artefact.

    Returns:
        A sorted list of str, empty for all that `export_model` wrote.

    Raises:
        Exception: of any type, where it is damaged.
    """
    run, left_alone = operations_in(path)
    known = set(OPERATIONS.get(kind_of(path), "").split())
    return sorted((run - known) | (left_alone - known).difference(SAVER_OPERATIONS.split()))


def operations_in(path):
    """What an artefact computes with, and what else is in it and is not run: two sets of str.

    Both are empty for LiteRT and OpenVINO. Raises Exceptions of any type, where it is damaged.
    """
    readers = {"saved_model": _in_saved_model, "onnx": _in_onnx, "torch": _in_torch}
    kind = kind_of(path)
    return readers[kind](Path(path)) if kind in readers else (set(), set())


def _in_saved_model(path):
    content = memoryview((path / "saved_model.pb").read_bytes())
    objects = b"".join(_fields(content, 2, 7))
    if not objects or len(list(_fields(content, 2))) != 1:
        return {"a graph of TensorFlow 1"}, set()
    bodies = {}
    for function in _fields(content, 2, 2, 2, 1):
        bodies.setdefault(_text(function, 1, 1), []).append(bytes(function))
    bodies = {name: b"".join(found) for name, found in bodies.items()}
    # What may be run is what the objects name, what gradients are computed by, and what either
    # calls. The rest is the saver's; it is of use to TensorFlow 1 alone, and does write files.
    naming = b"".join([objects, *_fields(content, 2, 2, 2, 2), *_fields(content, 2, 2, 2, 3)])
    runs, waiting = set(), [naming]
    while waiting:
        body = waiting.pop()
        called = {name for name in bodies if name.encode() in body} - runs
        runs |= called
        waiting += [bodies[name] for name in called]
    graph = _texts(content, 2, 2, 1, 2)
    functions = {name for name in bodies if name.startswith("__inference_")}
    run = {name for called in runs for name in _texts(bodies[called], 3, 2)} - functions
    everything = {name for body in bodies.values() for name in _texts(body, 3, 2)}.union(graph)
    return run, everything - functions - run


def _in_onnx(path):
    content = memoryview(np.memmap(path, "uint8", "r"))
    found = set()
    for node in [*_fields(content, 7, 1), *_fields(content, 25, 7)]:
        domain = ".".join(_texts(node, 7))
        found |= {f"{domain}.{name}" if domain else name for name in _texts(node, 4)}
    for entry in _fields(content, 7, 5, 13):  # where weights stand outside
        name = _text(entry, 2)
        if _text(entry, 1) == "location" and not re.fullmatch(r"\w[^/\\]*", name):
            found.add(f"weights in {name}")
    return found, set()


def _in_torch(path):
    import torch

    reader = torch._C.PyTorchFileReader(str(path))
    files = set(reader.get_all_records())
    with zipfile.ZipFile(path) as archive:  # by which PyTorch reads what it cannot read otherwise
        hidden = files ^ {name.partition("/")[2] for name in archive.namelist()}
    found = {f"a file {name}" for name in files if not _TORCH_FILES.fullmatch(name)}
    found |= {f"a hidden file {name}" for name in hidden}
    for name in ("weights", "constants"):
        config = json.loads(reader.get_record(f"data/{name}/model_{name}_config.json"))
        if any(entry["use_pickle"] for entry in config["config"].values()):
            found.add(f"pickled {name}")
    try:  # PyTorch takes any pickle where this way fails
        samples = reader.get_record("data/sample_inputs/model.pt")
        torch.load(io.BytesIO(samples), weights_only=True)
    except pickle.UnpicklingError:
        found.add("a pickle that is no tensors")
    for name, text in _texts_in(json.loads(reader.get_record("models/model.json"))):
        if name == "target":
            found.add(text)
        elif not _TORCH_TEXTS.get(name, _TORCH_NAME).fullmatch(text):
            found.add(f"{text[:60]!r} as {name or 'a name'}")
    return found, set()


def _texts_in(value, name=""):
    """(name, text) of all texts in what was JSON, the names in it too."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part, name)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield "", key
            if key != "metadata":  # where a node was in its maker's program: kept, and not read
                yield from _texts_in(part, key)


def _texts(message, *numbers):
    """The strings at a path of field numbers of a protobuf message."""
    return [bytes(value).decode("utf-8", "replace") for value in _fields(message, *numbers)]


def _text(message, *numbers):
    (text,) = _texts(message, *numbers)
    return text


def _fields(message, number, *numbers):
    """The values at a path of field numbers of a protobuf message, which neither ONNX Runtime nor
    this file brings a reader for.

    Raises:
        ValueError, IndexError: it is damaged.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        size = {1: 8, 5: 4}.get(kind)
        if kind in (0, 2):
            size, place = _varint(message, place)
            size = 0 if kind == 0 else size  # then it was the value
        is_wanted = key >> 3 == number
        if size is None or key >> 32 or place + size > len(message) or (is_wanted and kind != 2):
            raise ValueError("a damaged protobuf message")
        value = message[place : place + size]
        place += size
        if is_wanted:
            yield from _fields(value, *numbers) if numbers else [value]


def _varint(message, place):
    value = 0
    for shift in range(0, 70, 7):
        value |= (message[place] & 127) << shift
        place += 1
        if message[place - 1] < 128:
            return value, place
    raise ValueError("a damaged protobuf message")


def _open_saved_model(path, threads):
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    file = path / "assets.extra" / METADATA_FILE
    text = file.read_text(encoding="utf-8") if file.is_file() else None
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
    # Trusted, since we have just written it: with another version of its framework than the lists
    # are of, it may hold what they lack.
    artefact = open_artefact(path, int(threads), trusted=True)
    measured = measure(artefact, Path(folder), int(repetitions))
    if "keras_convnextv2" in sys.modules:
        raise ImportError(f"{path} needs keras_convnextv2 to run")
    print(json.dumps(measured))
