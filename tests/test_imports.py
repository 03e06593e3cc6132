"""The rooms of the package and the one way imports run between them."""

import ast
import json
import pathlib
import sys
import tomllib
from dataclasses import dataclass

import pytest

from tests.reference.processes import run_python

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "keras_convnextv2"

# What a room may import of the package besides itself.
ROOMS = {
    "insides": set(),  # one file, of names that Keras and the backends do not promise to keep
    "whole_files": set(),  # one file, of how anything is written
    "layers": {"insides"},
    "training": {"insides", "layers", "whole_files"},  # for the optimizer's fast paths
    "models": {"insides", "layers", "training"},  # for what happens around a step
    "fcmae": {"insides", "layers", "models", "training"},  # for the step and the default optimizer
    # For masks, and what pretraining with them shares: fcmae.
    "latent_prediction": {"fcmae", "layers", "models", "training"},
    "weights": {"layers", "models", "fcmae", "whole_files"},
    # For the images of the trial: data.
    "export": {"layers", "models", "fcmae", "weights", "data", "whole_files"},
    "analysis": {"layers", "models", "fcmae", "whole_files"},
    "data": {"models", "whole_files"},  # for the normalisation of the images
    # For the processes of a training: training.
    "runs": {"insides", "models", "training", "weights", "whole_files"},
}
# What a room offers that is of a room above it: in a function, asked for by its name alone.
OFFERED = {("training", "runs.Checkpoints")}
NEVER = {"absl", "recipes", "tests", "tools"}
BACKENDS = {"jax", "jaxlib", "tensorflow", "torch"}
BACKEND_HOMES = (
    "insides",
    "layers.fast",
    "training.distribution",
    "training.raw_pixels",
    "training.steps",
    "export",
)
AT_MODULE_LEVEL = sys.stdlib_module_names | {"keras", "numpy"}
DUMPING_GROUNDS = {"utils.py", "helpers.py", "common.py", "misc.py"}


@dataclass(frozen=True)
class Import:
    name: str  # dotted and absolute; for `from a.b import c` it is a.b.c
    line: int
    in_function: bool


