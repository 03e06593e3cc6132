"""An artefact is a program that somebody else may have written: what ours never hold is refused."""

import io
import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest

from keras_convnextv2.export import open_artefact, runtimes, saved_model_layer
from keras_convnextv2.export.runtimes import METADATA_FILE, foreign_operations
from tools import list_operations

pytestmark = pytest.mark.one_backend
REFUSED = "was refused: it holds what no export of keras-convnextv2 does, "


# Of TensorFlow and PyTorch some alone: a second each. `tools.list_operations` tries all.
@pytest.mark.parametrize("format", ["onnx", "torch", "saved_model"])
def test_every_kind_of_export_holds_known_operations_alone(format, tmp_path):
    every = 1 if format == "onnx" else 23  # so that each option is met
    chosen = list(list_operations.variants())[::every]
    assert len(chosen) >= 4
    for number, (model, options) in enumerate(chosen):
        folder = tmp_path / str(number)
        list_operations.operations_of(model, format, folder, options)
        (path,) = (path for path in folder.iterdir())
        assert foreign_operations(path) == []


def test_no_operation_of_a_list_is_written_no_more(tmp_path):
    """Of ONNX, whose exports are quick; `tools.list_operations` prints the other lists."""
    found = set()
    for number, (model, options) in enumerate(list_operations.variants()):
        found |= list_operations.operations_of(model, "onnx", tmp_path / str(number), options)[0]
    assert found == set(runtimes.OPERATIONS["onnx"].split())


def changed_onnx(source, path, change):
    model = onnx.load(source)
    change(model)
    onnx.save(model, path)
    return path


def with_node(kind, domain=""):
    def change(model):
        node = onnx.helper.make_node(kind, ["outputs"], ["more"], domain=domain)
        model.graph.node.append(node)
        model.graph.output[0].name = "more"

    return change


def test_an_onnx_graph_with_other_operators_runs_when_it_is_trusted(export, images, tmp_path):
    path = changed_onnx(export("model.onnx"), tmp_path / "model.onnx", with_node("Abs"))
    with pytest.raises(ValueError, match=f"model.onnx {REFUSED}Abs. .*--trusted"):
        open_artefact(path)
    expected = np.abs(open_artefact(export("model.onnx"))(images))
    np.testing.assert_array_equal(open_artefact(path, trusted=True)(images), expected)


def test_an_onnx_operator_of_another_domain_or_in_a_function_is_seen(export, tmp_path):
    def call_a_function(model):
        opset = onnx.helper.make_opsetid("", 20)
        node = onnx.helper.make_node("Exp", ["x"], ["y"])
        function = onnx.helper.make_function("ours", "Gelu", ["x"], ["y"], [node], [opset])
        model.functions.append(function)
        with_node("Gelu", "ours")(model)
        model.opset_import.append(onnx.helper.make_opsetid("ours", 1))

    source = export("model.onnx")
    for change, found in (
        (with_node("Add", "com.example"), ["com.example.Add"]),
        (call_a_function, ["Exp", "ours.Gelu"]),
    ):
        path = changed_onnx(source, tmp_path / f"{len(found)}.onnx", change)
        assert foreign_operations(path) == found
        with pytest.raises(ValueError, match=REFUSED):
            open_artefact(path)


def test_onnx_weights_of_another_folder_are_not_read(export, tmp_path):
    def read_elsewhere(location):
        def change(model):
            tensor = model.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)

        return change

    for number, location in enumerate(("../secret", "/etc/hostname", "a\\\\b", "..")):
        model = onnx.load(export("model.onnx"))
        read_elsewhere(location)(model)
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(model.SerializeToString())
        assert foreign_operations(path) == [f"weights in {location}"]
    path = changed_onnx(export("model.onnx"), tmp_path / "n.onnx", lambda model: None)
    model = onnx.load(path)
    read_elsewhere("n.onnx.data")(model)
    path.write_bytes(model.SerializeToString())
    assert foreign_operations(path) == []


