import pytest

from keras_convnextv2.analysis import figures
from tools.correlation_report import WORDS, save_picture

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("shares", [("1%", "100%", "20%"), ("100%", "20%", "1%")])
def test_the_picture_is_of_the_probe_with_the_most_labels(shares, monkeypatch):
    accuracies = {f"probe, {share} of labels": float(share[:-1]) / 100 for share in shares}
    model = {
        "about": {"kind": "classifier"},
        "measures": dict.fromkeys(WORDS, 1.0),
        "accuracies": {**accuracies, "own head": 0.75},
    }
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))
    save_picture("correlation.png", {"models": {"a": model}, "correlations": []})
    assert drawn[0].get_supylabel() == "test accuracy of the probe, 100% of labels, %"
    assert drawn[0].axes[0].lines[0].get_ydata()[0] == 100
