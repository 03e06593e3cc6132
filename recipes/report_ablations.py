"""What tools.reproduce_ablations has found, by its results.csv and settings.json, for a report."""

import collections
import csv
import dataclasses
import io
from pathlib import Path

from .report_charts import Chart, dots_chart
from .report_files import NotThere, read_object, read_text
from .report_words import is_number, shown

RESULTS = "results.csv"
_SETTINGS = "settings.json"
_MOST_ROWS = 500
_CAPTION = "A dot a seed, a diamond their mean with its spread"
VERDICTS = ("agrees", "does not agree", "within the spread")


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that are compared with each other.

    Args:
        name, title, source: strs.
        rows: list of dicts, as of `dots_chart`, with "n", "difference", "paper_difference",
            "minutes" (numbers or None) and "verdict".
        chart: `Chart`, or None where fewer than two rows have a result.
    """

    name: str
    title: str
    source: str
    rows: list
    chart: Chart | None

    @property
    def counts(self):
        """{verdict: how many rows}, of `VERDICTS`, whether by one seed or more."""
        told = collections.Counter(row["verdict"].partition(",")[0] for row in self.rows)
        return {verdict: told[verdict] for verdict in VERDICTS}


@dataclasses.dataclass(frozen=True)
class Ablations:
    """The whole table.

    Args:
        groups: list of `Group`.
        settings: {name: value in words}.
        absent: list of str.
    """

    groups: list
    settings: dict
    absent: list

    @property
    def num_rows(self):
        """(rows that have a result, all rows)."""
        rows = [row for group in self.groups for row in group.rows]
        return sum(row["mean"] is not None for row in rows), len(rows)


def read_ablations(folder):
    """The `Ablations` in a folder of tools.reproduce_ablations.

    Raises:
        ValueError: there are no results.
    """
    folder = Path(folder)
    try:
        lines = list(csv.DictReader(io.StringIO(read_text(folder / RESULTS))))[:_MOST_ROWS]
    except (NotThere, csv.Error) as error:
        raise ValueError(
            f"--ablations: {folder}: {error}. Name the --output_dir of tools.reproduce_ablations."
        ) from error
    if not lines or not {"group", "row", "mean"} <= set(lines[0]):
        raise ValueError(f"--ablations: {folder / RESULTS} holds no results.")
    absent, settings = [], {}
    try:
        settings = read_object(folder / _SETTINGS)
    except NotThere as error:
        absent.append(str(error))
    of_groups = {}
    for line in lines:
        of_groups.setdefault(line["group"] or "", []).append(line)
    return Ablations(
        [_group(name, lines) for name, lines in of_groups.items()],
        {name: shown(value) for name, value in settings.items() if value not in (None, "", [])},
        absent,
    )


def _group(name, lines):
    title = lines[0].get("title") or name
    rows = [_row(line) for line in lines]
    has_chart = sum(row["mean"] is not None for row in rows) > 1
    chart = dots_chart(_CAPTION, rows) if has_chart else None
    return Group(name, title, lines[0].get("source") or "", rows, chart)


def _row(line):
    numbers = ("paper", "mean", "spread", "n", "difference", "paper_difference", "minutes")
    seeds = (_number(value) for name, value in line.items() if str(name).startswith("seed_"))
    return {
        "row": line["row"] or "",
        **{name: _number(line.get(name)) for name in numbers},
        "verdict": line.get("verdict") or "",
        "is_reference": line.get("reference") == "yes",
        "seeds": [value for value in seeds if value is not None],
    }


def _number(text):
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if is_number(value) else None
