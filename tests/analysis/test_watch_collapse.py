import json

import numpy as np
import pytest

from keras_convnextv2.analysis.collapse import collapse_by_block
from keras_convnextv2.analysis.curves import panels_of, read_metrics
from keras_convnextv2.analysis.features import compute_features
from keras_convnextv2.analysis.representation_measures import representation_measures
from keras_convnextv2.analysis.watch_collapse import WatchCollapse
from keras_convnextv2.training.callbacks import WriteMetrics


def expected_of(watch, batches):
    """The figures by the functions, a stage's as the mean of its blocks."""
    measures = representation_measures(compute_features(watch.extractor, batches).features)
    found = {f"measure_{name}": value for name, value in measures.items() if value is not None}
    blocks = collapse_by_block(watch.block_features, batches)
    for key in ("cosine_distance", "shuffled_cosine_distance"):
        for stage in range(4):
            values = [blocks[name][key] for name in blocks if name.startswith(f"stage{stage}_")]
            found[f"measure_{key}_stage{stage}"] = np.mean(values)
    return found


@pytest.mark.one_backend  # what it calls, and a callback of its kind, are tested on each
def test_the_figures_of_each_epoch_are_in_the_logs(make_fcmae, rng, tmp_path):
    images = rng.normal(size=(15, 16, 24, 3)).astype("float32")
    batches = [(images[:10],), (images[10:],)]
    fcmae = make_fcmae()
    fcmae.compile()
    watch = WatchCollapse(fcmae, batches, every=2)
    metrics = WriteMetrics(tmp_path / "metrics.jsonl", 10)
    options = {"batch_size": 5, "epochs": 3, "shuffle": False, "verbose": 0}
    before = expected_of(watch, batches)
    fcmae.fit(images[:10], callbacks=[watch, metrics], **options)

    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    # Every second epoch, and the last.
    assert ["measure_rankme" in line for line in lines] == [False, True, True]
    expected = expected_of(watch, batches)
    assert len(expected) == 4 + 8  # alpha-ReQ, too: 12 features of 15 images
    assert {name: lines[-1][name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert watch.before == pytest.approx(before, rel=1e-12)
    assert before["measure_rankme"] != expected["measure_rankme"]
    panels = panels_of(read_metrics(tmp_path / "metrics.jsonl"))
    assert {title: len(curves) for title, curves in panels.items() if "measure" in str(curves)} == {
        "effective rank": 2,
        "channels' cosine distance": 8,
        "spectrum and deviation": 2,
    }


@pytest.mark.one_backend
def test_without_a_slope_the_other_figures_come(make_fcmae, rng):
    watch = WatchCollapse(make_fcmae(), [(rng.normal(size=(2, 16, 24, 3)).astype("float32"),)])
    found = watch.measure()
    assert "measure_alpha_req" not in found and len(found) == 11


@pytest.mark.one_backend
def test_values_that_are_refused(make_fcmae):
    with pytest.raises(ValueError, match="positive int, of epochs. Received: 0"):
        WatchCollapse(make_fcmae(), [], every=0)
