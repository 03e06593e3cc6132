"""How often a classifier is right, by how sure it is, as a picture."""

import numpy as np

from keras_convnextv2.analysis.figures import new_figure, save


def save_reliability_diagram(path, found, several_labels=False):
    """Writes a PNG: a bar a bin, beside the diagonal on which a classifier is as right as it says.

    Below it stands how many decisions each bin has: a bar of few says little.

    Args:
        path: of the file.
        found: a `Reliability`.
        several_labels: bool, whether decisions are of labels, not of first classes.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.

    Examples:
        >>> from pathlib import Path
        >>> from keras_convnextv2.analysis import reliability, save_reliability_diagram
        >>> found = reliability([[0.9, 0.1], [0.6, 0.4]], [0, 1])
        >>> save_reliability_diagram("reliability.png", found)
        >>> Path("reliability.png").exists()
        True
    """
    number = len(found.count)
    filled = found.count > 0
    left = np.arange(number)[filled] / number
    width = 1 / number
    figure = new_figure(6, 6.5)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="as sure as right")
    accuracy, said = found.accuracy[filled], found.confidence[filled]
    top.bar(left, accuracy, width, align="edge", color="tab:blue", edgecolor="white", label="right")
    top.plot(said, accuracy, "o", color="black", markersize=3, label="mean of a bin")
    top.set_ylim(0, 1)
    top.set_ylabel("share of labels that are" if several_labels else "share that was right")
    total = int(found.count.sum())
    kind = "decisions" if several_labels else "images"
    error = 100 * found.expected_error
    top.set_title(f"expected calibration error {error:.1f} %, {total:,} {kind}", fontsize=11)
    top.legend(loc="upper left", fontsize=9)
    below.bar(left, found.count[filled], width, align="edge", color="grey", edgecolor="white")
    below.set_xlim(0, 1)
    below.set_ylabel(kind)
    below.set_xlabel("probability of the label" if several_labels else "probability it gave")
    save(figure, path)
