"""Builds the wheel and tries it with each backend alone.

For every backend a clean environment is made, all at one time, of links to what is installed here:
of what the wheel and the backend ask for, and nothing else. A package that works in the developers'
environment, where all three backends are installed, may still ask for one that its user does not
have.

    python -m tools.check_wheel
    python -m tools.check_wheel --backends=jax
"""

import concurrent.futures
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

from absl import app, flags

from tools import linked_environment

BACKENDS = ("tensorflow", "jax", "torch")
PACKAGE = "keras_convnextv2"
# The recipes, which are named `recipes` in the clone, and the kinds of their files.
RECIPES, INSTALLED_RECIPES = "recipes", "keras_convnextv2_recipes"
RECIPE_FILES = (
    "*.py",
    "neighbours/*.py",
    "settings/*.flags",
    "fashion_mnist/*",
    "report_templates/*.*",
    "web/*.*",
)
REPOSITORY = pathlib.Path(__file__).resolve().parent.parent

FLAGS = flags.FLAGS
flags.DEFINE_multi_enum(
    "backends", list(BACKENDS), BACKENDS, "Backends to try; may be given more than once."
)

# Runs in the clean environment, which holds Keras, one backend and the wheel.
PROBE = """
import builtins
import importlib.util
import os
import sys

backend = os.environ["KERAS_BACKEND"]
for other in {"tensorflow", "jax", "torch"} - {backend}:
    assert importlib.util.find_spec(other) is None, f"{other} is installed beside {backend}"

import keras

assert keras.backend.backend() == backend, f"Keras runs on {keras.backend.backend()}"
before = set(sys.modules)

# What the package's own modules ask for. sys.modules alone would not show it: Keras itself imports
# absl, and a failed import that is caught leaves nothing behind.
asked_for = set()
original_import = builtins.__import__

def recording_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if importer.partition(".")[0] == "keras_convnextv2" and level == 0:
        asked_for.add(name.partition(".")[0])
    return original_import(name, globals, locals, fromlist, level)

builtins.__import__ = recording_import
import keras_convnextv2
builtins.__import__ = original_import

strangers = asked_for - {"keras_convnextv2", "keras", "numpy"} - set(sys.stdlib_module_names)
assert not strangers, f"importing the package imports {sorted(strangers)}"
unwanted = {"tensorflow", "jax", "jaxlib", "torch", "absl", "PIL", "recipes", "tools"}
brought = sorted(name for name in set(sys.modules) - before if name.partition(".")[0] in unwanted)
assert not brought, f"importing the package brings in {brought}"
assert keras_convnextv2.__file__.startswith(sys.prefix), keras_convnextv2.__file__

if hasattr(keras_convnextv2, "ConvNeXtV2Backbone"):
    import numpy

    backbone = keras_convnextv2.ConvNeXtV2Backbone(variant="atto", image_shape=(64, 96, 3))
    images = numpy.random.default_rng(0).normal(size=(2, 64, 96, 3)).astype("float32")
    features = keras.ops.convert_to_numpy(backbone(images))
    assert features.shape == (2, 2, 3, 320), f"atto gave {features.shape}"
    assert numpy.isfinite(features).all(), "atto gave values that are not finite"

    # PyTorch's files are read and written where PyTorch is not.
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, format in (("a.pt", "official"), ("b.safetensors", "timm"), ("c.keras", "keras")):
            path = os.path.join(folder, name)
            keras_convnextv2.save_weights(backbone, path, format)
            copy = keras_convnextv2.from_preset(path)
            for first, second in zip(backbone.weights, copy.weights, strict=True):
                same = numpy.array_equal(first.numpy(), second.numpy())
                assert same, f"{first.path} is another after {name}"
"""


def run(command: list[str], environment: dict[str, str] | None = None, cwd=None) -> None:
    """Runs a command quietly; where it fails, exits with what it printed."""
    finished = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if finished.returncode != 0:
        # A probe's command line is its whole source: the program's name says enough.
        sys.exit(f"{finished.stdout}\n{command[0]} failed with status {finished.returncode}")


def build_wheel(repository: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Builds from a copy: setuptools puts files of earlier builds, left in build/, in the wheel."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv*", "build", "*.egg-info", "__pycache__")
    shutil.copytree(repository, source, ignore=ignored)
    run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)]
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def wrong_files(wheel_files: set[str], package_files: set[str]) -> list[str]:
    """What is in the wheel and should not be, and the other way round, one message a file.

    The wheel holds the package's files, all of them, and its metadata.
    """
    metadata = {name for name in wheel_files if name.partition("/")[0].endswith(".dist-info")}
    messages = [
        f"in the wheel, but not part of the package: {name}"
        for name in sorted(wheel_files - metadata - package_files)
    ]
    messages += [f"missing from the wheel: {name}" for name in sorted(package_files - wheel_files)]
    messages += [
        f"array data in the package: {name}"
        for name in sorted(wheel_files & package_files)
        if name.endswith(".npz") and name.startswith(f"{PACKAGE}/")
    ]
    for licence in ("LICENSE", "NOTICE"):
        if not any(name.endswith(f"/licenses/{licence}") for name in metadata):
            messages.append(f"missing from the wheel's metadata: {licence}")
    return messages


def files_of_package(repository: pathlib.Path) -> set[str]:
    """Paths in the wheel of the package's files, and of the recipes'."""
    own = {
        path.relative_to(repository).as_posix()
        for path in (repository / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    folder = repository / RECIPES
    recipes = {
        f"{INSTALLED_RECIPES}/{path.relative_to(folder).as_posix()}"
        for pattern in RECIPE_FILES
        for path in folder.glob(pattern)
        if path.is_file() and not path.name.startswith(".")
    }
    return own | recipes


def check_backend(backend: str, wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Installs the wheel with one backend in a clean environment and runs the probe in it."""
    started = time.monotonic()
    environment_folder = folder / backend
    asked_for = [*_lines(REPOSITORY / "requirements" / f"{backend}.txt"), *_asked_for_by(wheel)]
    python = linked_environment.make(environment_folder, asked_for)
    # This environment's pip installs into the new one.
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
    run([*pip, "check"])

    # A settings file in the user's Keras folder could name another precision or data format.
    environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder / "keras")}
    # Isolated, and elsewhere: the package has to come from the wheel.
    run([str(python), "-I", "-c", PROBE], environment, cwd=folder)
    run([str(environment_folder / "bin" / "keras-convnextv2"), "--help"], environment, cwd=folder)
    print(f"{backend} alone: works, {time.monotonic() - started:.0f} s", flush=True)


def _lines(path):
    """The requirements of a file, without comments and options."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def _asked_for_by(wheel):
    """What a wheel requires of its users."""
    (metadata,) = importlib.metadata.distributions(path=[str(wheel)])
    return metadata.requires


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, received {argv[1:]}")
    with tempfile.TemporaryDirectory(prefix="check_wheel_") as temporary:
        folder = pathlib.Path(temporary)
        started = time.monotonic()
        wheel = build_wheel(REPOSITORY, folder)
        with zipfile.ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if not name.endswith("/")}
        if messages := wrong_files(names, files_of_package(REPOSITORY)):
            sys.exit("\n".join(messages))
        print(f"{wheel.name}: {len(names)} files, {time.monotonic() - started:.0f} s", flush=True)
        with concurrent.futures.ThreadPoolExecutor() as threads:
            checks = [
                threads.submit(check_backend, backend, wheel, folder)
                for backend in dict.fromkeys(FLAGS.backends)
            ]
            for check in concurrent.futures.as_completed(checks):
                check.result()


if __name__ == "__main__":
    app.run(main)
