import statistics

import pytest

from keras_convnextv2.analysis import ProbeResult

pytestmark = pytest.mark.one_backend


def test_the_deviation_is_of_n_minus_1_and_one_seed_has_none():
    values = (0.25, 0.375, 0.75)
    result = ProbeResult("ridge", {"1 shot": values, "all": (0.5,)}, {})
    assert result.deviation("1 shot") == pytest.approx(statistics.stdev(values))
    assert result.deviation("all") is None
