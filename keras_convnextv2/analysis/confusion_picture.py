"""A confusion matrix as a picture."""

import numpy as np

from keras_convnextv2.analysis.figures import new_figure, plain, save

_MOST_CLASSES = 100  # of more, a picture would have no room for names
_MOST_WITH_NUMBERS = 30
_DARK = 0.6  # of a cell, above which its number is white


def save_confusion_matrix(path, confusion, class_names=None):
    """Writes a PNG: a row the right class, a column the one that was said.

    The colour is the share of the row's images. Up to 30 classes a cell has its count; above, small
    shares are drawn darker, so that they can be seen (by their square root). Of more than 100
    classes only the 100 that were confused most are drawn.

    Args:
        path: of the file.
        confusion: int (K, K), as `confusion_matrix` gives it.
        class_names: optional K strings.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.

    Examples:
        >>> from pathlib import Path
        >>> from keras_convnextv2.analysis import save_confusion_matrix
        >>> save_confusion_matrix("confusion.png", [[5, 1], [0, 7]], ["cat", "dog"])
        >>> Path("confusion.png").exists()
        True
    """
    confusion = np.asarray(confusion)
    chosen = _most_confused(confusion, _MOST_CLASSES)
    names = [str(place) if class_names is None else plain(class_names[place]) for place in chosen]
    # Rows are shares of all images of a class, of those in columns that are not drawn too.
    totals = confusion.sum(1)[chosen]
    counts = confusion[np.ix_(chosen, chosen)]
    shares = counts / np.maximum(totals, 1)[:, None]

    number = len(chosen)
    cell = float(np.clip(9 / number, 0.16, 0.8))  # inches
    margin = 1.2 + 0.07 * max(map(len, names))
    figure = new_figure(number * cell + margin + 1.2, number * cell + margin)
    axes = figure.add_subplot()
    image = axes.imshow(shares, norm=_norm(number), cmap="Blues")
    size = float(np.clip(cell * 30, 6, 11))  # points
    axes.set_xticks(range(number), names, rotation=90, fontsize=size)
    axes.set_yticks(range(number), names, fontsize=size)
    axes.set_xlabel("said")
    axes.set_ylabel("right")
    left_out = len(confusion) - number
    of_all = f", the {number} of {len(confusion)} classes confused most" if left_out else ""
    right = int(confusion.diagonal().sum())
    axes.set_title(f"{right:,} of {int(confusion.sum()):,} right{of_all}", fontsize=11)
    if number <= _MOST_WITH_NUMBERS:
        digits = len(str(counts.max()))
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=min(11, cell * 72 / (0.75 * digits + 0.5)),
                color="white" if shares[row, column] > _DARK else "black",
            )
    elif number > 1:  # a line each ten classes leads the eye
        for place in range(10, number, 10):
            axes.axhline(place - 0.5, color="lightgrey", linewidth=0.5)
            axes.axvline(place - 0.5, color="lightgrey", linewidth=0.5)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 4 / (number * cell)))
    bar.set_label("share of the row")
    save(figure, path)


def _norm(number):
    import matplotlib.colors

    return matplotlib.colors.PowerNorm(1 if number <= _MOST_WITH_NUMBERS else 0.5, 0, 1)


def _most_confused(confusion, most):
    """Places of the classes to draw, in order: all, or those in most of the mistakes."""
    if len(confusion) <= most:
        return np.arange(len(confusion))
    mistakes = confusion - np.diag(confusion.diagonal())
    taken = np.argsort(-(mistakes.sum(0) + mistakes.sum(1)), kind="stable")[:most]
    return np.sort(taken)
