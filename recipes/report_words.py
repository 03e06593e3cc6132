"""Values of a run as a report shows them."""

import json
import math

_MOST_LETTERS = 2000
_NAMES = {
    "probe_ridge": "ridge probe",
    "probe_knn": "kNN probe",
    "rankme": "RankMe",
    "alpha_req": "alpha-ReQ",
}
_SHARES = ("accuracy", "f1", "precision", "recall", "ridge", "knn")


def shown(value, name=""):
    """A value in words: shares in percent by their name, floats with four digits, lists as flags.

    Args:
        value: anything that JSON can hold.
        name: str, of the value.
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return clipped(f"{value:,}")
    if isinstance(value, float):
        return _float(value, name)
    if isinstance(value, str):
        return clipped(value) or "empty"
    if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        return clipped(", ".join(map(str, value))) if value else "empty"
    return clipped(json.dumps(value, ensure_ascii=False))


def _float(value, name):
    if not math.isfinite(value):
        return str(value)
    if name.endswith(_SHARES) and 0 <= value <= 1:
        return f"{value:.1%}"
    if value == int(value) and abs(value) < 10**6:
        return f"{int(value):,}"
    return f"{value:.4g}"


def is_number(value):
    """Whether a value is a finite number, no bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # of an int that is no float
        return False


def clipped(text):
    """A text of at most two thousand letters."""
    text = str(text)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def words(name):
    """A name of a figure as words: "measure_cosine_distance_stage0" is "cosine distance stage0"."""
    name = name.removeprefix("measure_")
    return _NAMES.get(name) or clipped(name).replace("_", " ")
