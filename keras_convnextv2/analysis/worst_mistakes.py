"""The mistakes that a classifier was surest of, and a sheet of their images."""

import dataclasses

import numpy as np

from keras_convnextv2.analysis.figures import new_figure, plain, save
from keras_convnextv2.analysis.labels import checked_pair
from keras_convnextv2.analysis.multi_label import THRESHOLD

_COLUMNS = 6
_CELL = (2.0, 2.55)  # inches of an image with the lines above it, width and height


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An image that was taken for something else.

    Attributes:
        index: int, the image's place.
        right: int, its class; None where it has several labels and one was given wrongly.
        said: int, the class it was taken for; None where one of several labels was not given.
        confidence: float, how sure: the probability of `said`, or that `right` is not the case.

    Examples:
        >>> from keras_convnextv2.analysis import Mistake, worst_mistakes
        >>> (mistake,) = worst_mistakes([[0.75, 0.25], [0.5, 0.5]], [1, 0])
        >>> mistake == Mistake(index=0, right=1, said=0, confidence=0.75)
        True
    """

    index: int
    right: int | None
    said: int | None
    confidence: float


def worst_mistakes(probabilities, labels, count=24):
    """The mistakes of the largest confidence, one an image, surest first.

    Args:
        probabilities: (N, K).
        labels: int (N,), or (N, K) of 0 and 1.
        count: int, at most so many.

    Returns:
        A list of `Mistake`.

    Examples:
        >>> from keras_convnextv2.analysis import worst_mistakes
        >>> found = worst_mistakes([[0.9, 0.2], [0.1, 0.3]], [[0, 0], [0, 1]])  # of two labels
        >>> [(mistake.index, mistake.right, mistake.said) for mistake in found]
        [(0, None, 0), (1, 1, None)]
    """
    probabilities, labels, several = checked_pair(probabilities, labels)
    places = np.arange(len(labels))
    if several:
        wrong = (probabilities > THRESHOLD) != labels
        sure = np.where(wrong, np.where(labels, 1 - probabilities, probabilities), 0)
        worst = sure.argmax(1)
        is_wrong, confidence = wrong.any(1), sure[places, worst]
    else:
        worst = probabilities.argmax(1)
        is_wrong, confidence = worst != labels, probabilities[places, worst]
    order = np.argsort(-confidence, kind="stable")
    found = []
    for place in order[is_wrong[order]][:count].tolist():
        said = int(worst[place])
        if not several:
            right = int(labels[place])
        elif labels[place, said]:
            right, said = said, None
        else:
            right = None
        found.append(Mistake(place, right, said, float(confidence[place])))
    return found


def save_worst_mistakes(path, images, mistakes, class_names=None, captions=None):
    """Writes a PNG of mistaken images: the right class, what was said, and how surely.

    Args:
        path: of the file.
        images: sequence of uint8 (H, W, C), one a mistake, as the classifier saw them; of 2
            channels the first is shown, of more than 3 the first three.
        mistakes: list of `Mistake`.
        class_names: optional K strings.
        captions: optional sequence of str, one a mistake, such as the names of files.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.

    Examples:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from keras_convnextv2.analysis import save_worst_mistakes, worst_mistakes
        >>> mistakes = worst_mistakes([[0.75, 0.25], [0.5, 0.5]], [1, 0])
        >>> images = np.zeros((1, 32, 48, 3), "uint8")
        >>> save_worst_mistakes("worst.png", images, mistakes, ["cat", "dog"])
        >>> Path("worst.png").exists()
        True
    """
    columns = min(_COLUMNS, max(len(mistakes), 2))
    rows = max(-(-len(mistakes) // columns), 1)
    figure = new_figure(columns * _CELL[0], rows * _CELL[1] + 0.3)
    figure.get_layout_engine().set(h_pad=0.1)  # inches
    figure.suptitle(
        f"the {len(mistakes)} surest mistakes" if mistakes else "no mistakes", fontsize=11
    )

    def name(place):
        return str(place) if class_names is None else plain(class_names[place], 22)

    for number, (mistake, image) in enumerate(zip(mistakes, images, strict=True)):
        axes = figure.add_subplot(rows, columns, number + 1)
        shown = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        share = f"{100 * mistake.confidence:.1f} %"
        if mistake.right is None:
            title = f"not {name(mistake.said)}\nsaid so, {share}"
        elif mistake.said is None:
            title = f"{name(mistake.right)}\ndenied, {share}"
        else:
            title = f"{name(mistake.right)}\nsaid {name(mistake.said)}, {share}"
        axes.set_title(title, fontsize=7.5)
        if captions is not None:
            axes.set_xlabel(plain(captions[number], 30), fontsize=6)
    save(figure, path)
