"""The pictures of an evaluation: they hold what they are to show."""

import sys

import numpy as np
import PIL.Image
import pytest

from keras_convnextv2 import analysis
from keras_convnextv2.analysis.figures import plain

pytestmark = pytest.mark.one_backend


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, as matplotlib's objects."""
    import matplotlib.figure

    figures = []
    save = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure,
        "savefig",
        lambda figure, *rest, **options: (figures.append(figure), save(figure, *rest, **options)),
    )
    return figures


@pytest.mark.parametrize(("number", "drawn_classes"), [(2, 2), (30, 30), (130, 100)])
def test_a_confusion_matrix_has_names_shares_and_up_to_30_classes_counts(
    number, drawn_classes, drawn, tmp_path, rng
):
    confusion = rng.integers(0, 4, (number, number)) + np.diag(np.arange(number) + 10)
    confusion[5 % number, 5 % number] = 0
    names = [f"class $ {place}" for place in range(number)]
    analysis.save_confusion_matrix(tmp_path / "confusion.png", confusion, names)
    (figure,) = drawn
    axes = figure.axes[0]
    shown = axes.images[0].get_array()
    assert shown.shape == (drawn_classes, drawn_classes)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    places = [int(label.split()[-1]) for label in labels]
    assert places == sorted(set(places)) and len(places) == drawn_classes
    expected = (confusion / confusion.sum(1, keepdims=True))[np.ix_(places, places)]
    np.testing.assert_allclose(shown, expected)
    counts = [int(text.get_text()) for text in axes.texts]
    assert sum(counts) == (confusion.sum() if number <= 30 else 0)
    # Names side by side do not overlap: a line of a font is 1.2 times its size.
    apart = axes.transData.transform([(0, 0), (0, 1)])[:, 1]
    points = abs(apart[1] - apart[0]) * 72 / figure.dpi
    assert axes.get_yticklabels()[0].get_fontsize() * 1.2 <= points
    with PIL.Image.open(tmp_path / "confusion.png") as picture:
        assert max(picture.size) < 2500


def test_a_reliability_diagram_has_a_bar_for_each_bin_that_is_not_empty(drawn, tmp_path):
    found = analysis.reliability([[0.9, 0.1]] * 4 + [[0.55, 0.45]], [0, 0, 0, 1, 0])
    analysis.save_reliability_diagram(tmp_path / "reliability.png", found)
    top, below = drawn[0].axes
    assert [bar.get_height() for bar in top.patches] == [1.0, 0.75]
    assert [bar.get_height() for bar in below.patches] == [1, 4]
    lefts = [bar.get_x() for bar in top.patches]
    np.testing.assert_allclose(lefts, [8 / 15, 13 / 15])
    # .9 against 3/4 of four, .55 against all of one: .8 * .15 + .2 * .45
    assert top.get_title() == "expected calibration error 21.0 %, 5 images"


def test_mistakes_come_by_how_sure_they_were_one_an_image(rng):
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9], [0.35, 0.65]])
    labels = np.array([1, 1, 0, 1, 1])
    found = analysis.worst_mistakes(probabilities, labels)
    assert [(mistake.index, mistake.right, mistake.said) for mistake in found] == [
        (0, 1, 0),
        (2, 0, 1),
        (1, 1, 0),
    ]
    assert [mistake.confidence for mistake in found] == [0.9, 0.8, 0.6]
    assert analysis.worst_mistakes(probabilities, labels, count=1) == found[:1]
    rows = np.array([[1, 1], [1, 0], [1, 1], [1, 1], [0, 0]])
    found = analysis.worst_mistakes(probabilities, rows)
    # Of the first image the second label was denied with 1 - .1; of the fourth the first.
    assert [(mistake.index, mistake.right, mistake.said) for mistake in found] == [
        (0, 1, None),
        (3, 0, None),
        (2, 0, None),
        (4, None, 1),
    ]
    np.testing.assert_allclose([m.confidence for m in found], [0.9, 0.9, 0.8, 0.65])


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_sheet_of_mistakes_shows_each_image_with_what_it_is_and_what_was_said(
    channels, drawn, tmp_path, rng
):
    mistakes = [
        analysis.Mistake(4, 0, 1, 0.987),
        analysis.Mistake(9, None, 1, 0.8),
        analysis.Mistake(2, 0, None, 0.7),
    ]
    images = rng.integers(0, 256, (3, 20, 30, channels), dtype="uint8")
    analysis.save_worst_mistakes(
        tmp_path / "worst.png", images, mistakes, ["cat", "日傘 $x$"], ["a.png", "b.png", "c.png"]
    )
    axes = drawn[0].axes
    assert [each.get_title() for each in axes] == [
        "cat\nsaid 日傘 \\$x\\$, 98.7 %",
        "not 日傘 \\$x\\$\nsaid so, 80.0 %",
        "cat\ndenied, 70.0 %",
    ]
    assert [each.get_xlabel() for each in axes] == ["a.png", "b.png", "c.png"]
    for each, image in zip(axes, images, strict=True):
        shown = each.images[0].get_array()
        np.testing.assert_array_equal(shown, image[..., :3] if channels >= 3 else image[..., 0])


