"""results.csv, results.md and a picture a group, of what tools.reproduce_ablations has so far."""

import csv
from pathlib import Path

from keras_convnextv2.whole_files import whole_file
from tools.ablation_results import AGREES, DISAGREES, WITHIN

_NONE = ""


def write(folder, comparisons, settings, state):
    """Writes all files anew.

    Args:
        folder: Path.
        comparisons: list of `Comparison`.
        settings: dict, of the plan, for the head of results.md.
        state: str, how much is done.
    """
    from tools.ablation_plots import save_plot

    with (
        whole_file(folder / "results.csv") as unfinished,
        unfinished.open("w", newline="") as lines,
    ):
        writer = csv.DictWriter(lines, _columns(comparisons))
        writer.writeheader()
        writer.writerows(_lines(comparisons))
    with whole_file(folder / "results.md") as unfinished:
        unfinished.write_text(as_markdown(comparisons, settings, state), encoding="utf-8")
    for comparison in comparisons:
        if _is_drawn(comparison):
            with whole_file(folder / "plots" / f"{comparison.group.name}.svg") as unfinished:
                save_plot(unfinished, comparison)


def _is_drawn(comparison):
    """Whether there is something to compare."""
    return sum(bool(row.accuracies) for row in comparison.rows) > 1


def _columns(comparisons):
    seeds = sorted({seed for c in comparisons for row in c.rows for seed in row.accuracies})
    return [
        *("group", "row", "source", "paper", "n", "mean", "spread", "difference"),
        *("paper_difference", "verdict", "minutes", "title", "reference"),
        *(f"seed_{seed}" for seed in seeds),
    ]


def _lines(comparisons):
    for comparison in comparisons:
        for row in comparison.rows:
            ours, papers = comparison.difference(row)
            yield {
                "group": comparison.group.name,
                "row": row.name,
                "source": comparison.group.source,
                "paper": _number(row.experiment.paper, "{:.1f}"),
                "n": len(row.accuracies),
                "mean": _number(row.mean, "{:.4f}"),
                "spread": _number(row.spread, "{:.4f}"),
                "difference": _number(ours, "{:.4f}"),
                "paper_difference": _number(papers, "{:.1f}"),
                "verdict": comparison.verdict(row),
                "minutes": f"{row.minutes:.1f}",
                "title": comparison.group.title,
                "reference": "yes" if row.name == comparison.group.reference else "",
                **{f"seed_{seed}": f"{found:.4f}" for seed, found in row.accuracies.items()},
            }


def as_markdown(comparisons, settings, state):
    """results.md: the settings, how to read it, and a table a group."""
    # The folder's name without where it is, so that the page can be shown.
    shown = {**settings, "data_dir": Path(settings.get("data_dir") or "").name}
    shown.pop("images", None)
    for kind, words in shown.pop("common_flags", {}).items():
        shown[f"flags, {kind}"] = " ".join(words)
    lines = [
        "# The paper's experiments, in small",
        "",
        f"{state}",
        "",
        "Accuracy on the test images in percent, of each seed; the mean, and the spread: the",
        "standard deviation over n seeds. The paper (arXiv 2301.00808) has Base on ImageNet-1K, so",
        "the order is compared, not the numbers. Each row is compared with the one in bold. It",
        f'"{AGREES}" where the difference has the sign of the paper\'s, and is "{WITHIN}" where it',
        "is not larger than the root of the sum of both squared spreads. A row of one seed is",
        f"taken to have the spread of the rows with several, pooled: {_common(comparisons)}.",
        "Minutes are of all runs of a row, those that other rows need too among them.",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {name} | `{_shown(value)}` |" for name, value in shown.items()),
        "",
        "Rows without a pretraining are trained without layer-wise decay of the rates, those with",
        "one by that of the paper, so the two differ in this as well.",
    ]
    for comparison in comparisons:
        lines += ["", *_of_group(comparison)]
    return "\n".join(lines) + "\n"


def _of_group(comparison):
    group = comparison.group
    lines = [f"## {group.title}", "", f"The paper: {group.source}. `--only={group.name}`", ""]
    lines += [
        "| | paper | seeds | mean | n | to the reference | in the paper | order | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in comparison.rows:
        ours, papers = comparison.difference(row)
        spread = "" if row.spread is None else f" ± {row.spread:.1f}"
        cells = [
            f"**{row.name}**" if row.name == group.reference else row.name,
            _number(row.experiment.paper, "{:.1f}"),
            ", ".join(f"{found:.1f}" for found in row.accuracies.values()),
            _number(row.mean, "{:.1f}") + spread if row.accuracies else "not run yet",
            str(len(row.accuracies)),
            _number(ours, "{:+.1f}"),
            _number(papers, "{:+.1f}"),
            comparison.verdict(row),
            f"{row.minutes:.0f}" if row.accuracies else _NONE,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if not _is_drawn(comparison):
        return lines
    ours, papers = comparison.orders()
    lines += ["", f"Order here: {ours}."]
    if papers:
        pairs = comparison.pairs()
        lines[-1] += (
            f" In the paper: {papers}. Of {sum(pairs.values())} pairs that it orders "
            f"and that are run, {pairs[AGREES]} agree, {pairs[DISAGREES]} do not, and "
            f"{pairs[WITHIN]} are within the spread."
        )
        if comparison.common_spread is None:
            lines[-1] += " No row has a spread yet: each is of one seed."
    return [*lines, "", f"![{group.title}](plots/{group.name}.svg)"]


def as_text(comparisons):
    """The rows that have results, a line each, of groups with two or more."""
    lines = []
    for comparison in comparisons:
        rows = [row for row in comparison.rows if row.accuracies]
        if not _is_drawn(comparison):
            continue
        lines += ["", comparison.group.title]
        for row in rows:
            spread = "" if row.spread is None else f" ± {row.spread:.1f}"
            found = f"{row.mean:.1f}{spread}"
            paper = _number(row.experiment.paper, "{:.1f}")
            verdict = comparison.verdict(row) or (
                "the reference" if row.name == comparison.group.reference else ""
            )
            lines.append(f"  {row.name:<26}{found:>12}{paper:>7}  {verdict}".rstrip())
    return "\n".join(lines).lstrip("\n")


def _common(comparisons):
    spread = comparisons[0].common_spread if comparisons else None
    return "none so far" if spread is None else f"{spread:.2f} points"


def _number(value, form):
    return _NONE if value is None else form.format(value)


def _shown(value):
    if value in (None, "", []):
        return "default"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
