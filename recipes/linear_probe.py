r"""Measures what a frozen backbone's features tell of labelled images, by four probes.

On the embedded images, of what recipes.pretrain left and of random weights:
    python -m recipes.linear_probe --weights=runs/pretrained
    python -m recipes.linear_probe

On a folder of your own with folders of classes:
    python -m recipes.linear_probe --weights=runs/pretrained --data_dir=photographs \
        --probes=ridge,knn

Each image passes the backbone once, as evaluation shows it; the features are kept in a file beside
the weights and read from it the next time, unless the weights or the images have changed. The
probes learn from the training images and are measured on the test images. `logistic` chooses C on
the validation images, and learns from them too, or else on a part of the training images. Their
settings are printed beside the figures: figures of other settings, and of other libraries, do not
compare.
"""

import contextlib
import importlib
import os
from pathlib import Path

from absl import flags

from . import (
    image_sizes,
    images,
    model_flags,
    normalisation,
    pixel_range,
    probe_table,
    processes,
    program,
    run_settings,
    saved_models,
    training_flags,
)
from .progress_line import ProgressLine

FLAGS = flags.FLAGS

PROBES = ("logistic", "ridge", "knn", "lars")

flags.DEFINE_string(
    "weights",
    "",
    "A run's folder or .keras file, or weights of the official code, timm, transformers or "
    "mmpretrain, as file, folder or hf://owner/name. Empty: random weights.",
)
flags.DEFINE_list("probes", list(PROBES), "Which probes, of logistic, ridge, knn and lars.")
flags.DEFINE_bool(
    "head_norm",
    True,
    "Features pass a LayerNorm, the classifier's own or one without scale and shift. --nohead_norm "
    "takes the pooled values.",
)
flags.DEFINE_list("shots", ["1", "5", "10", "25"], "Of ridge: images a class.")
flags.DEFINE_integer("num_seeds", 3, "Of ridge: draws of these images.", lower_bound=1)
flags.DEFINE_integer("neighbours", 20, "Of knn: k.", lower_bound=1)
flags.DEFINE_float("temperature", 0.07, "Of knn: votes weigh exp(cosine / temperature).")
flags.DEFINE_enum(
    "c_sweep",
    "coarse",
    ["coarse", "dinov3"],
    "Of logistic: 12 values of C from 1e-6 to 1e5, or DINOv3's 45 of the same range.",
)
flags.DEFINE_integer("lars_epochs", 90, "Of lars.", lower_bound=1)
flags.DEFINE_integer("lars_batch_size", 1024, "Of lars; MAE's is 16384.", lower_bound=2)
flags.DEFINE_float("lars_base_learning_rate", 0.1, "Of lars: for 256 images a step.")
flags.DEFINE_string(
    "feature_cache",
    None,
    "Folder where features are kept. Default: `features` beside the weights, where these are files "
    "here; empty: nowhere.",
)
flags.DEFINE_integer("seed", 0, "Of random weights, of what chooses C, and of lars.", lower_bound=0)
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
training_flags.define_data_flags(batch_size=100)
model_flags.define_flags()
normalisation.define_flags()
processes.define_flags()
for module in (training_flags, model_flags, normalisation, processes):
    flags.adopt_module_key_flags(module)


def main():
    names = _chosen_probes()
    settings = run_settings.from_flags()
    size = model_flags.given_image_size()
    with processes.apart():  # each has a model of its own
        model = saved_models.load(FLAGS.weights, size) if FLAGS.weights else None
    if model is not None:
        model_flags.refuse_beside_weights(saved_models.model_flags(saved_models.backbone_of(model)))
    known = model and saved_models.backbone_of(model).pixel_range
    train = images.open_images("train", pixel_range.known(known, FLAGS.weights))
    splits = {"train": train, **_other_splits(train.pixel_range, "logistic" in names)}
    _check_labels(splits.values())
    if model is None:
        settings = model_flags.resolve(settings)
        with processes.apart():
            model = model_flags.random_backbone(settings, train)
    backbone = saved_models.backbone_of(model)
    images.check_channels(train, backbone.image_shape[-1])
    normalisation.settle(backbone, FLAGS.weights, train)
    settings = image_sizes.as_weights_ask(settings, FLAGS.weights, backbone)

    from keras_convnextv2.analysis.features import describe

    found = {split: _features(model, source, settings, split) for split, source in splits.items()}
    if not processes.is_writer():
        return
    pairs = {split: features.pair for split, features in found.items()}
    results = [_measure_aloud(name, pairs) for name in names]
    about = {
        "weights": FLAGS.weights or f"random, seed {FLAGS.seed}",
        "images": f"{train.description}; test: {len(splits['test']):,}",
        "image_size": "{}x{}".format(*settings.size),
        "features": f"{found['train'].features.shape[1]}, {describe(model, FLAGS.head_norm)}",
        "classes": len(train.class_names),
    }
    if FLAGS.json:
        program.print_result({**about, "probes": probe_table.as_json(results)}, as_json=True)
    else:
        print(probe_table.as_text(about, results))


