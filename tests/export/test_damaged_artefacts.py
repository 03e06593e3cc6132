"""Whatever is damaged in an artefact, the error is one that says so."""

import json
import zipfile

import pytest

from keras_convnextv2.export import open_artefact, runtimes

pytestmark = pytest.mark.one_backend
NAMES = ("model.onnx", "model.xml", "model.tflite", "model.pt2")


@pytest.fixture
def open_with(export, monkeypatch):
    """Opens an artefact as if other metadata stood in it: a str, or a dict of changes by path."""
    path = export("model.onnx")
    metadata = open_artefact(path).metadata
    open_onnx = runtimes._open_onnx

    def open_it(text):
        if isinstance(text, dict):
            changed = json.loads(json.dumps(metadata))
            for place, value in text.items():
                *parts, last = place.split("/")
                inner = changed
                for part in parts:
                    inner = inner[part]
                if value is KeyError:
                    del inner[last]
                else:
                    inner[last] = value
            text = json.dumps(changed)
        monkeypatch.setattr(runtimes, "_open_onnx", lambda *given: (text, open_onnx(*given)[1]))
        return open_artefact(path)

    return open_it


def test_metadata_that_is_none_is_named(open_with):
    for text in ("", "{", "[" * 10**5, "[]", "3", '"words"', "{}", '{"input": 1}'):
        with pytest.raises(ValueError, match=r"model\.onnx .*(cannot be opened|damaged metadata)"):
            open_with(text)
    for text in (None, "null"):
        with pytest.raises(ValueError, match="holds no metadata of it"):
            open_with(text)


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("input", [KeyError, None, [], {}]),
        ("input/shape", [KeyError, None, [], [None] * 4, [0, 64, 96, 3], ["2", 64, 96, 3], 4]),
        ("input/dtype", [KeyError, None, "object", "float64", ["uint8"]]),
        (
            "input/mean",
            [KeyError, None, [], [0.5], ["a"] * 3, [float("nan")] * 3, [10**400] * 3],
        ),
        ("input/std", [None, [0.0] * 3, [-1.0, 1.0, 1.0], {"0": 1}]),
        ("output", [KeyError, None, "logits"]),
        ("output/kind", [KeyError, None, "words", []]),
        ("class_names", [KeyError, "abcde", [1] * 5, {"a": 1}]),
        ("licence", [KeyError, 3, ["mit"]]),
        ("total_stride", [KeyError, None, 0, "32", 1.5]),
        ("variant", [KeyError, None, 3, {}, {"depths": 1, "widths": 2}]),
        ("precision", [KeyError, None, 16]),
    ],
)
def test_metadata_that_cannot_be_is_named_when_it_is_opened(open_with, place, values):
    for value in values:
        with pytest.raises(ValueError, match=r"model\.onnx holds damaged metadata; copy or export"):
            open_with({place: value})


def test_metadata_of_another_model_is_named_when_it_is_run(open_with, images):
    for changes, taken in (
        ({"class_names": ["a", "b"]}, images),
        ({"output/kind": "features"}, images),
        ({"input/shape": [None, None, 96, 3]}, images[:, :32]),
        ({"input/dtype": "uint8"}, images.astype("uint8")),
    ):
        with pytest.raises(ValueError, match="copy or export it again"):
            open_with(changes)(taken)


def damaged(content, generator, count):
    """Copies of bytes, each with a few of them changed, moved or left out."""
    for _ in range(count):
        changed = bytearray(content)
        for place in generator.integers(0, len(changed), generator.integers(1, 4)):
            changed[place] = generator.integers(0, 256)
        start, end = sorted(generator.integers(0, len(changed), 2))
        if generator.random() < 0.2:
            del changed[start : min(end, start + 40)]
        yield bytes(changed)


def write_program(source, path, record, content):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith(record) else old.read(name))


def demand_success_or_a_documented_error(path, images):
    try:
        outputs = open_artefact(path)(images)
    except ValueError:
        return
    assert outputs.shape == (2, 5)


# Texts alone: on damaged weights a runtime computes something, on a damaged graph in bytes LiteRT
# may end the process, which nothing here can keep it from.
@pytest.mark.parametrize("record", ["model.json", "keras_convnextv2.json", "_config.json"])
def test_a_damaged_pytorch_program(export, images, tmp_path, rng, record):
    source = export("model.pt2")
    with zipfile.ZipFile(source) as archive:
        name = next(name for name in archive.namelist() if name.endswith(record))
        content = archive.read(name)
    for changed in damaged(content, rng, 12):  # PyTorch takes a second to open one
        write_program(source, tmp_path / "model.pt2", name, changed)
        demand_success_or_a_documented_error(tmp_path / "model.pt2", images)


def test_a_damaged_openvino_file(export, images, tmp_path, rng):
    source = export("model.xml")
    content = source.read_bytes()
    (tmp_path / "model.bin").write_bytes(source.with_suffix(".bin").read_bytes())
    start = content.index(b"model_info")  # where the metadata stands
    graphs = list(damaged(content, rng, 25))
    for changed in [*graphs, *(content[:start] + end for end in damaged(content[start:], rng, 50))]:
        (tmp_path / "model.xml").write_bytes(changed)
        demand_success_or_a_documented_error(tmp_path / "model.xml", images)
