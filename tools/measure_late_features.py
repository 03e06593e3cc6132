r"""Measures how much of a model's later features its accuracy needs, on labelled images.

Of what recipes.pretrain and recipes.finetune left:
    python -m tools.measure_late_features --weights=runs/pretrained --weights=runs/finetuned \
        --output_dir=runs/late_features

On a folder of images, with names for the table and the pictures:
    python -m tools.measure_late_features --weights=runs/pretrained --weights=runs/finetuned \
        --names=pretrained,fine-tuned --data_dir=photographs --output_dir=runs/late_features

Of the mean over positions of each stage's output: the accuracy of a ridge probe, with 1, 10 and
100 % of the labels, on random subsets of the channels, and on the first principal components beside
axes of a random rotation. In the last block of the third and of the fourth stage: the accuracy
where channels are replaced by their means, the most redundant first, the weakest, or at random,
with N of GRN as it was and computed anew; and of the whole model with N of GRN at its mean. That is
the accuracy of a classifier's own head, and of a probe that learns from what is left.

--output_dir, a new folder, gets measures.json, late_features.md, and the pictures subsets.png,
components.png and removals.png.
"""

import json

from absl import flags

from recipes import (
    evaluation_report,
    model_flags,
    normalisation,
    program,
    run_settings,
    training_flags,
)
from tools import late_feature_measures, late_feature_report, probed_models

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "weights",
    [],
    "A run's folder or .keras file, or weights of the official code, timm, transformers or "
    "mmpretrain, as file, folder or hf://owner/name. Give it several times to compare.",
)
flags.DEFINE_list(
    "fractions",
    ["0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1"],
    "Shares of a stage's channels that a probe gets.",
)
flags.DEFINE_integer("draws", 5, "Random subsets of each share, and rotations.", 1)
flags.DEFINE_list("removed", ["0.5", "0.75", "0.9"], "Shares of channels to remove.")
flags.DEFINE_integer("removal_draws", 1, "Random orders of removal.", 1)
flags.DEFINE_list(
    "blocks",
    None,
    "Blocks in which channels are removed, such as stage3_block0. Default: the last of the third "
    "and of the fourth stage.",
)
flags.DEFINE_integer(
    "ablation_images", 1000, "Training images for the means, and the probes of what is left.", 2
)
flags.DEFINE_string("output_dir", None, "New folder for measures and pictures. Default: none.")
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
probed_models.define_flags()
training_flags.define_data_flags(batch_size=100)
model_flags.define_image_size("Size of the images, H or HxW, for weights that take any.")
normalisation.define_flags()
for module in (probed_models, training_flags, model_flags, normalisation):
    flags.adopt_module_key_flags(module)


def main():
    folder = evaluation_report.new_folder(FLAGS.output_dir)
    if not FLAGS.weights:
        raise ValueError("--weights: name a model, such as --weights=runs/pretrained.")
    probed_models.label_fractions()  # before anything is computed
    options = late_feature_measures.Options(
        probed_models.fractions("fractions"),
        FLAGS.draws,
        probed_models.fractions("removed"),
        FLAGS.removal_draws,
        tuple(FLAGS.blocks) if FLAGS.blocks else None,
        FLAGS.ablation_images,
        FLAGS.seed,
    )
    models = {}
    for probed in probed_models.each(FLAGS.weights, run_settings.from_flags()):
        models[probed.name] = late_feature_measures.measure(probed, options)
    result = {
        "images": FLAGS.data_dir or "embedded",
        "seed": FLAGS.seed,
        "draws": FLAGS.draws,
        "label_draws": FLAGS.label_draws,
        "ablation_images": FLAGS.ablation_images,
        "models": models,
    }
    if folder is not None:
        late_feature_report.write(folder, result)
    if FLAGS.json:
        print(json.dumps(result))
    else:
        print(late_feature_report.as_markdown(result))


if __name__ == "__main__":
    program.run(main)
