"""All that `tools.measure_collapse` measures of a model, and of two."""

import dataclasses
import itertools

import numpy as np

from recipes import images
from recipes.progress_line import ProgressLine

PRETRAINING_CROP = (0.2, 1.0)  # of the picture's area; the paper's table 8


@dataclasses.dataclass
class ModelMeasures:
    """What was measured of a model.

    Attributes:
        about: dict, what was measured on what.
        blocks: as `collapse_by_block` gives it.
        last: {name: float or None}, of the last features.
        features: (N, d), these.
        channels: (h, w, channels), the maps of one block for the first image.
    """

    about: dict
    blocks: dict
    last: dict
    features: np.ndarray
    channels: np.ndarray


def measure(name, model, source, settings, where, block):
    """The `ModelMeasures` of a model.

    Args:
        name: str, for what is said of the progress.
        model: as of `BlockFeatures`.
        source: `ImageSource` of the images to measure with, all of them.
        settings: `Settings` with `size`, `batch_size` and `workers`.
        where: as of `BlockFeatures`.
        block: str, the one of `channels`.
    """
    from keras_convnextv2.analysis import (
        BlockFeatures,
        collapse_by_block,
        compute_features,
        feature_model,
        representation_measures,
    )
    from keras_convnextv2.analysis.features import describe

    batches = images.evaluation_batches(source, settings, labelled=False)
    say = ProgressLine(f"{name}, {len(source):,} images")
    by_block = collapse_by_block(model, batches, where, on_batch=say)
    features = compute_features(feature_model(model), batches).features
    last = representation_measures(features)
    first, *_ = batches[0]
    (channels,) = BlockFeatures(model, [block], where)(first[:1]).values()
    say.end("measured")
    about = {
        "images": source.description,
        "num_images": len(source),
        "image_size": list(settings.size),
        "evaluation_crop": settings.evaluation_crop or 0,
        "features": f"{features.shape[1]}, {describe(model)}",
        "block_of_channels": block,
    }
    return ModelMeasures(about, by_block, last, features, channels[0])


def lidar_of_crops(name, model, source, settings, num_views, seed):
    """LiDAR of the last features under random crops and mirror images, as pretraining draws them.

    Args:
        num_views: int, of each image.
        seed: int, of the crops; others are those of `measure`.
    """
    from keras_convnextv2.analysis import compute_features, feature_model, lidar
    from keras_convnextv2.data import Augmentation, ImageBatches

    say = ProgressLine(f"{name}, {num_views} views of {len(source):,} images")
    crops = Augmentation(crop_scale=PRETRAINING_CROP, horizontal_flip=0.5)
    batches = ImageBatches(
        source,
        crops.framing(settings.size),
        settings.batch_size,
        labelled=False,
        seed=seed,
        workers=settings.workers,
        **crops.stages(source.mean),
    )
    extractor, views = feature_model(model), []
    for view in range(num_views):
        batches.epoch = view
        views.append(compute_features(extractor, batches).features)
        say(view + 1, num_views)
    say.end("measured")
    return lidar(np.stack(views, axis=1))


def alignments(measured):
    """Unbiased linear CKA of the last features of each two models.

    Args:
        measured: {name: `ModelMeasures`}, on the same images.

    Returns:
        [{"models": [name, name], "linear_cka": float}, ...]; None for features that do not vary,
        or of fewer than 4 images.
    """
    from keras_convnextv2.analysis import linear_cka

    found = []
    for one, other in itertools.combinations(measured, 2):
        try:
            value = linear_cka(measured[one].features, measured[other].features)
        except ValueError:
            value = None
        found.append({"models": [one, other], "linear_cka": value})
    return found
