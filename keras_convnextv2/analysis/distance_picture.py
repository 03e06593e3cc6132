"""The picture of feature collapse: channels' cosine distance over depth, of several models."""

import math

import numpy as np

from keras_convnextv2.analysis.block_features import PLACES
from keras_convnextv2.analysis.figures import new_figure, plain, save


def save_distance_curves(path, curves, where="response"):
    """Writes a PNG: a curve a model over normalised depth, its shuffled baseline dotted.

    Depth is the block's place, 0 the first and 1 the last, so that models of other depths compare.
    Source: arXiv 2301.00808, figure 4.

    Args:
        path: of the file.
        curves: {model's name: what `collapse_by_block` gives}.
        where: str, where in the blocks it was measured: as of `BlockFeatures`, or other words.

    Raises:
        ValueError: there is no model.
        ModuleNotFoundError: matplotlib is not installed.

    Examples:
        >>> from pathlib import Path
        >>> from keras_convnextv2.analysis import save_distance_curves
        >>> block = {"cosine_distance": 0.3, "shuffled_cosine_distance": 0.4}
        >>> save_distance_curves("distances.png", {"mine": {"a": block, "b": block}})
        >>> Path("distances.png").exists()
        True
    """
    if not curves:
        raise ValueError("There is no model whose distances could be drawn.")
    figure = new_figure(7, 4.2)
    axes = figure.add_subplot()
    for number, (name, blocks) in enumerate(curves.items()):
        depth = np.linspace(0, 1, len(blocks)) if len(blocks) > 1 else [0.5]
        own, shuffled = (
            [figures[key] for figures in blocks.values()]
            for key in ("cosine_distance", "shuffled_cosine_distance")
        )
        style = {"color": f"C{number}", "lw": 1.5}
        axes.plot(depth, own, marker="o", ms=4, label=plain(name, 40), **style)
        axes.plot(depth, shuffled, ls=":", **style)
    axes.plot([], [], ls=":", color="grey", label="channels shuffled")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(_bottom(curves), 0.51)  # .5 is the most that it can be
    axes.set_xlabel("depth of the block, 0 first, 1 last")
    axes.set_ylabel("mean cosine distance of channels")
    axes.set_title(f"How different channels are, {PLACES.get(where, where)}", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="best")
    save(figure, path)


def _bottom(curves):
    """The tenth below all that is drawn, with some room."""
    lowest = min(
        figures[key]
        for blocks in curves.values()
        for figures in blocks.values()
        for key in ("cosine_distance", "shuffled_cosine_distance")
    )
    return max(math.floor((lowest - 0.02) * 10) / 10, 0)
