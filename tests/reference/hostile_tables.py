"""Small data sets of each kind that lists its images, to be damaged, and what reads them."""

import io
import json
import shutil
from pathlib import Path

import numpy as np

from keras_convnextv2.data import ImageBatches, ImageSourceError, open_source, pack_images
from tests.reference.fuzzing import MEMORY, Subject
from tests.reference.mutations import mutated_bytes, mutated_json, mutated_zip

_TFDS = Path(__file__).parents[1] / "data" / "tiny_tfds"
_COUNT = 6


def _write_pictures(folder):
    from PIL import Image

    for number in range(_COUNT):
        name = ("bolt", "nut")[number % 2]
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), "uint8")
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return sorted(folder.rglob("*.png"))


def _rows(folder):
    paths = _write_pictures(folder)
    return [(path.relative_to(folder), path.parent.name, "train") for path in paths]


def _csv(folder):
    lines = ["path,label,split", *(",".join(map(str, row)) for row in _rows(folder))]
    (folder / "one.csv").write_text("\n".join(lines))
    several = [f'{path},"{label};old"' for path, label, _ in _rows(folder)]
    (folder / "several.csv").write_text("\n".join(["path,label", *several]))
    return [folder / "one.csv", folder / "several.csv"]


def _json_lines(folder):
    rows = [{"path": str(path), "label": [label, "old"]} for path, label, _ in _rows(folder)]
    (folder / "several.jsonl").write_text("\n".join(map(json.dumps, rows)))
    one = [{**row, "label": number, "split": "train"} for number, row in enumerate(rows)]
    (folder / "one.jsonl").write_text("\n".join(map(json.dumps, one)))
    return [folder / "several.jsonl", folder / "one.jsonl"]


def _npz(folder):
    draw = np.random.default_rng(0)
    arrays = {
        "images": draw.integers(0, 256, (_COUNT, 8, 8, 3), "uint8"),
        "labels": np.arange(_COUNT) % 2,
        "class_names": np.array(["bolt", "nut"]),
        "mean": np.full(3, 0.5, "float32"),
        "std": np.full(3, 0.25, "float32"),
    }
    np.savez_compressed(folder / "train.npz", **arrays)
    return [folder / "train.npz"]


def _packed(folder):
    _write_pictures(folder / "pictures")
    pack_images({"train": open_source(folder / "pictures", "train")}, folder / "packed")
    shutil.rmtree(folder / "pictures")
    return sorted((folder / "packed").iterdir())


def _tfds(folder):
    shutil.copytree(_TFDS, folder / "tiny")
    return sorted(path for path in (folder / "tiny").iterdir() if "test" not in path.name)


def _mutated(content, rng, path):
    """By the kind of file; many are another thing altogether."""
    kind = rng.randrange(12)
    if kind == 0:
        return rng.randbytes(rng.choice((0, 1, 30, 3000)))
    if kind == 1:
        return rng.choice((b"[", b'{"path":', b'"')) * rng.choice((30, 3000, 100_000))
    if path.suffix == ".json" and kind < 8:
        return mutated_json(content, rng)
    if path.suffix == ".jsonl" and kind < 8:
        lines = content.split(b"\n")
        place = rng.randrange(len(lines))
        lines[place] = mutated_json(lines[place], rng)
        return b"\n".join(lines)
    if path.suffix == ".npz":
        return mutated_zip(content, rng, {".npy": _mutated_array})
    return mutated_bytes(content, rng)


def _mutated_array(content, rng):
    """With other words in its header, or any damage."""
    if rng.randrange(2):
        return mutated_bytes(content, rng)
    array = np.load(io.BytesIO(content))
    shape = rng.choice(((2**40,), (2**31, 2**31), (0,), (-1,), array.shape[::-1], array.shape[:1]))
    dtype = rng.choice(("|u1", "<f8", "|O", "<U9999999", "|V8", "<c16", "<M8[s]", "|S4"))
    words = {"descr": dtype, "fortran_order": rng.choice((True, False)), "shape": shape}
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, words)
    return head.getvalue() + content[128:]


def read_source(path):
    """All that a training reads of the data set that a damaged file belongs to."""
    is_table = path.suffix in (".csv", ".jsonl")
    source = open_source(path if is_table else path.parent, "train")
    labelled = source.labels is not None
    for batch in ImageBatches(source, (8, 8), 4, labelled=labelled):
        assert batch[0].dtype == "float32" and batch[0].shape[1:3] == (8, 8)


_OF_READER = 3 << 30  # ArrayRecord's starts 64 threads

SUBJECTS = {
    kind: Subject(make, _mutated, read_source, ImageSourceError, True, memory)
    for kind, make, memory in (
        ("csv", _csv, MEMORY),
        ("json lines", _json_lines, MEMORY),
        ("npz", _npz, MEMORY),
        ("packed", _packed, _OF_READER),
        ("tfds", _tfds, MEMORY),
    )
}
