r"""Whether measures that need no labels go with accuracy, over many models of one set of images.

All runs that recipes.pretrain and recipes.finetune left in a folder, as tools.reproduce_ablations
has them, and others:
    python -m tools.correlate_measures --runs_dir=ablations/runs --data_dir=photographs \
        --output_dir=correlation
    python -m tools.correlate_measures --weights=runs/a --weights=runs/b --weights=runs/c \
        --weights=runs/d --data_dir=photographs

Of each model: RankMe, alpha-ReQ, participation ratio and collapse deviation of the last features of
the test images, the channel cosine distance of the last stage after GELU and after the response,
and the accuracy of a ridge probe with 1, 10 and 100 % of the labels; of a classifier its own, too.
Then Pearson's and Spearman's correlation of each measure with each accuracy, over all models, and
over the pretrained ones and the classifiers alone.

--output_dir, a new folder, gets correlation.json, correlation.md and correlation.png.
"""

import json
from pathlib import Path

from absl import flags

from recipes import (
    evaluation_report,
    model_flags,
    normalisation,
    program,
    run_settings,
    training_flags,
)
from tools import correlation_report, measures_and_accuracy, probed_models

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "weights", [], "A model, as for tools.measure_late_features; give it several times."
)
flags.DEFINE_string("runs_dir", None, "A folder of runs, all of which that are finished count.")
flags.DEFINE_string("output_dir", None, "New folder for the results. Default: none.")
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
probed_models.define_flags()
training_flags.define_data_flags(batch_size=100)
model_flags.define_image_size("Size of the images, H or HxW, for weights that take any.")
normalisation.define_flags()
for module in (probed_models, training_flags, model_flags, normalisation):
    flags.adopt_module_key_flags(module)

FEWEST = 4  # models


def main():
    folder = evaluation_report.new_folder(FLAGS.output_dir)
    weights = [*FLAGS.weights, *(_runs_in(FLAGS.runs_dir) if FLAGS.runs_dir else [])]
    if len(weights) < FEWEST:
        raise ValueError(
            f"--weights and --runs_dir: {FEWEST} models or more are needed, twenty to say much. "
            f"Found: {len(weights)}"
        )
    probed_models.label_fractions()  # before anything is computed
    models = {}
    for probed in probed_models.each(weights, run_settings.from_flags()):
        models[probed.name] = measures_and_accuracy.of_model(probed)
    result = {
        "images": FLAGS.data_dir or "embedded",
        "seed": FLAGS.seed,
        "label_draws": FLAGS.label_draws,
        "models": models,
        "correlations": measures_and_accuracy.correlations(models),
    }
    if folder is not None:
        correlation_report.write(folder, result)
    print(json.dumps(result) if FLAGS.json else correlation_report.as_markdown(result))


def _runs_in(folder):
    """The folders of finished runs, by name."""
    if not Path(folder).is_dir():
        raise ValueError(f"--runs_dir: {folder} is no folder.")
    found = sorted(str(path) for path in Path(folder).iterdir() if (path / "model").is_dir())
    if not found:
        raise ValueError(f"--runs_dir: {folder} holds no finished run.")
    return found


if __name__ == "__main__":
    program.run(main)
