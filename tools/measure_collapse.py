r"""Measures how diverse a model's features are, block by block, on images without labels.

Of random weights on the embedded images, and of what recipes.pretrain left:
    python -m tools.measure_collapse
    python -m tools.measure_collapse --weights=runs/pretrained --output_dir=runs/collapse

Several models on the same images of a folder, beside random weights of a variant:
    python -m tools.measure_collapse --weights=runs/pretrained --weights=runs/finetuned \
        --variant=atto --stem_stride=2 --image_size=64 --data_dir=photographs --output_dir=collapse

For each block: the mean cosine distance of its channels (arXiv 2301.00808, section 3), beside what
it would be if the channels looked at unrelated positions, and how many directions the means of its
maps take up. Of the last features: RankMe, alpha-ReQ, participation ratio and collapse deviation;
with --lidar_views, LiDAR on random crops as in pretraining. Of each two models: linear CKA of the
last features.

--output_dir, a new folder, gets measures.json, distances.png (curves over depth) and channels.png
(64 channels of a block for one image). A thousand images of 64 pixels take an atto about 15 s.
"""

import contextlib
import dataclasses
import json

import numpy as np
from absl import flags

from recipes import (
    evaluation_report,
    image_sizes,
    images,
    model_flags,
    normalisation,
    pixel_range,
    program,
    run_settings,
    saved_models,
    training_flags,
)
from tools import collapse_table, model_measures, named_weights

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "weights",
    [],
    "A run's folder or .keras file, or weights of the official code, timm, transformers or "
    "mmpretrain, as file, folder or hf://owner/name. Give it several times to compare. Without "
    "any, or with a flag that describes a model, such as --variant or --response, random weights "
    "are measured too.",
)
flags.DEFINE_enum(
    "split",
    None,
    ["train", "validation", "test"],
    "Of the images. Default: test, or train where there is no test.",
)
flags.DEFINE_integer("num_images", 1000, "Images, drawn by --seed; RankMe depends on it.", 2)
flags.DEFINE_enum(
    "where",
    "response",
    ["gelu", "response", "output"],
    "In a block: after GELU, after what follows it (GRN), or at the block's output.",
)
flags.DEFINE_integer(
    "lidar_views",
    0,
    "Random crops of each image for LiDAR, from 2 on; each passes the model. 0: no LiDAR.",
    lower_bound=0,
)
flags.DEFINE_string(
    "channels_of",
    None,
    "The block in channels.png, such as stage2_block5. Default: the last of the third stage.",
)
flags.DEFINE_integer("seed", 0, "Of the images, their crops, and random weights.", lower_bound=0)
flags.DEFINE_string("output_dir", None, "New folder for measures and pictures. Default: none.")
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
training_flags.define_data_flags(batch_size=25)
model_flags.define_flags()
normalisation.define_flags()
for module in (training_flags, model_flags, normalisation):
    flags.adopt_module_key_flags(module)

OF_RANDOM = ("variant", "depths", "widths", "stem_stride", "response", "layer_scale")


def main():
    folder = evaluation_report.new_folder(FLAGS.output_dir)
    if FLAGS.lidar_views == 1:
        raise ValueError("--lidar_views must be 2 or more, or 0 for no LiDAR. Received: 1")
    measured = {}
    for name, weights in _names(FLAGS.weights).items():
        measured[name] = _measure(name, weights)
    result = {
        "where": FLAGS.where,
        "seed": FLAGS.seed,
        "models": {
            name: {**found.about, "last_features": found.last, "blocks": found.blocks}
            for name, found in measured.items()
        },
        "cka": model_measures.alignments(measured),
    }
    if folder is not None:
        _write(folder, result, measured)
    if FLAGS.json:
        print(json.dumps(result))
    else:
        print(collapse_table.as_text(result))


def _names(weights):
    """{short name: what to load}, None for random weights; they come first."""
    has_random = not weights or any(FLAGS[name].value is not None for name in OF_RANDOM)
    found = {"random": None} if has_random else {}
    return {**found, **named_weights.named(weights, taken=found)}


def _measure(name, weights):
    model, source, settings = _open(weights)
    block = _shown_block(model, name)
    found = model_measures.measure(name, model, source, settings, FLAGS.where, block)
    if FLAGS.lidar_views:
        found.last["lidar"] = model_measures.lidar_of_crops(
            name, model, source, settings, FLAGS.lidar_views, FLAGS.seed
        )
    found.about = {"weights": weights or f"random, seed {FLAGS.seed}", **found.about}
    return found


def _open(weights):
    """(model, `ImageSource` of the images to measure with, `Settings` with their size)."""
    settings = run_settings.from_flags()
    model = None
    if weights is not None:
        model = saved_models.load(weights, model_flags.given_image_size())
    known = model and saved_models.backbone_of(model).pixel_range
    source = _open_images(pixel_range.known(known, weights))
    if model is None:
        settings = model_flags.resolve(settings)
        model = model_flags.random_backbone(settings, source)
    backbone = saved_models.backbone_of(model)
    images.check_channels(source, backbone.image_shape[-1])
    normalisation.settle(backbone, weights or "random weights", source)
    settings = image_sizes.as_weights_ask(settings, weights, backbone)
    mean, std = backbone.normalisation
    return model, dataclasses.replace(source, mean=mean, std=std), settings


def _open_images(trained_with):
    """--num_images of --split, drawn by --seed: for every model the same."""
    from keras_convnextv2.data import NoSuchSplitError

    source = None
    if FLAGS.split is None:
        with contextlib.suppress(NoSuchSplitError):
            source = images.open_images("test", trained_with)
    if source is None:
        source = images.open_images(FLAGS.split or "train", trained_with)
    if len(source) <= FLAGS.num_images:
        return source
    drawn = np.random.default_rng(FLAGS.seed).permutation(len(source))[: FLAGS.num_images]
    return source.taken(drawn, f"{FLAGS.num_images:,} of them by seed {FLAGS.seed}")


def _shown_block(model, name):
    """The block of channels.png: --channels_of, or the last of the third stage."""
    from keras_convnextv2.analysis import BlockFeatures

    blocks = BlockFeatures(model).names
    if FLAGS.channels_of is None:
        return [block for block in blocks if block.startswith("stage2_")][-1]
    if FLAGS.channels_of not in blocks:
        raise ValueError(
            f"--channels_of: {name} has the blocks {', '.join(blocks)}. Received: "
            f"{FLAGS.channels_of!r}"
        )
    return FLAGS.channels_of


def _write(folder, result, measured):
    from keras_convnextv2.analysis import save_channel_maps, save_distance_curves
    from keras_convnextv2.analysis.block_features import PLACES
    from keras_convnextv2.whole_files import whole_file

    with whole_file(folder / "measures.json") as unfinished:
        unfinished.write_text(json.dumps(result, indent=1) + "\n")
    with whole_file(folder / "distances.png") as unfinished:
        curves = {name: found.blocks for name, found in measured.items()}
        save_distance_curves(unfinished, curves, FLAGS.where)
    with whole_file(folder / "channels.png") as unfinished:
        maps = {
            f"{name}, {found.about['block_of_channels']}": found.channels
            for name, found in measured.items()
        }
        save_channel_maps(unfinished, maps, title=f"Channels {PLACES[FLAGS.where]}, one image")


if __name__ == "__main__":
    program.run(main)