@pytest.fixture(scope="module")
def make_saved_model(export):
    """Writes a SavedModel that serves what a function computes, with the metadata of ours."""
    import tensorflow as tf

    metadata = (export("model") / "assets.extra" / METADATA_FILE).read_text()

    def make(path, function):
        module = tf.Module()
        signature = [tf.TensorSpec((None, 64, 96, 3), tf.float32, name="images")]
        module.serve = tf.function(function, input_signature=signature)
        tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / METADATA_FILE).write_text(metadata)
        return path

    return make


def test_a_saved_model_that_writes_a_file_runs_only_when_it_is_trusted(
    make_saved_model, images, tmp_path
):
    import tensorflow as tf

    written = tmp_path / "written"

    def write(images):
        tf.io.write_file(str(written), "mine")
        return {"outputs": tf.reduce_mean(images, (1, 2))[:, :1] * tf.ones((1, 5))}

    path = make_saved_model(tmp_path / "model", write)
    with pytest.raises(ValueError, match=rf"model {REFUSED}.*WriteFile.*--trusted"):
        open_artefact(path)
    with pytest.raises(ValueError, match="WriteFile"):
        saved_model_layer(path)
    assert not written.exists()
    assert open_artefact(path, trusted=True)(images).shape == (2, 5)
    assert written.read_text() == "mine"


def test_a_saved_model_may_not_run_what_its_saver_holds(make_saved_model, export, tmp_path):
    import tensorflow as tf

    assert "SaveV2" in runtimes.SAVER_OPERATIONS.split()
    assert "SaveV2" in runtimes.operations_in(export("model"))[1]

    @tf.function
    def hidden_in_another(images):
        tf.raw_ops.SaveV2(
            prefix=str(tmp_path / "checkpoint"),
            tensor_names=["a"],
            shape_and_slices=[""],
            tensors=[images],
        )
        return tf.reduce_mean(images, (1, 2))

    def save(images):
        branch = tf.cond(images[0, 0, 0, 0] > 0, lambda: hidden_in_another(images), lambda: images)
        return {"outputs": tf.reshape(branch, (-1, 5))}

    path = make_saved_model(tmp_path / "model", save)
    assert "SaveV2" in foreign_operations(path)
    with pytest.raises(ValueError, match=REFUSED):
        open_artefact(path)


def test_a_saved_model_of_tensorflow_1_is_refused(tmp_path):
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, 64, 96, 3), "images")
        outputs = tf.identity(images)
        tf.compat.v1.saved_model.simple_save(
            session, str(tmp_path / "model"), {"images": images}, {"outputs": outputs}
        )
    with pytest.raises(ValueError, match=f"{REFUSED}a graph of TensorFlow 1"):
        open_artefact(tmp_path / "model")


def test_a_saved_model_is_not_given_to_tensorflow_before_it_is_read(export, tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.saved_model, "load", lambda *_: pytest.fail("was loaded"))
    content = (export("model") / "saved_model.pb").read_bytes()
    assert content.count(b"Conv2D") > 1
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(content.replace(b"Conv2D", b"Evil2D"))
    with pytest.raises(ValueError, match=f"{REFUSED}Evil2D"):
        open_artefact(tmp_path / "model")


