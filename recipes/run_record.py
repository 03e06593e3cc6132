"""run.json: with what a run was started, enough to start it again."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from absl import flags

FLAGS = flags.FLAGS

# What takes part in a run's numbers, by the names under which it is installed.
_PACKAGES = (
    "keras-convnextv2",
    "keras",
    "numpy",
    "pillow",
    "grain",
    "ml-dtypes",
    "safetensors",
    "scikit-learn",
    "absl-py",
)
_OF_BACKENDS = {
    "tensorflow": ("tensorflow",),
    "jax": ("jax", "jaxlib"),
    "torch": ("torch",),
}


def run_record(settings, seed):
    """What a run was started with.

    Args:
        settings: {name: value} of the flags as they were resolved, of values that JSON can hold.
        seed: int.

    Returns:
        Dict for JSON: "command" (the words as they were given, the variables that chose the
        backend, and the folder that names of files are from), "settings", "given" (names of the
        settings that are not by default), "seed", "started", "backend", "device", "versions",
        "git" (None outside a clone) and "machine".
    """
    import keras

    backend = keras.backend.backend()
    return {
        "command": {
            "program": _program(),
            "flags": sys.argv[1:],
            "folder": os.getcwd(),
            "environment": {
                name: os.environ[name]
                for name in ("KERAS_BACKEND", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
                if name in os.environ
            },
        },
        "settings": settings,
        "given": [name for name in settings if name in FLAGS and FLAGS[name].present],
        "seed": seed,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "backend": backend,
        "device": _devices(backend),
        "versions": _versions(backend),
        "git": _git(Path(__file__).resolve().parent),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cpu": _cpu_name(),
            "cpus": os.cpu_count(),
        },
    }


def write_run_record(folder, settings, seed):
    """Writes `run_record` as run.json into `folder`, whole or not at all; returns the path."""
    from keras_convnextv2.whole_files import whole_file

    path = Path(folder) / "run.json"
    text = json.dumps(run_record(settings, seed), indent=1, default=str) + "\n"
    with whole_file(path) as unfinished:
        unfinished.write_text(text)
    return path


def _cpu_name():
    """As its maker calls it where the system tells."""
    with contextlib.suppress(OSError):  # on Linux alone
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _program():
    """The recipe, as `python -m` takes it where it is one."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    return spec.name if spec is not None else sys.argv[0]


def _versions(backend):
    found = {"python": platform.python_version()}
    for name in (*_PACKAGES, *_OF_BACKENDS.get(backend, ())):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "keras-convnextv2" not in found:  # a clone that is not installed
        import keras_convnextv2 as kc

        found["keras-convnextv2"] = kc.__version__
    return found


def _devices(backend):
    """The devices that Keras may compute on, as the backend names them."""
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return ["mps" if torch.backends.mps.is_available() else "cpu"]
    if backend == "jax":
        import jax

        return [f"{device.platform} {device.device_kind}" for device in jax.devices()]
    import tensorflow as tf

    devices = tf.config.list_logical_devices()
    return [device.name for device in devices if device.device_type != "CPU"] or ["cpu"]


def _git(folder):
    """{"commit", "changed"} of the clone that this file is in, None where there is none."""
    try:
        lines = [
            subprocess.run(
                ["git", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            ).stdout
            for words in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
                ["ls-files", Path(__file__).name],
            )
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    if not lines[2].strip():  # an installed package that happens to be within another's clone
        return None
    return {"commit": lines[0].strip(), "changed": bool(lines[1].strip())}
