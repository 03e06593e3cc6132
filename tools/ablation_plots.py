"""A picture of a group of tools.reproduce_ablations: accuracies here, and the paper's."""

from keras_convnextv2.analysis.figures import new_figure


def save_plot(path, comparison):
    """Writes an SVG: a dot a seed and the mean with its spread, and the paper's numbers.

    Equal results give equal files.

    Args:
        path: of the file.
        comparison: `Comparison` with at least one result.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; names the extra.
    """
    figure = new_figure(8, 1.3 + 0.36 * len(comparison.rows))
    import matplotlib

    # Text as text: a third of the size, and it can be searched.
    with matplotlib.rc_context({"svg.hashsalt": "ablations", "svg.fonttype": "none"}):
        draw(figure, comparison)
        figure.savefig(path, format="svg", metadata={"Date": None})


def draw(figure, comparison):
    """Draws a group on a matplotlib figure."""
    rows = comparison.rows
    ours, papers = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        is_reference = row.name == comparison.group.reference
        colour = "C1" if is_reference else "C0"
        if row.accuracies:
            found = list(row.accuracies.values())
            ours.plot(found, [place] * len(found), "o", ms=4, alpha=0.45, color=colour)
            ours.errorbar(row.mean, place, xerr=row.spread, fmt="D", ms=6, capsize=3, color=colour)
        if row.experiment.paper is not None:
            papers.plot(row.experiment.paper, place, "D", ms=6, color=colour)
    has_paper = any(row.experiment.paper is not None for row in rows)
    ours.set_title("here", fontsize=10)
    papers.set_title("in the paper" if has_paper else "no number in the paper", fontsize=10)
    if not has_paper:
        papers.set_xticks([])
    for panel in (ours, papers):
        panel.grid(axis="x", alpha=0.3)
        panel.tick_params(labelsize=8)
        panel.set_xlabel("accuracy, %", fontsize=9)
        panel.margins(x=0.1)
    ours.set_yticks(range(len(rows)), [row.name for row in rows])
    ours.set_ylim(len(rows) - 0.5, -0.5)
    figure.suptitle(comparison.group.title, fontsize=11)