def test_without_mistakes_the_sheet_says_so(drawn, tmp_path):
    analysis.save_worst_mistakes(tmp_path / "worst.png", [], [])
    assert drawn[0].get_suptitle() == "no mistakes"


def test_names_are_one_line_and_no_formulas():
    assert plain("a\nb\x1b") == "a?b?"
    assert plain("x" * 30) == "x" * 23 + "…"
    assert plain("$a$") == r"\$a\$"


def test_a_missing_matplotlib_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"matplotlib.*keras-convnextv2\[recipes\]"):
        analysis.save_worst_mistakes(tmp_path / "worst.png", [], [])


def test_distances_are_drawn_over_depth_with_what_shuffled_channels_have(drawn, tmp_path, rng):
    curves = {
        name: {
            f"block{place}": {"cosine_distance": low, "shuffled_cosine_distance": low + 0.1}
            for place, low in enumerate(rng.uniform(0.25, 0.4, count))
        }
        for name, count in (("V1", 5), ("V2 of one block", 1))
    }
    analysis.save_distance_curves(tmp_path / "distances.png", curves, "gelu")
    (axes,) = drawn[0].axes
    own, shuffled, single, _, legend = axes.get_lines()
    np.testing.assert_allclose(own.get_xdata(), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(single.get_xdata(), [0.5])
    expected = [figures["cosine_distance"] for figures in curves["V1"].values()]
    np.testing.assert_allclose(own.get_ydata(), expected)
    np.testing.assert_allclose(shuffled.get_ydata(), np.add(expected, 0.1))
    assert own.get_color() == shuffled.get_color() != single.get_color()
    assert shuffled.get_linestyle() == legend.get_linestyle() == ":"
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["V1", "V2 of one block", "channels shuffled"]
    assert axes.get_ylim() == (0.2, 0.51) and "after GELU" in axes.get_title()
    with pytest.raises(ValueError, match="no model"):
        analysis.save_distance_curves(tmp_path / "distances.png", {})


def test_channels_are_squares_side_by_side_of_one_colour_scale(drawn, tmp_path, rng):
    maps = rng.normal(size=(2, 3, 70))
    few = rng.normal(size=(30, 30, 9))  # less than two rows of eight
    analysis.save_channel_maps(tmp_path / "channels.png", {"a": maps, "b": few})
    sheets = [axes for axes in drawn[0].axes if axes.images]
    assert [axes.get_title() for axes in sheets] == ["a", "b"]
    shown = sheets[0].images[0].get_array().filled(np.nan)
    side_y, side_x, gap = 24, 36, 3  # 12 pixels a position
    places = np.round(np.linspace(0, 69, 64)).astype(int)
    for number in (0, 7, 8, 63):
        top, left = number // 8 * (side_y + gap), number % 8 * (side_x + gap)
        square = shown[top : top + side_y, left : left + side_x]
        np.testing.assert_array_equal(square[::12, ::12], maps[..., places[number]])
    assert np.isnan(shown[side_y]).all() and np.isnan(shown[:, side_x]).all()
    assert shown.shape == (8 * (side_y + gap) - gap, 8 * (side_x + gap) - gap)
    low, high = sheets[0].images[0].get_clim()
    chosen = maps[..., places]
    assert (low, high) == (chosen.min(), np.percentile(chosen, 99))
    of_few = sheets[1].images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(of_few[32:62, :30], few[..., 8])
    assert np.isnan(of_few[32:, 32:]).all()


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        ({}, "no maps"),
        ({"a": np.ones((4, 4))}, r"Received: shape \(4, 4\)"),
        ({"a": np.full((2, 2, 2), np.nan)}, "NaN"),
    ],
)
def test_maps_of_channels_that_are_refused(maps, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        analysis.save_channel_maps(tmp_path / "channels.png", maps)
    assert not (tmp_path / "channels.png").exists()
