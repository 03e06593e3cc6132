"""Models from the Hugging Face hub: a server on this machine, and the hub's own client.

The client reads its settings when it is imported, so two processes of their own load the models:
one that is online, one that is offline. Each test has its own cache.
"""

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_convnextv2 as kc
from keras_convnextv2.weights.errors import WeightsError
from tests.reference.hub_server import COMMIT, serve_repository
from tests.reference.layouts import custom_layout, random_checkpoint
from tests.reference.load_from_hub import sums

pytestmark = pytest.mark.one_backend

ROOT = Path(__file__).resolve().parents[2]
NAME = "timm/convnextv2_test"
HANDLE = f"hf://{NAME}"
WEIGHTS = "model.safetensors"
FILES = ("config.json", WEIGHTS)  # in the order in which they are asked for
CLASS_NAMES = ["tench", "crane", "hen"]
CONFIG = {
    "architecture": "convnextv2_test",
    "num_classes": len(CLASS_NAMES),
    "label_names": CLASS_NAMES,
    "pretrained_cfg": {"input_size": [3, 64, 96], "license": "CC-BY-NC-4.0"},
}


@pytest.fixture(scope="module")
def checkpoint():
    shapes = custom_layout("timm", (1, 1, 1, 1), (8, 12, 16, 20))
    shapes["head.fc.weight"], shapes["head.fc.bias"] = (len(CLASS_NAMES), 20), (len(CLASS_NAMES),)
    return random_checkpoint(shapes, np.random.default_rng(0))


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    with serve_repository(NAME, tmp_path_factory.mktemp("repository")) as server:
        yield server


@pytest.fixture
def server(module_server, checkpoint):
    """A hub with one model."""
    for path in module_server.folder.iterdir():
        path.unlink()
    module_server.truncate = module_server.token = None
    module_server.requests.clear()
    (module_server.folder / "config.json").write_text(json.dumps(CONFIG))
    safetensors.numpy.save_file(checkpoint, module_server.folder / WEIGHTS)
    return module_server


class Loader:
    """A process that loads models from a hub."""

    def __init__(self, url, folder, **settings):
        not_ours = ("HF_", "HUGGING")  # a token, a cache, an offline mode
        environment = {
            **{n: value for n, value in os.environ.items() if not n.startswith(not_ours)},
            "NO_PROXY": "127.0.0.1",
            "KERAS_BACKEND": keras.backend.backend(),
            "HF_ENDPOINT": url,
            "HF_HOME": str(folder),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            # As in tests/conftest.py; the processes share what they compile.
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
            "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            **settings,
        }
        self.errors = folder / "stderr"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.reference.load_from_hub"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def load(self, source, cache, **environment):
        """What tests/reference/load_from_hub.py answers."""
        order = {"source": source, "cache": str(cache), "environment": environment}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        return json.loads(line)

    def problem(self, source, cache, **environment):
        """The message of the WeightsError."""
        answer = self.load(source, cache, **environment)
        assert answer.get("error") == "WeightsError", answer
        return answer["message"]


@pytest.fixture(scope="module")
def loaders(module_server, tmp_path_factory):
    """(online, offline), started side by side."""
    with serve_repository(NAME, module_server.folder) as closed:
        pass
    online = Loader(module_server.url, tmp_path_factory.mktemp("online"))
    offline = Loader(closed.url, tmp_path_factory.mktemp("offline"), HF_HUB_OFFLINE="1")
    with online.process, offline.process:  # leaving closes their standard input, which ends them
        yield online, offline


@pytest.fixture
def online(loaders, server):
    return loaders[0]


@pytest.fixture
def offline(loaders):
    return loaders[1]


@pytest.fixture(scope="module")
def expected(checkpoint):
    """What a process answers that has loaded the model."""
    return {"class_names": CLASS_NAMES, "image_size": [64, 96], "sums": sums(checkpoint)}


def test_a_model_comes_with_class_names_and_its_licence_is_said_once(online, expected, tmp_path):
    assert online.load(HANDLE, tmp_path) == expected
    assert online.load(HANDLE, tmp_path) == expected
    (said,) = [line for line in online.errors.read_text().splitlines() if "icence" in line]
    assert said.startswith("Licence of these weights: CC BY-NC 4.0, no commercial use (https://")


def downloads(server):
    return [path for method, path in server.requests if method == "GET" and "/resolve/" in path]


def test_a_second_load_needs_no_connection(online, offline, server, expected, tmp_path):
    online.load(HANDLE, tmp_path)
    downloaded = [f"/{NAME}/resolve/main/{name}" for name in FILES]
    assert downloads(server) == downloaded
    assert online.load(HANDLE, tmp_path) == expected
    assert downloads(server) == downloaded  # still
    assert offline.load(HANDLE, tmp_path) == expected


