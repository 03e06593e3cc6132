"""The evaluation of a classifier, as evaluation_report leaves it, for a report."""

import dataclasses

from .report_files import NotThere, embedded, read_picture
from .report_words import is_number, shown, words

_MOST_CLASSES = 300  # that a page lists
_COLUMNS = ("class", "precision", "recall", "f1", "support", "predicted", "average_precision")
_PICTURES = {
    "confusion": "Confusion matrix: the right classes in rows, what was said in columns.",
    "reliability": "How often it is right, by how sure it is.",
    "worst": "The mistakes that the classifier was surest of.",
}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Of test images.

    Args:
        source: str, the images.
        columns: list of str, of `classes`.
        classes: list of lists of str, a class each, that of the lowest F1 first.
        note: str, which classes are not listed, or "".
        pictures: list of (caption, `Picture`).
        absent: list of str.
    """

    source: str
    columns: list
    classes: list
    note: str
    pictures: list
    absent: list


def evaluation_of(run):
    """The `Evaluation` of a `Run`; None without."""
    if run.evaluation is None:
        return None
    rows = run.evaluation.get("per_class")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    rows.sort(key=lambda row: row["f1"] if is_number(row.get("f1")) else 2.0)
    columns = [name for name in _COLUMNS if any(name in row for row in rows)]
    pictures, absent = [], []
    for name, caption in _PICTURES.items():
        path = run.evaluation_folder / f"{name}.png"
        if not path.exists():
            continue  # as the matrix, where an image may have several labels
        try:
            pictures.append((caption, embedded(read_picture(path))))
        except NotThere as error:
            absent.append(str(error))
    more = len(rows) - _MOST_CLASSES
    return Evaluation(
        shown(run.evaluation.get("images_from")),
        [words(name) for name in columns],
        [[shown(row.get(name), name) for name in columns] for row in rows[:_MOST_CLASSES]],
        f"{more:,} classes of higher F1 are not listed; per_class.csv has all." if more > 0 else "",
        pictures,
        absent,
    )
