import json

import numpy as np
import pytest

from keras_convnextv2.analysis.features import compute_features
from keras_convnextv2.analysis.nearest_neighbours import knn_probe
from keras_convnextv2.analysis.ridge import ridge_probe
from keras_convnextv2.analysis.watch_probes import WatchProbes
from keras_convnextv2.training.callbacks import WriteMetrics


def draw(rng, count):
    """Images that are bright at the left or at the right, in batches of five, and their class."""
    labels = np.arange(count) % 2
    images = rng.normal(size=(count, 16, 24, 3)).astype("float32")
    images[labels == 0, :, :12] += 1
    images[labels == 1, :, 12:] += 1
    return [(images[at : at + 5], labels[at : at + 5]) for at in range(0, count, 5)]


@pytest.mark.one_backend
def test_the_probes_of_each_epoch_are_in_the_logs(make_fcmae, rng, tmp_path):
    fcmae = make_fcmae()
    fcmae.compile()
    train, test = draw(rng, 40), draw(rng, 20)
    watch = WatchProbes(fcmae, train, test, every=2)
    metrics = WriteMetrics(tmp_path / "metrics.jsonl", 10)
    images = train[0][0]
    options = {"batch_size": 5, "epochs": 3, "shuffle": False, "verbose": 0}
    history = fcmae.fit(images, callbacks=[watch, metrics], **options).history

    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    # Every second epoch, and the last.
    assert ["probe_ridge" in line for line in lines] == [False, True, True]
    pairs = [compute_features(watch.extractor, batches).pair for batches in (train, test)]
    expected = {"probe_ridge": ridge_probe(*pairs).mean(), "probe_knn": knn_probe(*pairs).mean()}
    assert {name: lines[-1][name] for name in expected} == expected
    assert {name: history[name][-1] for name in expected} == expected
    assert set(watch.before) == set(expected)
    # The training is the same without.
    alone = make_fcmae()
    alone.compile()
    assert alone.fit(images, **options).history["loss"] == history["loss"]


@pytest.mark.one_backend
def test_values_that_are_refused(make_fcmae):
    with pytest.raises(ValueError, match="positive int, of epochs. Received: 0"):
        WatchProbes(make_fcmae(), [], [], every=0)

    class Unlabelled(list):
        labelled = False

    with pytest.raises(ValueError, match="`test` was given batches without"):
        WatchProbes(make_fcmae(), [], Unlabelled())
