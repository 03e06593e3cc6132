"""The page of a report, by the templates in report_templates."""

import dataclasses
import datetime
from pathlib import Path

from . import report_ablations, report_charts, report_evaluation, report_reconstructions, report_run
from .printable import printable
from .report_words import shown, words

TEMPLATES = Path(__file__).parent / "report_templates"
# Kinds of curves by the section that they stand in; all others are in the first.
_SECTIONS = {
    "Curves": (),
    "Probes": ("probes",),
    "Collapse": (
        *("channels' cosine distance", "effective rank", "spectrum and deviation"),
        "teacher's deviation",
    ),
}


@dataclasses.dataclass(frozen=True)
class Page:
    """A page: its html, and what is not in it, a list of str."""

    html: str
    absent: list


def of_run(folder):
    """The `Page` of a run's folder.

    Raises:
        ValueError: as `report_run.read_run`.
    """
    run = report_run.read_run(folder)
    reconstructions = report_reconstructions.reconstructions_of(run.folder)
    evaluation = report_evaluation.evaluation_of(run)
    absent = [*run.absent]
    for part in (reconstructions, evaluation):
        absent += part.absent if part is not None else []
    return _rendered(
        "run.html",
        run.name,
        absent,
        run=run,
        sentence=report_run.sentence(run),
        state=report_run.state(run),
        headlines=report_run.headlines(run),
        sections=_sections(run.epochs),
        reconstructions=reconstructions,
        evaluation=evaluation,
        given={name: run.settings[name] for name in run.given},
        facts=_facts(run),
    )


def of_runs(folders):
    """The `Page` that compares runs.

    Raises:
        ValueError: as `report_run.read_run`.
    """
    names = report_run.names_of(folders)
    runs = [report_run.read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    figures = dict.fromkeys(name for run in runs for name in run.figures)
    drawn = ((run.name, report_reconstructions.last_row(run.folder)) for run in runs)
    return _rendered(
        "comparison.html",
        f"{len(runs)} runs",
        [f"{run.name}: {line}" for run in runs for line in run.absent],
        runs=runs,
        states=[(run.name, report_run.sentence(run), report_run.state(run)) for run in runs],
        differing=report_run.differing_settings(runs),
        results={
            words(name): [shown(run.figures.get(name), name) for run in runs] for name in figures
        },
        charts=report_charts.comparison_charts({run.name: run.epochs for run in runs}),
        reconstructions=[(name, *row) for name, row in drawn if row is not None],
    )


def of_ablations(folder):
    """The `Page` of a folder of tools.reproduce_ablations.

    Raises:
        ValueError: as `report_ablations.read_ablations`.
    """
    found = report_ablations.read_ablations(folder)
    return _rendered(
        "ablations.html",
        "The paper's experiments, in small",
        found.absent,
        ablations=found,
        verdicts=report_ablations.VERDICTS,
    )


def _sections(epochs):
    """{title: charts} of a run's epochs, without empty ones."""
    charts = report_charts.charts_of(epochs)
    by_section = {title: [] for title in _SECTIONS}
    for kind, chart in charts.items():
        title = next((title for title, kinds in _SECTIONS.items() if kind in kinds), "Curves")
        by_section[title].append(chart)
    by_stage = report_charts.distance_chart(epochs)
    if by_stage is not None:
        by_section["Collapse"].append(by_stage)
    return {title: charts for title, charts in by_section.items() if charts}


def _facts(run):
    """{title: {name: value}} of where and with what a run was made, without empty ones."""
    record = run.record
    rate = report_run.typical_rate(run)
    facts = {
        "Command": report_run.command(run),
        "Versions": _named(record.get("versions")),
        "Machine": {
            "device": record.get("device"),
            **_named(record.get("machine")),
            "images a second": rate,
        },
        "Commit": _named(record.get("git")),
    }
    return {
        title: {name: value for name, value in values.items() if value is not None}
        for title, values in facts.items()
        if any(value is not None for value in values.values())
    }


def _named(value):
    return value if isinstance(value, dict) else {}


def _rendered(template, title, absent, **values):
    import jinja2

    def presentable(value):
        """What stands in double braces: names from outside without letters that turn a text."""
        return printable(value) if type(value) is str else value

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=presentable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    made = datetime.datetime.now(datetime.UTC)
    html = environment.get_template(template).render(
        title=title, absent=absent, made=f"{made:%Y-%m-%d %H:%M} UTC", **values
    )
    return Page(html, absent)