def test_offline_without_a_copy_is_an_error_that_says_so(offline, tmp_path):
    message = offline.problem(HANDLE, tmp_path)
    assert message.startswith(f"HF_HUB_OFFLINE is set, and the cache holds no weights of {HANDLE}")
    assert "Unset it, or load them once where there is a connection." in message


def test_a_revision_is_the_one_that_is_asked_for(online, server, expected, tmp_path):
    assert online.load(f"{HANDLE}@{COMMIT}", tmp_path) == expected
    assert downloads(server) == [f"/{NAME}/resolve/{COMMIT}/{name}" for name in FILES]
    message = online.problem(f"{HANDLE}@v9", tmp_path)
    assert message.startswith(f"{HANDLE}@v9: config.json was refused: 404")
    assert message.endswith("Invalid rev id: v9")


def test_a_model_in_parts_is_downloaded_whole_or_not_at_all(
    online, server, checkpoint, expected, tmp_path
):
    (server.folder / WEIGHTS).unlink()
    names = sorted(checkpoint)
    places = {}
    for number, keys in enumerate((names[::2], names[1::2]), start=1):
        part = f"model-{number:05}-of-00002.safetensors"
        places |= dict.fromkeys(keys, part)
        content = {key: checkpoint[key] for key in keys}
        safetensors.numpy.save_file(content, server.folder / part)
    (server.folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": places}))
    assert online.load(HANDLE, tmp_path / "one") == expected
    (server.folder / part).unlink()
    message = online.problem(HANDLE, tmp_path / "other")
    assert message == f"{HANDLE} lacks {part}, a part of its weights."


def test_a_repository_without_weights_is_an_error_that_names_the_files(online, server, tmp_path):
    (server.folder / WEIGHTS).rename(server.folder / "weights.safetensors")
    assert online.problem(HANDLE, tmp_path) == (
        f"{HANDLE} holds no weights: none of model.safetensors, model.safetensors.index.json, "
        "pytorch_model.bin, model.keras."
    )


@pytest.mark.parametrize("token", [None, "hf_of_a_stranger"])
def test_a_repository_that_does_not_exist(token, online, tmp_path):
    settings = {} if token is None else {"HF_TOKEN": token}
    message = online.problem("hf://timm/convnextv2_tset", tmp_path, **settings)
    assert message.startswith("hf://timm/convnextv2_tset: config.json was refused: 40")
    assert "Repository Not Found" in message and "you specified the correct `repo_id`" in message


def test_a_closed_repository_opens_with_the_token(online, server, expected, tmp_path):
    server.token = "hf_of_a_friend"
    message = online.problem(HANDLE, tmp_path)
    assert f"Access to model {NAME} is restricted" in message and "Please log in" in message
    message = online.problem(HANDLE, tmp_path, HF_TOKEN="hf_of_a_stranger")
    assert "Invalid credentials" in message and "stranger" not in message
    assert online.load(HANDLE, tmp_path, HF_TOKEN="hf_of_a_friend") == expected


def test_a_download_that_is_cut_short_is_an_error_and_the_next_goes_well(
    online, server, expected, tmp_path
):
    server.truncate = WEIGHTS
    message = online.problem(HANDLE, tmp_path)
    assert message.startswith(f"{HANDLE}: {WEIGHTS} was not downloaded: ")
    assert message.endswith(". Try again.")
    server.truncate = None
    assert online.load(HANDLE, tmp_path) == expected


def test_a_hub_that_does_not_answer(server, monkeypatch, tmp_path):
    with serve_repository(NAME, server.folder) as closed:
        pass
    download = functools.partial(
        huggingface_hub.hf_hub_download, endpoint=closed.url, cache_dir=tmp_path
    )
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client tries some times
    with pytest.raises(
        WeightsError, match="the hub does not answer, and config.json is not in the.*refused$"
    ):
        kc.from_preset(HANDLE)


@pytest.mark.parametrize(
    "handle", ["hf://timm", f"{HANDLE}/", f"{HANDLE}/{WEIGHTS}", f"{HANDLE}@", "hf://timm/a b"]
)
def test_a_handle_of_another_form_is_an_error_that_shows_the_form(handle):
    with pytest.raises(WeightsError) as error:
        kc.from_preset(handle)
    assert str(error.value) == (
        f"Expected hf://owner/name or hf://owner/name@revision. Received: {handle}"
    )


def test_the_client_that_is_not_installed_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not there
    with pytest.raises(WeightsError) as error:
        kc.from_preset(HANDLE)
    assert str(error.value) == f"{HANDLE} needs huggingface_hub: pip install huggingface_hub"
