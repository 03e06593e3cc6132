"""Images that a table lists, with their labels: CSV or JSON lines."""

import collections
import csv
import dataclasses
import json
import os

import numpy as np

from keras_convnextv2.data.file_source import FileSource
from keras_convnextv2.data.folder_layout import KINDS, kind_of_split
from keras_convnextv2.data.image_source import (
    ImageSourceError,
    NoSuchSplitError,
    count_images,
    name_some,
)
from keras_convnextv2.data.pixel_survey import demand_decoders, survey_split
from keras_convnextv2.data.regular_file import demand_regular_file

TABLE_ENDINGS = (".csv", ".jsonl", ".ndjson")
_COLUMNS = ("path", "label", "split")
_MOST_NAMED = 10


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table: `labels` is a tuple of names, or None where the table has no labels."""

    line: int
    path: str
    labels: tuple | None
    split: str | None


def open_table(path, split, pixel_range=None):
    """`FileSource` of the rows of one split of a table.

    A CSV file has a header with the columns `path`, `label` and `split`, of which the last two may
    be missing; a JSON-lines file has an object with these keys on each line. Relative paths count
    from the folder of the table. Where one image has several labels, as `cat;dog` in CSV or a list
    in JSON lines, all labels are float32 (N, num_classes) of 0 and 1, and an image may have none.
    Classes are the sorted names of the labels of all splits; whole numbers are sorted as such.
    Without a column `split`, every fifth image of a class is test, in the order of the paths.

    Args:
        path: `Path` of the table.
        split: "train", "validation" or "test".
        pixel_range: as in `open_source`.

    Raises:
        NoSuchSplitError: there is no such split.
        ImageSourceError: the table cannot be read, or rows are bad (they are named with the number
            of their line).
    """
    rows, several = _rows_of(path)
    class_names = _sorted_names({name for row in rows for name in row.labels or ()})
    is_labelled = rows[0].labels is not None
    train, chosen = (_of_split(path, rows, kind, not several) for kind in ("train", split))
    if not chosen:
        raise NoSuchSplitError(_no_split(path, rows, split))
    number_of = {name: number for number, name in enumerate(class_names)}
    labels = None
    if several:
        labels = np.zeros((len(chosen), len(class_names)), "float32")
        for place, row in enumerate(chosen):
            labels[place, [number_of[name] for name in row.labels]] = 1
    elif is_labelled:
        labels = np.array([number_of[row.labels[0]] for row in chosen], "int32")
    paths = [row.path for row in chosen]
    demand_decoders(paths)
    # The same pixels are looked at for all splits.
    pixels = survey_split([row.path for row in train], paths, pixel_range)
    kind = ", several an image" if several else ""
    return FileSource(
        records=np.array(paths, dtype=object),
        labels=labels,
        class_names=class_names,
        channels=pixels.channels,
        mean=pixels.mean,
        std=pixels.std,
        native_size=None,
        description=f"{count_images(len(paths), class_names)}{kind} in {path} ({split})",
        pixel_range=pixels.pixel_range,
        notes=pixels.notes,
    )


def _rows_of(path):
    """(rows, whether an image may have several labels)."""
    try:
        demand_regular_file(path)
        with open(path, encoding="utf-8-sig", newline="") as file:
            read = _read_csv if path.suffix.lower() == ".csv" else _read_json_lines
            found = list(read(path, file))
    except ImageSourceError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise ImageSourceError(
            f"{path} cannot be read as a table ({type(error).__name__}: {error}). Write it as "
            "UTF-8 text with a header path,label."
        ) from error
    if not found:
        raise ImageSourceError(f"{path} lists no images. Add rows below the header path,label.")
    several = any(isinstance(values.get("label"), list) for _, values in found)
    rows, bad, line_of, is_labelled = [], [], {}, any("label" in values for _, values in found)
    for line, values in found:
        row, problem = _row(path.parent, line, values, several, is_labelled)
        if problem is None and row.path in line_of:
            problem = f"lists {values['path']!r} again, as line {line_of[row.path]} does"
        if problem is not None:
            bad.append(f"line {line} {problem}")
            continue
        line_of[row.path] = line
        rows.append(row)
    if bad:
        more = f"; and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        raise ImageSourceError(
            f"{path}: {len(bad)} of {len(found)} rows are bad: {'; '.join(bad[:_MOST_NAMED])}{more}"
            ". Mend or delete these lines."
        )
    return rows, several


def _read_csv(path, file):
    """(number of the line, {column: text, or for several labels a list})."""
    reader = csv.DictReader(file, strict=True)
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    if "path" not in columns:
        raise ImageSourceError(
            f"{path} has no column `path`: its first line is {name_some(columns)}. Begin it with "
            "path,label or path,label,split."
        )
    reader.fieldnames = columns
    found = []
    for values in reader:
        if None in values or None in values.values():
            values = {"problem": f"has not as many values as the {len(columns)} columns"}
        found.append((reader.line_num, values))
    several = any(";" in values.get("label", "") for _, values in found)
    for line, values in found:
        if several and "label" in values:
            values["label"] = [name.strip() for name in values["label"].split(";") if name.strip()]
        yield line, values


def _read_json_lines(path, file):
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            values = {"problem": f"is no JSON ({error})"}
        if not isinstance(values, dict):
            values = {"problem": "is no JSON object"}
        yield line, values


def _row(folder, line, values, several, is_labelled):
    """(`Row`, None) or (None, what is wrong)."""
    if "problem" in values:
        return None, values["problem"]
    name, label, split = (values.get(column) for column in _COLUMNS)
    if not isinstance(name, str) or not name.strip():
        return None, "has no path"
    path = os.path.normpath(os.path.join(folder, os.path.expanduser(name.strip())))
    if not os.path.exists(path):
        return None, f"names {name!r}, which does not exist"
    labels = None
    if is_labelled:
        given = label if several and isinstance(label, list) else [label]
        if several and label in (None, ""):
            given = []
        if any(not isinstance(one, str | int) or isinstance(one, bool) for one in given):
            return None, f"has the label {label!r}, which is neither text nor a whole number"
        labels = tuple(dict.fromkeys(str(one).strip() for one in given))
        if not all(labels) or not (labels or several):
            return None, "has no label"
    if split is not None and kind_of_split(str(split)) is None:
        return None, f"has the split {split!r}, which is none of {', '.join(KINDS)}"
    return Row(line, path, labels, split and kind_of_split(str(split))), None


def _of_split(path, rows, split, by_class):
    """The rows of a split; without a column of it, every fifth is test, of a class or of all."""
    if any(row.split is not None for row in rows):
        without = [row.line for row in rows if row.split is None]
        if without:
            raise ImageSourceError(
                f"{path}: {len(without)} rows have no split, and others have one: lines "
                f"{name_some(without)}. Fill the column, or leave it out."
            )
        found = {row.split for row in rows}
        if split == "validation" and "test" not in found:  # it is the test split
            return []
        kind = next((kind for kind in KINDS[split] if kind in found), None)
        return [row for row in rows if row.split == kind]
    if rows[0].labels is None or split == "validation":
        return rows if split == "train" else []
    counted, chosen = collections.Counter(), []
    for row in sorted(rows, key=lambda row: row.path):
        name = row.labels[0] if by_class else None
        counted[name] += 1
        if split == ("test" if counted[name] % 5 == 0 else "train"):
            chosen.append(row)
    return chosen


def _no_split(path, rows, split):
    splits = sorted({row.split for row in rows if row.split is not None})
    if splits:
        why = ", and validation is its test split" if split == "validation" in splits else ""
        return f"{path} has no {split} split: it has {name_some(splits)}{why}. Add rows of it."
    if split == "validation":
        return (
            f"{path} has no column `split`, and so no validation split. Add the column, or hold "
            "out some of the training images (`source.split(fraction, seed)`)."
        )
    return f"{path} has no column `split`, and too few images for a {split} split. Add the column."


def _sorted_names(names):
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))