def _other_splits(trained_with, with_validation):
    """{"test": source, and "validation" where the folder has images for it}."""
    from keras_convnextv2.data import NoSuchSplitError

    found = {"test": images.open_images("test", trained_with)}
    if with_validation:
        with contextlib.suppress(NoSuchSplitError):
            found["validation"] = images.open_images("validation", trained_with)
    return found


def _chosen_probes():
    unknown = [name for name in FLAGS.probes if name not in PROBES]
    if unknown or not FLAGS.probes:
        raise ValueError(
            f"--probes is some of {','.join(PROBES)}. Received: {','.join(FLAGS.probes)!r}"
        )
    _shots()
    if "logistic" in FLAGS.probes:
        importlib.import_module("sklearn")  # before the features, where it is not installed
    return list(dict.fromkeys(FLAGS.probes))


def _shots():
    try:
        shots = tuple(int(word) for word in FLAGS.shots)
    except ValueError:
        shots = ()
    if not shots or min(shots) < 1:
        raise ValueError(
            f"--shots is whole numbers from 1, such as 1,5,10. Received: {','.join(FLAGS.shots)!r}"
        )
    return shots


def _check_labels(sources):
    for source in sources:
        if source.labels is None or source.labels.ndim != 1 or len(source.class_names) < 2:
            raise ValueError(
                "A probe needs images with one label each, of two classes or more: "
                f"{source.description}. Name a folder that holds a folder a class."
            )


def _features(model, source, settings, split):
    """The `Features` of a source, from the cache where it has them.

    Of several processes each computes a part, and keeps that.
    """
    import dataclasses

    import numpy as np

    from keras_convnextv2.analysis.feature_cache import cached_features, source_identity
    from keras_convnextv2.analysis.features import Features, compute_features, feature_model

    mean, std = saved_models.backbone_of(model).normalisation
    source = dataclasses.replace(source, mean=mean, std=std)
    index, count = processes.shard()
    if len(source) < count:
        raise ValueError(
            f"There are {len(source)} images for {count} processes: {source.description}"
        )
    if count > 1:
        ends = [len(source) * place // count for place in (index, index + 1)]
        source = source.taken(np.arange(*ends), f"part {index + 1} of {count}")
    batches = images.evaluation_batches(source, settings)
    say = ProgressLine(f"features of {len(source):,} {split} images")
    folder = _cache_folder()
    with processes.apart():
        extractor = feature_model(model, FLAGS.head_norm)
        if folder is None:
            found = compute_features(extractor, batches, say)
        else:
            identity = source_identity(source, batches.framing)
            found = cached_features(folder, extractor, batches, identity, say)
    say.end("read from the cache" if found.from_cache else "computed")
    of_all = (processes.rows_of_all(array) for array in found.pair)
    return Features(*of_all, found.identity, found.from_cache)


def _cache_folder():
    """Where features are kept, or None."""
    if FLAGS.feature_cache is not None:
        return FLAGS.feature_cache or None
    weights = Path(FLAGS.weights).expanduser() if FLAGS.weights else None
    if weights is None or not weights.exists():
        return None
    beside = weights if weights.is_dir() else weights.parent
    return beside / "features" if os.access(beside, os.W_OK) else None


def _measure_aloud(name, pairs):
    say = ProgressLine(f"probe {name} of {len(pairs['train'][1]):,} train images")
    result = _measure(name, pairs)
    say.end("measured")
    return result


def _measure(name, pairs):
    """The `ProbeResult` of a probe, by the flags, of {split: (features, labels)}."""
    train, test = pairs["train"], pairs["test"]
    if name == "logistic":
        from keras_convnextv2.analysis import logistic_regression as logistic

        sweep = {"coarse": logistic.COARSE_C, "dinov3": logistic.DINOV3_C}[FLAGS.c_sweep]
        return logistic.logistic_probe(train, test, pairs.get("validation"), sweep, seed=FLAGS.seed)
    if name == "ridge":
        from keras_convnextv2.analysis.ridge import few_shot_probe

        return few_shot_probe(train, test, _shots(), FLAGS.num_seeds)
    if name == "knn":
        from keras_convnextv2.analysis.nearest_neighbours import knn_probe

        return knn_probe(train, test, FLAGS.neighbours, FLAGS.temperature)
    from keras_convnextv2.analysis.lars import LarsSettings, lars_probe

    settings = LarsSettings(
        epochs=FLAGS.lars_epochs,
        warmup_epochs=min(10, FLAGS.lars_epochs // 9),
        base_learning_rate=FLAGS.lars_base_learning_rate,
        batch_size=FLAGS.lars_batch_size,
    )
    return lars_probe(train, test, settings, FLAGS.seed)


if __name__ == "__main__":
    program.run(main)
