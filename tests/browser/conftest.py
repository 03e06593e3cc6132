"""What the tests of both pages share: Chromium, photographs, a classifier that has learned them.

A program that serves a page runs as a user runs it, in a process of its own.
"""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.browser import chromium

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = (
    "--no-sandbox",  # which root, as in a container, cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Three that a small model tells apart after seconds.
CLASSES = ("Trouser", "Bag", "Ankle boot")
NUM_TRAINING, NUM_TEST = 100, 3  # images a class
EXPORTS = {
    "model.onnx": (),
    "any_size.onnx": ("--image_size=any", "--include_preprocessing", "--activation=softmax"),
    "batch_of_three.onnx": ("--batch_size=3",),
    "model.tflite": ("--batch_size=1",),
    "pixels.tflite": ("--batch_size=2", "--include_preprocessing", "--activation=softmax"),
}
MILLISECONDS = 60_000  # that a page may take for anything: a machine may be busy
_SECONDS_TO_START = 120


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, the one of the system."""
    from playwright.sync_api import expect, sync_playwright

    path = chromium.find()
    if path is None:
        pytest.exit(chromium.MISSING, returncode=1)
    expect.set_options(timeout=MILLISECONDS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser):
    """Opens a page of a site; at the end, the page may have asked for nothing outside of it."""
    contexts, strangers = [], []

    def open_at(url, answers=()):
        """`answers`: {pattern of addresses: bytes} in place of what the site would answer."""

        def look_at(request):
            if not request.url.startswith((url, "blob:", "data:")):
                strangers.append(request.url)

        context = browser.new_context(viewport={"width": 1000, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        page.on("request", look_at)
        for pattern, body in dict(answers).items():
            page.route(pattern, lambda route, _, body=body: route.fulfill(body=body))
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert strangers == []


@pytest.fixture(scope="session")
def run_recipe(run_program):
    """Runs `python -m recipes.NAME FLAGS...` to its end, in this process."""
    return lambda name, *words: run_program(f"recipes.{name}", *words)


@pytest.fixture(scope="session")
def serve():
    """Starts `python -m recipes.NAME FLAGS... --port=PORT` and waits until its page answers."""
    started = []

    def start(name, *words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", f"recipes.{name}", *map(str, words), f"--port={port}"]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        url = f"http://127.0.0.1:{port}/"
        end = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < end and process.poll() is None:
            try:
                urllib.request.urlopen(url, timeout=10).close()
                return url
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        process.kill()
        pytest.fail(f"recipes.{name} did not serve:\n{process.stdout.read()}")

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)  # Ctrl-C, which is how a user ends it
    said = [process.communicate(timeout=30)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    lines = [line for text in said for line in text.splitlines()]
    assert all(line.startswith(("The site is in ", "http://127.0.0.1:")) for line in lines), said


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Embedded Fashion-MNIST photographs as PNG, in train/<class>/ and test/<class>/."""
    folder = tmp_path_factory.mktemp("photographs")
    for split, count in (("train", NUM_TRAINING), ("test", NUM_TEST)):
        with np.load(ROOT / "recipes" / "fashion_mnist" / f"{split}.npz") as arrays:
            images, labels = arrays["images"], arrays["labels"]
            known = arrays["class_names"].tolist()
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            for place in np.flatnonzero(labels == known.index(name))[:count]:
                picture = PIL.Image.fromarray(images[place, ..., 0])
                picture.save(folder / split / name / f"{name} {place}.png")
    return folder


@pytest.fixture(scope="session")
def classifier(run_recipe, photographs):
    """The folder of a run of recipes.finetune on the photographs."""
    folder = photographs.parent / "classifier_run"
    done = run_recipe(
        "finetune",
        f"--data_dir={photographs}",
        f"--output_dir={folder}",
        "--image_size=32x24",
        "--stem_stride=2",
        "--depths=1,1,1,1",
        "--widths=8,16,32,64",
        "--batch_size=20",
        "--epochs=8",
        "--learning_rate=2e-3",
        "--max_shift=0",
        "--json",
    )
    assert done.status == 0, done.err
    accuracy = done.result["test_accuracy"]
    assert accuracy > 0.85, "a model that has learned nothing would show nothing"
    return folder


@pytest.fixture(scope="session")
def export(run_recipe, classifier, photographs):
    """Exports the classifier, once each: the artefact's path."""

    def make(name):
        path = classifier.parent / name
        if not path.exists():
            words = (f"--weights={classifier}", f"--output={path}", f"--data_dir={photographs}")
            done = run_recipe("export", *words, *EXPORTS[name])
            assert done.status == 0, done.err
        return path

    return make


@pytest.fixture(scope="session")
def predicted(run_recipe, classifier, photographs):
    """What recipes.predict says of the run itself: {path: {class: probability}}."""
    done = run_recipe(
        "predict", f"--model={classifier}", f"--images={photographs / 'test'}", "--json"
    )
    assert done.status == 0, done.err
    lines = map(json.loads, done.out.splitlines())
    return {
        Path(line["file"]): {entry["class"]: entry["probability"] for entry in line["classes"]}
        for line in lines
    }
