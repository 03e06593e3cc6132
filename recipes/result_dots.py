"""Results of several seeds beside the paper's numbers, drawn."""


def draw_dots(figure, rows):
    """A dot a seed, a diamond their mean with its spread, and the paper's number beside.

    Args:
        figure: of matplotlib.
        rows: list of dicts: "row" (its name), "seeds" (list), "mean", "spread", "paper" (floats or
            None) and "is_reference".
    """
    ours, papers = figure.subplots(1, 2, sharey=True)
    for place, row in enumerate(rows):
        style = {"color": "C1" if row["is_reference"] else "C0"}
        ours.plot(row["seeds"], [place] * len(row["seeds"]), "o", ms=4, alpha=0.5, **style)
        if row["mean"] is not None:
            bar = row["spread"]
            ours.errorbar(row["mean"], place, xerr=bar, fmt="D", ms=5, capsize=3, **style)
        if row["paper"] is not None:
            papers.plot(row["paper"], place, "D", ms=5, **style)
    for axes, where in ((ours, "here"), (papers, "in the paper")):
        axes.set_xlabel(f"accuracy {where}, %", fontsize=9)
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(labelsize=8)
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
    if all(row["paper"] is None for row in rows):
        papers.set_xticks([])
        papers.set_xlabel("no number in the paper", fontsize=9)
    ours.set_yticks(range(len(rows)), [row["row"] for row in rows])
    ours.set_ylim(len(rows) - 0.5, -0.5)
