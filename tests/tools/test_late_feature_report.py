"""The tables and pictures of models of other widths and depths, of figures that are made up."""

import pytest

from tools import late_feature_plots
from tools.late_feature_report import as_markdown

pytestmark = pytest.mark.one_backend


def made_up(width, block, kind="pretrained", head=None):
    """A model of as many channels in its last stage, a component's figure being its number."""
    counts = [count for count in (64, 128, 256) if count < width] + [width]
    components = {
        f"{count} {what}": [count / 1000] for what in ("components", "rotated") for count in counts
    }
    whole = {"by": "none", "removed": "0%", "relative": "frozen", "draw": 0}
    half = {**whole, "by": "redundancy", "removed": "50%"}
    own = {} if head is None else {"head": head}
    rows = [{**row, "probe": {"100%": [0.5]}, **own} for row in (whole, half)]
    places = {where: {"channels": 8, "labels": 9, "rows": rows} for where in ("response", "output")}
    about = {"kind": kind, "response": "grn", "weights": f"runs/{width}"}
    about |= {"train_images": 100 + width, "test_images": width, "image_size": [width, 24]}
    return {
        "about": about,
        "subsets": {"stage3": {"100%": {"50%": [0.1, 0.2, 0.6], "100%": [0.5]}}},
        "components": {"stage3": {"100%": components}},
        "removals": {block: places},
        "fixed": [],
    }


@pytest.fixture
def models():
    return {
        "large": made_up(320, "stage2_block10"),
        "small": made_up(192, "stage2_block2", "classifier", head=0.25),
        "others": made_up(192, "stage2_block2", "classifier"),
    }


def rows_of(text, title):
    """[{head: cell}] of the table below a title."""
    _, _, part = text.partition(f"# {title}")
    lines = [line for line in part.partition("\n## ")[0].splitlines() if line.startswith("|")]
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(heads, row, strict=True)) for row in rows]


def markdown(models):
    return as_markdown({"images": "here", "seed": 0, "ablation_images": 9, "models": models})


def test_each_figure_stands_under_its_own_head(models):
    for order in (models, dict(reversed(models.items()))):
        rows = rows_of(markdown(order), "Principal components")
        assert list(rows[0])[3:] == ["64", "128", "192", "256", "320"]
        figures = {row["model"]: list(row.values())[3:] for row in rows}
        assert figures["small"] == ["6.4", "12.8", "19.2", "-", "-"]
        assert figures["large"] == ["6.4", "12.8", "-", "25.6", "32.0"]


def test_the_blocks_of_all_models_are_shown(models, monkeypatch):
    text, title = markdown(models), "Channels replaced by their means"
    places = [line.partition(": ")[2] for line in text.splitlines() if title in line]
    assert places == [
        f"{block}, {where}"
        for block in ("stage2_block2", "stage2_block10")
        for where in ("response", "output")
    ]
    assert [row["model"] for row in rows_of(text, f"{title}: stage2_block10, output")] == ["large"]
    figures = []
    monkeypatch.setattr(late_feature_plots, "save", lambda figure, path: figures.append(figure))
    late_feature_plots.save_removals("removals.png", models)
    panels = {axes.get_title().partition(",")[0] for axes in figures[0].axes}
    assert panels == {"stage2_block2", "stage2_block10"}


def test_a_spread_is_of_n_minus_1(models, monkeypatch):
    row, *_ = rows_of(markdown(models), "Random subsets")
    assert row["50%"] == "30.0 ± 26.5"  # of -20, -10 and 30: the root of 1400 / 2
    assert row["100%"] == "50.0"
    figures = []
    monkeypatch.setattr(late_feature_plots, "save", lambda figure, path: figures.append(figure))
    late_feature_plots.save_subsets("subsets.png", models)
    (_, _, (bars,)), *_ = figures[0].axes[0].containers
    heights = [abs(high - low) / 2 for (_, low), (_, high) in bars.get_segments()]
    assert heights == pytest.approx([700**0.5, 0])


def test_a_classifier_without_a_head_of_these_classes_has_no_curve_of_it(models, tmp_path):
    late_feature_plots.save_removals(tmp_path / "removals.png", models)
    readings = [
        (row["model"], row["accuracy of"])
        for row in rows_of(markdown(models), "Channels replaced by their means: stage2_block2, out")
    ]
    assert readings == [
        ("small", "probe, 100% of 9 labels"),
        ("small", "its own head"),
        ("others", "probe, 100% of 9 labels"),
    ]


def test_sizes_and_numbers_of_images_are_each_models_own(models):
    text = markdown(models)
    rows = {row["model"]: row for row in rows_of(text, "")}
    assert "192 test images alone" in text and "up to 3.6 points" in text  # sqrt(.25 / 192)
    facts = ("training images", "test images", "size")
    for name, expected in (
        ("large", ["420", "320", "320x24"]),
        ("small", ["292", "192", "192x24"]),
    ):
        assert [rows[name][fact] for fact in facts] == expected