def imports_of(source: str, module: str, is_package: bool = False) -> list[Import]:
    """The imports of a module, those by a constant name through importlib included."""
    found = []

    def visit(node: ast.AST, in_function: bool) -> None:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = [node.module] if node.module else []
            if node.level:
                above = module.split(".")
                origin = above[: len(above) + is_package - node.level] + origin
            names = [".".join([*origin, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and _called_name(node) in ("import_module", "__import__"):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        else:
            names = []
        found.extend(Import(name, node.lineno, in_function) for name in names)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, in_function or is_function)

    visit(ast.parse(source), in_function=False)
    return found


def _called_name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def broken_rules(source: str, module: str, is_package: bool = False) -> list[str]:
    """One message for each import in the source of `module` that a rule forbids."""
    inside = module.partition(".")[2]  # "layers.fast.torch"; empty for the package's front
    room = inside.partition(".")[0]
    if inside and room not in ROOMS:
        return [f"{module}: {room} is no room of the package; ROOMS lists {sorted(ROOMS)}"]
    at_home = any(f"{inside}.".startswith(f"{home}.") for home in BACKEND_HOMES)
    messages = []
    for imported in imports_of(source, module, is_package):
        root, _, rest = imported.name.partition(".")
        wanted = rest.partition(".")[0]
        reason = ""
        if root == PACKAGE:
            # The front imports every room, so no room may import the front.
            if room and wanted not in ROOMS:
                reason = "import it from its room"
            elif (inside, rest) in OFFERED and imported.in_function:
                pass
            elif room and wanted not in ROOMS[room] | {room}:
                reason = f"{room} may import only {sorted(ROOMS[room] | {room})}"
        elif root in NEVER:
            reason = "the package never imports it"
        elif root in BACKENDS and not at_home:
            reason = f"backends belong in {BACKEND_HOMES}"
        elif root not in AT_MODULE_LEVEL and not imported.in_function:
            reason = "import it inside the function that needs it"
        if reason:
            messages.append(f"{module}:{imported.line} imports {imported.name}: {reason}")
    return messages


def package_modules() -> list[pathlib.Path]:
    return sorted((REPOSITORY / PACKAGE).rglob("*.py"))


@pytest.mark.one_backend
def test_every_module_of_the_package_keeps_the_rules():
    paths = package_modules()
    assert len(paths) > len(ROOMS), f"expected at least a module a room, found {len(paths)}"
    messages = []
    for path in paths:
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        messages += broken_rules(path.read_text(encoding="utf-8"), module, is_package)
    assert not messages, "\n".join(messages)


@pytest.mark.one_backend
def test_the_wheel_has_every_room():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    listed = settings["tool"]["setuptools"]["packages"]
    there = [path.parent.relative_to(REPOSITORY) for path in package_modules()]
    assert {".".join(path.parts) for path in there} <= set(listed)


@pytest.mark.one_backend
def test_no_file_is_named_after_nothing_in_particular():
    folders = (PACKAGE, "recipes", "tools", "tests")
    paths = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert [path for path in paths if path.name in DUMPING_GROUNDS] == []


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("layers.block", "from keras_convnextv2.models import backbone", "layers may import only"),
        ("layers.block", "from ..models import backbone", "layers may import only"),
        ("layers.block", "def f():\n    from ..models import x", "layers may import only"),
        ("models.backbone", "import keras_convnextv2.fcmae.model", "models may import only"),
        ("fcmae.model", "from keras_convnextv2.data import sources", "fcmae may import only"),
        ("fcmae.model", "from keras_convnextv2.weights import presets", "fcmae may import only"),
        ("weights.presets", "from keras_convnextv2.export import onnx", "weights may import only"),
        ("export.onnx", "from keras_convnextv2.analysis import probes", "export may import only"),
        ("analysis.probes", "from keras_convnextv2 import data", "analysis may import only"),
        ("training.schedules", "from ..models import block", "training may import only"),
        ("data.pipeline", "from keras_convnextv2.training import x", "data may import only"),
        ("training", "from keras_convnextv2.runs import Checkpoints", "training may import only"),
        ("models.backbone", "import keras_convnextv2", "import it from its room"),
        ("models.backbone", "from keras_convnextv2 import VARIANTS", "import it from its room"),
        ("attic.box", "import keras", "attic is no room"),
        ("layers.block", "import absl", "never imports"),
        ("layers.block", "def f():\n    from absl import flags", "never imports"),
        ("fcmae.model", "def f():\n    import recipes.pretrain", "never imports"),
        ("fcmae.model", "from tools import benchmark", "never imports"),
        ("", "from absl import logging", "never imports"),
        ("layers.block", "def f():\n    import torch", "backends belong in"),
        ("layers.block", "def f():\n    import jax.numpy as jnp", "backends belong in"),
        ("layers.fast_of_old", "def f():\n    import torch", "backends belong in"),
        (
            "fcmae.model",
            "def f():\n    import importlib\n    importlib.import_module('jax')",
            "back",
        ),
        ("fcmae.model", "def f():\n    __import__('tensorflow')", "backends belong in"),
        ("layers.fast.torch", "import torch", "inside the function"),
        ("layers.fast.torch", "class A:\n    import torch", "inside the function"),
        ("training.steps", "if True:\n    from jax import lax", "inside the function"),
        ("data.sources", "from PIL import Image", "inside the function"),
        (
            "data.sources",
            "try:\n    import PIL\nexcept ImportError:\n    pass",
            "inside the function",
        ),
        ("analysis.report", "import rich.table", "inside the function"),
    ],
)
def test_a_source_that_breaks_a_rule_is_reported(module, source, reason):
    (message,) = broken_rules(source, f"{PACKAGE}.{module}".rstrip("."))
    assert reason in message


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("layers.block", "import math\nimport keras\nimport numpy as np\nfrom keras import ops"),
        ("layers.block", "from . import stochastic_depth\nfrom .kernels import depthwise"),
        ("models.backbone", "from ..layers.block import ConvNeXtV2Block"),
        ("fcmae.model", "from keras_convnextv2.training import callbacks"),
        ("weights.timm", "from keras_convnextv2 import fcmae, layers, models"),
        ("layers.fast.torch", "def f():\n    import torch.nn.functional"),
        ("layers.fast", "def f():\n    import tensorflow as tf"),
        ("training.steps", "class A:\n    def f(self):\n        from jax import lax"),
        ("training.distribution", "async def f():\n    import torch.distributed"),
        ("export.onnx", "def f():\n    import torch\n    import onnx"),
        ("data.sources", "def f():\n    from PIL import Image"),
        ("", "from keras_convnextv2.data import pipeline\nfrom .weights import presets"),
    ],
)
def test_a_source_that_keeps_the_rules_passes(module, source):
    name = f"{PACKAGE}.{module}".rstrip(".")
    assert broken_rules(source, name, is_package=module in ("", "layers.fast")) == []


@pytest.mark.one_backend
def test_a_relative_import_counts_from_the_package_for_its_own_init():
    source = "from .. import models"
    as_package = broken_rules(source, f"{PACKAGE}.layers", is_package=True)
    assert "models" in as_package[0]
    assert imports_of(source, f"{PACKAGE}.layers.block")[0].name == f"{PACKAGE}.models"


def test_importing_the_package_brings_in_nothing_but_itself():
    # Compared with Keras alone, which imports absl and more. A module that Keras has loaded already
    # would not show in sys.modules: the test of the sources holds that.
    script = (
        "import json, sys, keras; before = set(sys.modules); import keras_convnextv2;"
        "print(json.dumps([sorted(before), sorted(set(sys.modules) - before)]))"
    )
    finished = run_python("-c", script, TF_CPP_MIN_LOG_LEVEL="3")
    assert finished.returncode == 0, finished.stderr
    before, brought = json.loads(finished.stdout.splitlines()[-1])
    roots = {name.partition(".")[0] for name in brought}
    assert PACKAGE in roots
    assert roots.isdisjoint(NEVER | BACKENDS | {"PIL", "rich"}), sorted(roots)
    loaded_by_keras = {name.partition(".")[0] for name in before}
    strangers = roots - {PACKAGE} - loaded_by_keras - sys.stdlib_module_names
    assert not strangers, sorted(strangers)
