"""Figures of matplotlib, without its global state."""

import importlib
import warnings


def new_figure(width, height):
    """An empty `matplotlib.figure.Figure` of so many inches, 100 pixels each.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; `name` is "matplotlib".
    """
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Pictures are drawn with matplotlib, which is not installed: "
            "pip install 'keras-convnextv2[recipes]'",
            name="matplotlib",
        ) from error
    return figures.Figure(figsize=(width, height), dpi=100, layout="constrained")


def save(figure, path):
    """Writes a figure as PNG; a letter that the font lacks is drawn as a box, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(path, format="png")


def plain(text, most=24):
    """A name as matplotlib is to draw it: one line, not too long, dollars no formula."""
    line = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    line = line if len(line) <= most else f"{line[: most - 1]}…"
    return line.replace("$", r"\$")
