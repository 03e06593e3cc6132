"""A picture of a group of tools.reproduce_ablations: accuracies here, and the paper's."""

from keras_convnextv2.analysis.figures import new_figure
from recipes.result_dots import draw_dots


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
    draw_dots(
        figure,
        [
            {
                "row": row.name,
                "seeds": list(row.accuracies.values()),
                "mean": row.mean,
                "spread": row.spread,
                "paper": row.experiment.paper,
                "is_reference": row.name == comparison.group.reference,
            }
            for row in comparison.rows
        ],
    )
    figure.suptitle(comparison.group.title, fontsize=11)
