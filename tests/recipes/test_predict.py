"""recipes.predict: any saved model on image files, the same output for each kind."""

import json
import shutil
import sys

import keras
import numpy as np
import PIL.Image
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.data.decoding import read_image
from keras_convnextv2.export import export_model
from tests.recipes.one_line import assert_one_line
from tests.reference.processes import run_python
from tests.reference.random_weights import randomize

CLASS_NAMES = ("boot", "coat", "long dress")
SIZE = (32, 48)
HEAD_BIAS = (15.5, 13.2, 3.3)  # against the means of the random model's scores
TEMPERATURE = 1.5  # of models that give logits
KINDS = {
    "saved_model": "exported",
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "openvino": "model.xml",
    "torch": "model.pt2",
}
# float32 rounding in another order of sums, in probabilities.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def make_model():
    """Makes a small classifier, or a backbone without `num_classes`, with random weights."""

    def make(num_classes=3, channels=3, image_size=SIZE, activation=None, class_names=CLASS_NAMES):
        variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
        backbone = kc.ConvNeXtV2Backbone(variant, (*image_size, channels), stem_stride=2)
        model = backbone
        if num_classes is not None:
            model = kc.ConvNeXtV2Classifier(
                backbone, num_classes, activation=activation, class_names=class_names
            )
        randomize(model, np.random.default_rng(5))
        if model is not backbone:  # so that images are of different classes
            head = model.get_layer("head")
            head.kernel.assign(20 * head.kernel)
            head.bias.assign(HEAD_BIAS)
            if activation is None:
                model.temperature = TEMPERATURE
        return model

    return make


@pytest.fixture(scope="module")
def classifier(make_model, tmp_path_factory):
    """(the model, its .keras file)."""
    model = make_model()
    path = tmp_path_factory.mktemp("classifier") / "model.keras"
    model.save(path)
    return model, path


