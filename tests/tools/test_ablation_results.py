"""How results of the experiments stand to the paper's, by results made by hand."""

import csv
import dataclasses
import math

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tools.ablation_experiments import Experiment, Group
from tools.ablation_plots import draw
from tools.ablation_report import write
from tools.ablation_results import Comparison, Row, common_spread, comparisons

pytestmark = pytest.mark.one_backend

GROUP = Group(
    "parts",
    "Parts",
    "table 9",
    (
        Experiment("low", 79.0),
        Experiment("middle", 83.0),
        Experiment("base", 84.0),
        Experiment("untold"),
    ),
    "base",
)


def compared(*accuracies, group=GROUP):
    """The comparison of rows with these accuracies, a list a row."""
    rows = [
        Row(experiment, dict(enumerate(found)))
        for experiment, found in zip(group.experiments, accuracies, strict=True)
    ]
    return Comparison(group, rows, common_spread(rows))


def test_mean_and_spread_are_those_of_the_seeds():
    row = Row(GROUP["low"], {0: 10.0, 1: 13.0, 2: 16.0})
    assert row.mean == 13.0
    assert row.spread == 3.0  # the root of (9 + 0 + 9) / (3 - 1)
    one = Row(GROUP["low"], {1: 10.0})
    assert (one.mean, one.spread) == (10.0, None)
    assert Row(GROUP["low"], {}).mean is None
    # (2 * 3^2 + 1 * 2) / 3: the second has two values 1 from their mean of variance 2.
    other = Row(GROUP["base"], {0: 5.0, 1: 7.0})
    assert common_spread([row, one, other]) == pytest.approx(math.sqrt(20 / 3), rel=1e-12)
    assert common_spread([one]) is None


def test_a_row_agrees_where_its_difference_is_of_the_papers_sign_and_beyond_the_spread():
    # Spreads of 1, sqrt(1/2) and sqrt(1/2): the roots of the sums of squares are 1.22 and 1.
    of = compared([10.0, 11.0, 12.0], [21.0, 22.0], [20.0, 21.0], [20.4, 20.6])
    low, middle, base, untold = of.rows
    assert of.difference(low) == (pytest.approx(-9.5), pytest.approx(-5.0))
    assert of.verdict(low) == "agrees"
    assert of.verdict(middle) == "within the spread"  # 1.0 above, where the paper has it below
    assert of.verdict(base) == ""
    assert of.verdict(untold) == "no number there"
    of = compared([10.0, 11.0, 12.0], [22.0, 23.0], [20.0, 21.0], [])
    assert of.verdict(of.row("middle")) == "does not agree"  # 2.0 above
    assert of.verdict(of.row("untold")) == ""
    # Pairs that the paper orders: low-middle, low-base, middle-base.
    assert of.pairs() == {"agrees": 2, "does not agree": 1, "within the spread": 0}
    assert of.orders() == ("middle > base > low", "base > middle > low")


def test_a_row_of_one_seed_has_the_spread_of_the_others():
    of = compared([10.0], [19.5], [20.0, 21.0], [])  # sqrt(1/2) for all: 1.0 of a difference
    assert of.verdict(of.row("middle")) == "within the spread"  # exactly 1.0 below
    of = compared([10.0], [19.4], [20.0, 21.0], [])
    assert of.verdict(of.row("middle")) == "agrees"
    # Where none is known the sign alone tells.
    of = compared([10.0], [20.1], [20.0], [])
    told = ["agrees, by one seed", "does not agree, by one seed", "", ""]
    assert [of.verdict(row) for row in of.rows] == told


def test_where_the_paper_names_the_best_alone_or_has_both_alike():
    best = dataclasses.replace(GROUP, reference_is_best=True)
    of = compared([1.0], [2.0], [3.0], [4.0], group=best)
    assert of.verdict(of.row("untold")) == "does not agree, by one seed"
    rows = (Experiment("one", 83.7), Experiment("base", 83.7))
    alike = dataclasses.replace(GROUP, experiments=rows)
    of = compared([3.0, 4.0], [3.5, 4.5], group=alike)
    assert of.verdict(of.row("one")) == "agrees"
    of = compared([3.0, 4.0], [7.5, 8.5], group=alike)
    assert of.verdict(of.row("one")) == "does not agree"
    assert sum(of.pairs().values()) == 0
    assert of.orders() == ("base > one", "one = base")
    of = compared([3.0], [7.5], group=alike)
    assert of.verdict(of.row("one")) == "alike in the paper, by one seed"


def test_results_are_read_by_row_and_seed():
    found = {("low", 0): 0.25, ("low", 1): 0.5, ("base", 1): 0.75}

    def result(experiment, seed):
        value = found.get((experiment.name, seed))
        return None if value is None else {"test_accuracy": value}

    (of,) = comparisons([GROUP], lambda group: 2, result, lambda experiment, seed: seed + 1.0)
    assert [row.accuracies for row in of.rows] == [{0: 25.0, 1: 50.0}, {}, {1: 75.0}, {}]
    assert [row.minutes for row in of.rows] == [3.0, 0, 2.0, 0]


def test_the_files_tell_it(tmp_path):
    of = compared([10.0, 11.0, 12.0], [22.0, 23.0], [20.0, 21.0], [])
    for _ in range(2):
        write(
            tmp_path,
            [of],
            {"widths": ["4", "6"], "data_dir": "/far/away/photographs"},
            "3 of 9 runs are done.",
        )
    with (tmp_path / "results.csv").open(newline="") as lines:
        low, middle, base, untold = csv.DictReader(lines)
    assert low["mean"] == "11.0000" and low["spread"] == "1.0000" and low["n"] == "3"
    assert [middle[f"seed_{seed}"] for seed in range(3)] == ["22.0000", "23.0000", ""]
    assert (middle["difference"], middle["paper_difference"]) == ("2.0000", "-1.0")
    assert middle["verdict"] == "does not agree"
    assert (base["difference"], untold["mean"], untold["paper"]) == ("", "", "")
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "3 of 9 runs are done." in text and "| widths | `4,6` |" in text
    assert "| data_dir | `photographs` |" in text
    assert "| low | 79.0 | 10.0, 11.0, 12.0 | 11.0 ± 1.0 | 3 | -9.5 | -5.0 | agrees | 0 |" in text
    assert "| untold |  |  | not run yet | 0 |" in text
    assert "Order here: middle > base > low. In the paper: base > middle > low." in text
    assert "2 agree, 1 do not, and 0 are within the spread" in text
    picture = (tmp_path / "plots" / "parts.svg").read_text()
    assert picture.count("<svg") == 1 and "in the paper" in picture
    assert {path.name for path in tmp_path.iterdir()} == {"results.csv", "results.md", "plots"}


def test_the_picture_has_a_dot_a_seed_and_the_papers_numbers():
    figure = Figure()
    FigureCanvasAgg(figure)
    draw(figure, compared([10.0, 11.0, 12.0], [22.0, 23.0], [20.0], []))
    ours, papers = figure.axes
    points = {tuple(map(float, xy)) for line in ours.lines for xy in line.get_xydata()}
    # A dot a seed, and the mean, at the height of the row.
    for accuracy, place in ((10, 0), (11, 0), (12, 0), (22, 1), (22.5, 1), (23, 1), (20, 2)):
        assert (accuracy, place) in points
    assert [tuple(line.get_xydata()[0]) for line in papers.lines] == [(79, 0), (83, 1), (84, 2)]
    assert [label.get_text() for label in ours.get_yticklabels()][:2] == ["low", "middle"]
