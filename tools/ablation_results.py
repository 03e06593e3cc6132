"""What the runs of tools.reproduce_ablations found, and how it stands to the paper."""

import dataclasses
import itertools
import math
import statistics

AGREES = "agrees"
DISAGREES = "does not agree"
WITHIN = "within the spread"
ALIKE = "alike in the paper"
ONE = "by one seed"


@dataclasses.dataclass(frozen=True)
class Row:
    """Results of an experiment.

    Args:
        experiment: `Experiment`.
        accuracies: {seed: percent}, of the test images.
        minutes: float, of all its runs, whether or not other rows need them too.
    """

    experiment: object
    accuracies: dict
    minutes: float = 0.0

    @property
    def name(self):
        return self.experiment.name

    @property
    def mean(self):
        """In percent; None without a result."""
        return statistics.fmean(self.accuracies.values()) if self.accuracies else None

    @property
    def spread(self):
        """The standard deviation over seeds, of n - 1; None of fewer than two."""
        if len(self.accuracies) < 2:
            return None
        return statistics.stdev(self.accuracies.values())


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The rows of a group beside the paper's.

    Args:
        group: `Group`.
        rows: list of `Row`, as many as experiments.
        common_spread: the `common_spread` of all rows, or None.
    """

    group: object
    rows: list
    common_spread: float | None = None

    def row(self, name):
        return next((row for row in self.rows if row.name == name), None)

    def difference(self, row):
        """(ours, the paper's) from the reference, in points; None where one is not known."""
        reference = self.row(self.group.reference)
        if reference is None or row.name == reference.name:
            return None, None
        ours = None if None in (row.mean, reference.mean) else row.mean - reference.mean
        papers = [other.experiment.paper for other in (row, reference)]
        return ours, None if None in papers else papers[0] - papers[1]

    def verdict(self, row):
        """Whether a row stands to the reference as in the paper; "" where that cannot be said."""
        ours, papers = self.difference(row)
        if ours is None:
            return ""
        if papers is None:
            if not self.group.reference_is_best:
                return "no number there"
            papers = -math.inf
        reference = self.row(self.group.reference)
        told = self._verdict(ours, papers, row, reference)
        return told if self._spread_of_difference(row, reference) is not None else f"{told}, {ONE}"

    def pairs(self):
        """{verdict: how many} of all pairs of rows that the paper has in an order."""
        found = dict.fromkeys((AGREES, DISAGREES, WITHIN), 0)
        for one, other in itertools.combinations(self.rows, 2):
            papers = [row.experiment.paper for row in (one, other)]
            if None in papers or papers[0] == papers[1] or None in (one.mean, other.mean):
                continue
            found[self._verdict(one.mean - other.mean, papers[0] - papers[1], one, other)] += 1
        return found

    def orders(self):
        """(ours, the paper's), as "best > next = alike", of the rows that have an accuracy."""
        ours = [(row.mean, row.name) for row in self.rows if row.accuracies]
        papers = [(row.experiment.paper, row.name) for row in self.rows]
        return _order(ours), _order([pair for pair in papers if pair[0] is not None])

    def _verdict(self, ours, papers, one, other):
        spread = self._spread_of_difference(one, other)
        if spread is not None and abs(ours) <= spread:
            return AGREES if papers == 0 else WITHIN
        if spread is None and papers == 0:
            return ALIKE
        return AGREES if ours * papers > 0 else DISAGREES

    def _spread_of_difference(self, *rows):
        spreads = [self.common_spread if row.spread is None else row.spread for row in rows]
        return None if None in spreads else math.hypot(*spreads)


def common_spread(rows):
    """The spread that rows of one seed are taken to have: that of all rows of several, pooled.

    Args:
        rows: iterable of `Row`.

    Returns:
        The root of the mean variance, weighted by n - 1; None where no row has two seeds.
    """
    parts = [(len(row.accuracies) - 1, row.spread) for row in rows if row.spread is not None]
    if not parts:
        return None
    return math.sqrt(
        sum(count * spread**2 for count, spread in parts) / sum(count for count, _ in parts)
    )


def comparisons(groups, seeds, result_of, minutes_of):
    """A `Comparison` a group.

    Args:
        groups: of `Group`.
        seeds: function of a group: how many seeds it is run with.
        result_of: function of (experiment, seed): the dict of a finished run, or None.
        minutes_of: function of (experiment, seed): float.
    """
    of_groups = []
    for group in groups:
        rows = []
        for experiment in group.experiments:
            results = {seed: result_of(experiment, seed) for seed in range(seeds(group))}
            found = {
                seed: 100 * result["test_accuracy"] for seed, result in results.items() if result
            }
            minutes = sum(minutes_of(experiment, seed) for seed in found)
            rows.append(Row(experiment, found, minutes))
        of_groups.append((group, rows))
    # A row of several groups counts once.
    once = {tuple(sorted(row.accuracies.items())): row for _, rows in of_groups for row in rows}
    spread = common_spread(once.values())
    return [Comparison(group, rows, spread) for group, rows in of_groups]


def _order(pairs):
    pairs = sorted(pairs, key=lambda pair: -pair[0])
    words = [pairs[0][1]] if pairs else []
    for (before, _), (value, name) in itertools.pairwise(pairs):
        words += ["=" if value == before else ">", name]
    return " ".join(words)