@pytest.fixture(scope="module")
def onnx_file(classifier):
    model, path = classifier
    export_model(model, path.with_name("model.onnx"))
    return path.with_name("model.onnx")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """test/<class>/*.png and a *.jpg deeper, of structured pixels in several sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for name in CLASS_NAMES:
        (folder / "test" / name / "deeper").mkdir(parents=True)
        for place, size in enumerate([(40, 64), (90, 50), SIZE]):
            coarse = generator.integers(0, 256, (4, 6, 3), "uint8")
            image = PIL.Image.fromarray(coarse).resize(size[::-1], PIL.Image.Resampling.BICUBIC)
            image.save(
                folder
                / "test"
                / name
                / f"{'deeper/c.jpg' if place == 2 else place}.png"[: None if place < 2 else -4]
            )
    (folder / "test" / "notes.txt").write_text("no image")
    (folder / "test" / ".hidden.png").write_bytes(b"no image either")
    return folder


def paths_of(folder):
    return sorted(str(path) for path in folder.rglob("[!.]*") if path.suffix in (".png", ".jpg"))


def expected_probabilities(model, paths, mean=kc.data.IMAGENET_MEAN, std=kc.data.IMAGENET_STD):
    """By Keras on images read as evaluation reads them, temperature and softmax by themselves."""
    images = kc.preprocess(np.stack([read_image(path, SIZE) for path in paths]), mean, std)
    logits = model.predict(images, verbose=0).astype("float64") / TEMPERATURE
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def predicted(outcome):
    """The JSON lines of a run: {file: {class: probability}}, in order."""
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    return {
        line["file"]: {entry["class"]: entry["probability"] for entry in line["classes"]}
        for line in lines
    }


def assert_predicted(outcome, paths, expected):
    assert outcome.status == 0, outcome.err
    found = predicted(outcome)
    assert list(found) == paths
    for path, row in zip(paths, expected, strict=True):
        order = [CLASS_NAMES[index] for index in np.argsort(-row)]
        assert list(found[path]) == order
        np.testing.assert_allclose(list(found[path].values()), -np.sort(-row), atol=TOLERANCE)


def test_a_keras_file_gives_the_probabilities_of_its_model(run_recipe, classifier, photographs):
    model, path = classifier
    paths = paths_of(photographs)
    assert len(paths) == 9
    expected = expected_probabilities(model, paths)
    assert len(set(expected.argmax(-1))) > 1, "images of one class would show nothing"
    words = (f"--model={path}", f"--images={photographs}", "--json")
    assert_predicted(run_recipe("predict", *words, "--batch_size=4"), paths, expected)


@pytest.mark.slow
@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("kind", "pixels"),  # whether the artefact takes them as they are
    [
        ("litert", False),
        ("litert", True),
        ("onnx", False),
        ("onnx", True),
        ("openvino", True),
        ("saved_model", False),  # these two take half a minute each
        ("torch", True),
    ],
)
def test_every_kind_of_artefact_gives_the_same(
    run_recipe, classifier, photographs, tmp_path, kind, pixels
):
    model, _ = classifier
    path = tmp_path / KINDS[kind]
    export_model(
        model,
        path,
        batch_size=2 if pixels else None,  # of nine images, the last one alone
        include_preprocessing=pixels,
        output="probabilities" if pixels else None,
    )
    words = (f"--model={path}", f"--images={photographs}", "--json", "--batch_size=4")
    paths = paths_of(photographs)
    outcome = run_recipe("predict", *words)
    assert_predicted(outcome, paths, expected_probabilities(model, paths))


@pytest.mark.one_backend
def test_with_flips_it_is_the_mean_of_both_views(run_recipe, classifier, onnx_file, photographs):
    model, _ = classifier
    paths = paths_of(photographs)
    images = kc.preprocess(np.stack([read_image(path, SIZE) for path in paths]))
    views = [
        model.probabilities(model.predict(view, verbose=0))
        for view in (images, np.ascontiguousarray(images[:, :, ::-1]))
    ]
    words = (f"--model={onnx_file}", f"--images={photographs}", "--json", "--tta")
    found = predicted(run_recipe("predict", *words))
    for path, row in zip(paths, (views[0] + views[1]) / 2, strict=True):
        assert list(found[path]) == [CLASS_NAMES[place] for place in np.argsort(-row)]
        np.testing.assert_allclose(list(found[path].values()), -np.sort(-row), atol=TOLERANCE)


def test_predictions_agree_with_evaluate(run_recipe, classifier, onnx_file, photographs):
    words = (f"--weights={classifier[1]}", f"--data_dir={photographs}", "--json")
    evaluated = run_recipe("evaluate", *words)
    assert evaluated.status == 0, evaluated.err
    outcome = run_recipe("predict", f"--model={onnx_file}", f"--images={photographs}", "--json")
    all_of = predicted(outcome).items()
    right = [list(classes)[0] in file.split("/") for file, classes in all_of]
    assert evaluated.result["images"] == len(right) == 9
    np.testing.assert_allclose(np.mean(right), evaluated.result["accuracy"], rtol=1e-6)
    likelihoods = [classes[file.split("/")[-2 - ("deeper" in file)]] for file, classes in all_of]
    expected = -np.mean(np.log(likelihoods))
    found = evaluated.result["negative_log_likelihood"]
    np.testing.assert_allclose(found, expected, rtol=1e-3)  # TOLERANCE of the least likely


@pytest.mark.one_backend
def test_text_shows_the_first_classes_of_each_file(run_recipe, onnx_file, photographs):
    files = paths_of(photographs)[:2]
    words = (f"--model={onnx_file}", f"--images={files[1]},{files[0]},{files[1]}")
    outcome = run_recipe("predict", *words, "--top=2", "--threads=1")
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert [lines[0], lines[3]] == files and len(lines) == 6
    for line in lines[1:3]:
        share, sign, name = line.split(maxsplit=2)
        assert 0 <= float(share) <= 100 and sign == "%" and name in CLASS_NAMES
    assert float(lines[1].split()[0]) >= float(lines[2].split()[0])


@pytest.mark.one_backend
def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(
    run_recipe, onnx_file, photographs, tmp_path
):
    good = paths_of(photographs)[0]
    broken, empty = tmp_path / "broken.png", tmp_path / "empty.jpg"
    broken.write_bytes(PIL.Image.open(good).tobytes()[:50])
    empty.write_bytes(b"")
    words = (f"--model={onnx_file}", f"--images={tmp_path},{good}")
    for more in ((), ("--json", "--batch_size=1", f"--output={tmp_path / 'scores.npz'}")):
        outcome = run_recipe("predict", *words, *more)
        assert_one_line(outcome, "predict", "2 of 3 files could not be read")
        assert outcome.status == 2
        for path in (broken, empty):
            assert f"{path} cannot be read as an image" in outcome.err
        assert good in outcome.out
    lines = {line["file"]: line for line in map(json.loads, outcome.out.splitlines())}
    assert set(lines) == {good, str(broken), str(empty)}
    assert "classes" in lines[good] and "cannot be read" in lines[str(broken)]["error"]
    with np.load(tmp_path / "scores.npz") as saved:
        assert saved["files"].tolist() == [good]
        assert saved["probabilities"].shape == (1, 3)


@pytest.mark.one_backend
def test_files_of_a_folder_that_are_no_images_are_counted(run_recipe, onnx_file, photographs):
    outcome = run_recipe("predict", f"--model={onnx_file}", f"--images={photographs}")
    assert "passed over 1 file of other kinds (1 .txt).\n" in outcome.err
    images = photographs / "test" / CLASS_NAMES[0]
    outcome = run_recipe("predict", f"--model={onnx_file}", f"--images={images}")
    assert "passed over" not in outcome.err


@pytest.mark.one_backend
def test_where_nothing_can_be_read(run_recipe, onnx_file, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"words")
    outcome = run_recipe("predict", f"--model={onnx_file}", f"--images={tmp_path}")
    assert_one_line(outcome, "predict", "1 of 1 files could not be read")
    assert outcome.out == ""


def test_a_backbone_shows_its_features_and_writes_them(
    run_recipe, make_model, photographs, tmp_path
):
    backbone = make_model(num_classes=None)
    backbone.save(tmp_path / "backbone.keras")
    words = (f"--model={tmp_path / 'backbone.keras'}", f"--images={photographs}", "--json")
    outcome = run_recipe("predict", *words, f"--output={tmp_path / 'new' / 'features.npz'}")
    assert outcome.status == 0, outcome.err
    paths = paths_of(photographs)
    images = kc.preprocess(np.stack([read_image(path, SIZE) for path in paths]))
    expected = backbone.predict(images, verbose=0)
    with np.load(tmp_path / "new" / "features.npz") as saved:
        assert saved["files"].tolist() == paths
        np.testing.assert_allclose(saved["features"], expected, atol=TOLERANCE)
    for line, features in zip(map(json.loads, outcome.out.splitlines()), expected, strict=True):
        assert line["shape"] == list(features.shape) == [2, 3, 12]
        np.testing.assert_allclose(line["norm"], np.linalg.norm(features), rtol=1e-4)
    text = run_recipe("predict", *words[:2])
    assert "  features 2 x 3 x 12, norm " in text.out


@pytest.mark.one_backend
def test_the_checkpoint_of_a_pretraining_gives_its_backbones_features(
    run_recipe, pretrained, photographs, tmp_path
):
    folder = pretrained.folder
    words = (f"--images={paths_of(photographs)[0]}", "--json")
    of_run, of_checkpoint = (
        run_recipe("predict", f"--model={path}", *words).result
        for path in (folder, folder / "checkpoints")
    )
    assert of_run == of_checkpoint
    assert of_run["shape"] == [2, 3, 12]
    # The run's images have a mean and a deviation of their own, .5 and .3. The model says them.
    shutil.copytree(folder / "model", tmp_path / "elsewhere")
    moved = f"--model={tmp_path / 'elsewhere'}"
    by_flags = ("--mean=0.5,0.5,0.5", "--std=0.3,0.3,0.3")
    others = ("--mean=0.485,0.456,0.406", "--std=0.229,0.224,0.225")
    outcomes = [run_recipe("predict", moved, *words, *more) for more in (by_flags, (), others)]
    norms = [outcome.result["norm"] for outcome in outcomes]
    np.testing.assert_allclose(norms[:2], of_run["norm"], rtol=1e-6)
    assert "normalised with" not in outcomes[1].err
    assert abs(norms[2] / of_run["norm"] - 1) > 1e-4


@pytest.mark.one_backend
def test_a_grey_model_that_says_nothing_is_given_grey_and_what_the_flags_say(
    run_recipe, make_model, photographs, tmp_path
):
    model = make_model(channels=1)
    model.save(tmp_path / "model.keras")
    words = (f"--model={tmp_path / 'model.keras'}", f"--images={photographs}", "--json")
    outcome = run_recipe("predict", *words)
    assert_one_line(outcome, "predict", "1 channel", "--mean and --std")
    paths = paths_of(photographs)
    grey = [
        np.asarray(PIL.Image.fromarray(read_image(path, SIZE)).convert("L"))[..., None]
        for path in paths
    ]
    images = kc.preprocess(np.stack(grey), [0.25], [0.5])
    logits = model.predict(images, verbose=0)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    expected = powers / powers.sum(-1, keepdims=True)
    outcome = run_recipe("predict", *words, "--mean=0.25", "--std=0.5")
    assert_predicted(outcome, paths, expected)


@pytest.mark.one_backend
def test_probabilities_of_the_models_own_are_not_changed(
    run_recipe, make_model, photographs, tmp_path
):
    model = make_model(activation="sigmoid")
    model.save(tmp_path / "model.keras")
    paths = paths_of(photographs)
    words = (f"--model={tmp_path / 'model.keras'}", f"--images={photographs}", "--json")
    images = kc.preprocess(np.stack([read_image(path, SIZE) for path in paths]))
    expected = model.predict(images, verbose=0)
    assert abs(expected.sum(-1) - 1).min() > 0.01
    assert_predicted(run_recipe("predict", *words), paths, expected)


@pytest.mark.one_backend
def test_any_size_needs_the_flag_and_classes_without_names_have_numbers(
    run_recipe, make_model, photographs, tmp_path
):
    model = make_model(image_size=(None, None), class_names=None)
    export_model(model, tmp_path / "model.onnx")
    words = (f"--model={tmp_path / 'model.onnx'}", f"--images={photographs}", "--json")
    outcome = run_recipe("predict", *words)
    assert_one_line(outcome, "predict", "any size", "--image_size=224")
    outcome = run_recipe("predict", *words, "--image_size=8")
    assert_one_line(outcome, "predict", "16 pixels a side or more", "8x8")
    outcome = run_recipe("predict", *words, "--image_size=32x48")
    assert outcome.status == 0, outcome.err
    expected = expected_probabilities(model, paths_of(photographs))
    found = predicted(outcome)
    for row, classes in zip(expected, found.values(), strict=True):
        assert list(classes)[0] == f"class {row.argmax()}"


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("flag", "parts"),
    [
        ("--images=nowhere.png", ["there is no nowhere.png"]),
        ("--images=", ["--images is empty"]),
        ("--top=0", ["--top"]),
        ("--batch_size=0", ["--batch_size"]),
        ("--image_size=wide", ["'wide'", "HxW"]),
        ("--image_size=64x48", ["32x48", "64x48"]),
        ("--output=scores.txt", [".npz", "scores.txt"]),
        ("--model=model.tflite", ["There is no model.tflite"]),
        ("--model=model.keras", ["--model", "model.keras", "no file"]),
    ],
)
def test_flags_that_cannot_be(run_recipe, onnx_file, photographs, flag, parts):
    words = (f"--model={onnx_file}", f"--images={photographs}", flag)
    assert_one_line(run_recipe("predict", *words), "predict", *parts)


@pytest.mark.one_backend
def test_nothing_is_overwritten(run_recipe, onnx_file, photographs, tmp_path):
    (tmp_path / "old.npz").write_text("precious")
    words = (f"--model={onnx_file}", f"--images={photographs}")
    outcome = run_recipe("predict", *words, f"--output={tmp_path / 'old.npz'}")
    assert_one_line(outcome, "predict", "old.npz exists")
    assert (tmp_path / "old.npz").read_text() == "precious"


@pytest.mark.one_backend
def test_a_folder_without_images(run_recipe, onnx_file, tmp_path):
    outcome = run_recipe("predict", f"--model={onnx_file}", f"--images={tmp_path}")
    assert_one_line(outcome, "predict", str(tmp_path), "no images")


@pytest.mark.one_backend
@pytest.mark.parametrize("flag", ["--mean=0.5", "--std=0.1,0.1,x", "--std=0.1,0.1,0"])
def test_a_normalisation_that_cannot_be(run_recipe, classifier, photographs, flag):
    words = (f"--model={classifier[1]}", f"--images={photographs}", "--mean=0,0,0", "--std=1,1,1")
    assert_one_line(run_recipe("predict", *words, flag), "predict", "--std")


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "model.xml", "model.pt2"])
def test_a_damaged_artefact(run_recipe, photographs, tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no model" * 10)
    words = (f"--model={tmp_path / name}", f"--images={photographs}")
    assert_one_line(run_recipe("predict", *words), "predict", name)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("model.onnx", "onnxruntime", "onnx"),
        ("model.tflite", "ai_edge_litert", "litert"),
        ("model.xml", "openvino", "openvino"),
    ],
)
def test_a_runtime_that_is_not_installed(
    run_recipe, photographs, tmp_path, monkeypatch, name, package, extra
):
    (tmp_path / name).write_bytes(b"\x08\x08")  # what its runtime would look at
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)  # importing it says that there is none
    words = (f"--model={tmp_path / name}", f"--images={photographs}")
    outcome = run_recipe("predict", *words)
    assert_one_line(outcome, "predict", package, f"pip install -e '.[{extra}]'")


def test_threads_are_set_where_the_backend_takes_a_number(classifier, photographs):
    words = (f"--model={classifier[1]}", f"--images={photographs}")
    # Its own process, since the number is a process's.
    done = run_python("-m", "recipes.predict", "--threads=1", "--json", *words)
    if keras.backend.backend() == "jax":
        assert done.returncode == 2
        assert "error: --threads: the backend jax takes no number" in done.stderr.splitlines()[-1]
    else:
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 9