def changed_program(source, path, change, added=None):
    """A copy of a .pt2 file with another graph, by `change(dict)`, or with files `added`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            record = name.partition("/")[2]
            if record == "models/model.json":
                graph = json.loads(content)
                change(graph)
                content = json.dumps(graph).encode()
            if record in (added or {}):
                content = added.pop(record)
            new.writestr(name, content)
        root = name.partition("/")[0]
        for record, content in (added or {}).items():
            new.writestr(f"{root}/{record}", content)
    return path


def test_a_pytorch_program_with_other_operations_runs_when_it_is_trusted(export, images, tmp_path):
    import torch

    class Absolute(torch.nn.Module):
        def forward(self, images):
            return images.mean((1, 2)).abs()[:, :1] * torch.ones(1, 5)

    program = torch.export.export(Absolute(), (torch.from_numpy(images),))
    path = tmp_path / "model.pt2"
    extra = {METADATA_FILE: json.dumps(open_artefact(export("model.pt2")).metadata)}
    torch.export.save(program, path, extra_files=extra)
    with pytest.raises(ValueError, match=f"model.pt2 {REFUSED}.*torch.ops.aten.abs.default"):
        open_artefact(path)
    expected = np.abs(images.mean((1, 2)))[:, :1].repeat(5, 1)
    np.testing.assert_allclose(open_artefact(path, trusted=True)(images), expected, atol=1e-6)


IN_SPEC = '[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'
INJECTED = {  # what is found: how it comes into a program and its graph
    "as guards_code": lambda program, graph, evil: program["guards_code"].append(evil),
    "as expr_str": lambda program, graph, evil: graph["sym_int_values"].update(
        x={"as_expr": {"expr_str": evil, "hint": None}}
    ),
    "as name": lambda program, graph, evil: graph["inputs"].append(
        {"as_tensor": {"name": f"x={evil}"}}
    ),
    "as a name": lambda program, graph, evil: graph["tensor_values"].update({evil: 1}),
    "as in_spec": lambda program, graph, evil: program["graph_module"]["module_call_graph"][0][
        "signature"
    ].update(in_spec=IN_SPEC),
    "torch.os.system": lambda program, graph, evil: graph["nodes"][0].update(
        target="torch.os.system"
    ),
}


@pytest.mark.parametrize("found", INJECTED)
def test_what_pytorch_would_evaluate_of_a_program_is_refused(export, tmp_path, found):
    written = tmp_path / "written"
    evil = f"__import__('pathlib').Path('{written}').write_text('mine')"
    path = tmp_path / "model.pt2"
    changed_program(
        export("model.pt2"),
        path,
        lambda program: INJECTED[found](program, program["graph_module"]["graph"], evil),
    )
    with pytest.raises(ValueError, match=rf"model.pt2 {REFUSED}.*{found}\. "):
        open_artefact(path)
    assert not written.exists()


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_pickles_in_a_pytorch_program_are_refused(export, tmp_path):
    import torch

    written = pathlib.Path(tmp_path, "written")
    pickled = io.BytesIO()
    torch.save((Evil(written),), pickled)
    samples = {"data/sample_inputs/model.pt": pickled.getvalue()}
    config = {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}
    weights = {
        "data/weights/model_weights_config.json": json.dumps({"config": {"a": config}}).encode()
    }
    objects = {"data/constants/custom_obj_0": b"pickle"}
    compiled = {"data/aotinductor/model/model.so": b"code"}
    for number, (added, found) in enumerate(
        (
            (samples, "a pickle that is no tensors"),
            (weights, "pickled weights"),
            (objects, "a file data/constants/custom_obj_0"),
            (compiled, "a file data/aotinductor/model/model.so"),
        )
    ):
        path = tmp_path / f"{number}.pt2"
        changed_program(export("model.pt2"), path, lambda program: None, added)
        with pytest.raises(ValueError, match=REFUSED + found):
            open_artefact(path)
    assert not written.exists()


def test_a_file_that_torch_and_zipfile_see_differently_is_refused(export, tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(export("model.pt2").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "version", "8.20"
        )  # outside the folder: what an earlier format begins with
    with pytest.raises(ValueError, match=f"{REFUSED}a hidden file|cannot be opened by torch"):
        open_artefact(path)


def test_the_file_of_the_runtimes_works_when_it_is_copied_alone(export, images, tmp_path):
    copied = tmp_path / "copied.py"
    copied.write_bytes(pathlib.Path(runtimes.__file__).read_bytes())
    np.save(tmp_path / "images.npy", images)
    script = (
        "import runpy, sys, numpy; copied, folder, *paths = sys.argv[1:]\n"
        "open_artefact = runpy.run_path(copied)['open_artefact']\n"
        "images = numpy.load(folder + '/images.npy')\n"
        "for number, path in enumerate(paths):\n"
        "    numpy.save(f'{folder}/{number}.npy', open_artefact(path)(images))\n"
        "assert not {'keras_convnextv2', 'onnx'} & set(sys.modules)\n"
    )
    paths = [export(name) for name in ("model.onnx", "model.tflite", "model.pt2", "model")]
    words = [sys.executable, "-I", "-c", script, copied, tmp_path, *paths]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = open_artefact(paths[0])(images)
    for number in range(len(paths)):
        found = np.load(tmp_path / f"{number}.npy")
        np.testing.assert_allclose(found, expected, atol=5e-5)
