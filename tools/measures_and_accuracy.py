"""What `tools.correlate_measures` measures of each model, and of all."""

import numpy as np

from recipes.progress_line import ProgressLine
from tools import probed_models

DISTANCES = {"distance_after_gelu": "gelu", "distance_after_response": "response"}
DISTANCE_IMAGES = 250  # of the test images at most
HEAD = "own head"


def of_model(probed):
    """{"about", "measures": {name: float or None}, "accuracies": {name: float}} of a `Probed`."""
    from keras_convnextv2.analysis import compute_features, feature_model, representation_measures

    say = ProgressLine(probed.name)
    extractor, model = feature_model(probed.model), probed.model
    features = {
        split: compute_features(extractor, probed.batches(split), say).features
        for split in ("train", "test")
    }
    measures = representation_measures(features["test"])
    for name, where in DISTANCES.items():
        measures[name] = _distance_of_last_stage(probed, where)
    accuracies = {
        f"probe, {share} of labels": float(np.mean(found))
        for share, found in probed_models.probed_accuracies(
            features["train"], probed.train.labels, features["test"], probed.test.labels
        ).items()
    }
    if probed.has_head:
        # The features are what the last layer of the head takes.
        scores = model.layers_of_head()[-1](features["test"])
        accuracies[HEAD] = _accuracy(scores, probed.test.labels)
    say.end("measured")
    return {"about": probed.about(), "measures": measures, "accuracies": accuracies}


def _distance_of_last_stage(probed, where):
    """The mean channel cosine distance over images and the blocks of the last stage."""
    from keras_convnextv2.analysis import BlockFeatures, channel_cosine_distance

    names = [name for name in BlockFeatures(probed.model).names if name.startswith("stage3_")]
    features = BlockFeatures(probed.model, names, where)
    batches = probed.batches("test", DISTANCE_IMAGES)
    found = features.measure(batches, {"distance": channel_cosine_distance})
    return float(np.mean([of_block["distance"].mean() for of_block in found.values()]))


def _accuracy(scores, labels):
    import keras

    return float(np.mean(keras.ops.convert_to_numpy(scores).argmax(axis=1) == np.asarray(labels)))


def correlations(models):
    """[{"models": group, "measure", "accuracy", "n", "pearson", "spearman", ...}, ...].

    A pair of which fewer than four models have both is left out.
    """
    from keras_convnextv2.analysis import correlation

    found = []
    for group, names in _groups(models).items():
        for measure in next(iter(models.values()))["measures"]:
            for accuracy in _accuracies(models, names):
                pairs = [
                    (models[name]["measures"][measure], models[name]["accuracies"].get(accuracy))
                    for name in names
                ]
                pairs = [pair for pair in pairs if None not in pair]
                if len(pairs) >= 4:
                    words = {"models": group, "measure": measure, "accuracy": accuracy}
                    found.append({**words, **correlation(*zip(*pairs, strict=True))})
    return found


def _groups(models):
    kinds = [model["about"]["kind"] for model in models.values()]
    groups = {"all": list(models)}
    for kind in dict.fromkeys(kinds):
        if kinds.count(kind) < len(kinds):
            groups[kind] = [name for name in models if models[name]["about"]["kind"] == kind]
    return groups


def _accuracies(models, names):
    return dict.fromkeys(key for name in names for key in models[name]["accuracies"])
