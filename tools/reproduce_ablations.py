r"""The paper's experiments on images of your own, in small: each a row beside the paper's number.

All of it on a folder of images, for half an hour; the same command goes on the next day:
    KERAS_BACKEND=torch python -m tools.reproduce_ablations --data_dir=photographs \
        --output_dir=ablations --budget=30

What there is, and how far it is; and two groups alone, with a row of a third:
    python -m tools.reproduce_ablations --data_dir=photographs --output_dir=ablations --list
    python -m tools.reproduce_ablations --data_dir=photographs --output_dir=ablations \
        --only=codesign,masking,decoder/unet

A row is a pretraining by recipes.pretrain, on all training images without labels, and a fine-tuning
by recipes.finetune on --labels_per_class of them; or that alone, from scratch. Rows that need the
same run share it. A run that is stopped goes on where it was saved. Two programs may work on one
folder with other groups in --only.

The folder gets results.csv, results.md and plots/, written anew after each run; runs/, a recipe's
folder each, without checkpoints once it is finished; logs/, times.jsonl, settings.json and
finished.jsonl. The last two are all that another machine needs to go on: runs in finished.jsonl are
not made again, but for a pretraining whose weights a run that is left needs. Name the images by a
relative path then, since --data_dir must be the same.

The experiments are in tools/ablation_experiments.py.
"""

import json
import sys
import warnings
from pathlib import Path

from absl import flags

from recipes import model_flags, program
from recipes.printable import printable
from tools import (
    ablation_experiments,
    ablation_finished,
    ablation_report,
    ablation_results,
    ablation_runner,
)
from tools.ablation_runs import COMMON_FLAGS, Plan, in_order

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "output_dir", "ablations", "Folder for what the runs leave, a new one or begun."
)
flags.DEFINE_string("data_dir", "", "Labelled images, as for recipes.finetune. Empty: embedded.")
flags.DEFINE_float(
    "budget", None, "Minutes; a run at work then is saved. Default: until all is done.", 0
)
flags.DEFINE_list("only", [], "Groups, or group/row, with commas between. Default: all.")
flags.DEFINE_bool("list", False, "Say what there is, what is done and what is left; run nothing.")
flags.DEFINE_integer("seeds", 3, "Of the groups that matter most.", lower_bound=1)
flags.DEFINE_integer("other_seeds", 1, "Of the other groups.", lower_bound=1)
flags.DEFINE_integer("pretrain_epochs", 6, "Of each pretraining.", lower_bound=1)
flags.DEFINE_integer("finetune_epochs", 15, "Of each fine-tuning.", lower_bound=1)
flags.DEFINE_integer("labels_per_class", 50, "Images to fine-tune on; 0: all.", lower_bound=0)
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16", "float16"], "Of all runs.")
flags.DEFINE_float(
    "pretrain_cost", 0.55, "An image in pretraining costs this share of one in fine-tuning.", 0
)
flags.DEFINE_string("pretrain_flags", "", "More flags for each pretraining, blanks between.")
flags.DEFINE_string("finetune_flags", "", "More flags for each fine-tuning, blanks between.")
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")
model_flags.define_size_flags()
flags.adopt_module_key_flags(model_flags)

# Of a folder: 25,000 images of 64 pixels are pretrained on in minutes.
SMALL_MODEL = {
    "depths": ["1", "1", "3", "1"],
    "widths": ["24", "48", "96", "192"],
    "image_size": "64",
    "stem_stride": 2,
}
for _name, _value in SMALL_MODEL.items():
    _text = ",".join(_value) if isinstance(_value, list) else _value
    FLAGS[_name].help = (
        f"{FLAGS[_name].help.partition(' Default:')[0]} Default: {_text} with --data_dir, else "
        "that of the recipes."
    )
FLAGS["variant"].help = "A name, such as atto, in place of --depths and --widths."
_SETTINGS = "settings.json"
# What bears on the results; what is in the folder is of these.
_NAMES = (
    *("data_dir", "variant", "depths", "widths", "image_size", "stem_stride"),
    *("pretrain_epochs", "finetune_epochs", "labels_per_class", "precision", "pretrain_cost"),
    *("pretrain_flags", "finetune_flags"),
)


def main():
    groups = ablation_experiments.selected(FLAGS.only)
    folder = Path(FLAGS.output_dir)
    settings = _settings(folder)
    plan = Plan(settings)
    runs = in_order(groups, FLAGS.seeds, FLAGS.other_seeds, plan)
    everything = in_order(ablation_experiments.GROUPS, FLAGS.seeds, FLAGS.other_seeds, plan)
    budget = None if FLAGS.budget is None else 60 * FLAGS.budget
    runner = ablation_runner.Runner(folder, runs, budget, _say)
    if FLAGS.list:
        _print_list(groups, plan, runner)
        return
    if runner.left():
        _check_images(folder, settings)
    of_all = ablation_runner.Runner(folder, everything)
    _keep(folder, settings)
    ablation_finished.keep_all(folder)
    compared = []

    def write():
        done = ablation_finished.finished_runs(folder)
        compared[:] = _comparisons(plan, done)
        state = " ".join([f"{_state(of_all)}.", *_made_on(done)])
        ablation_report.write(folder, compared, settings, state)

    try:
        runner.run_all(write)
    finally:
        write()
    if FLAGS.json:
        print(json.dumps(_as_json(compared, runner)))
    else:
        print(ablation_report.as_text(compared))
    _say(f"{_state(runner)}. {folder / 'results.md'}")
    if runner.failed:
        name, reason = next(iter(runner.failed.items()))
        raise ValueError(f"{len(runner.failed)} runs failed. The first, {name}: {reason}")


def _settings(folder):
    """What bears on the results, with the numbers of images; a folder that is begun has the same.

    Raises:
        ValueError: the folder holds something else, or runs with other settings.
    """
    given = {name: getattr(FLAGS, name) for name in _NAMES}
    for name in ("pretrain_flags", "finetune_flags"):
        given[name] = given[name].split()
    if FLAGS.variant and (FLAGS.depths or FLAGS.widths):
        raise ValueError("Give --variant, or --depths and --widths, not both.")
    if FLAGS.data_dir:
        sized = ("depths", "widths") if FLAGS.variant else ()
        of_model = {name: value for name, value in SMALL_MODEL.items() if name not in sized}
        given |= {name: value for name, value in of_model.items() if given[name] is None}
    given |= {"backend": _backend(), "common_flags": COMMON_FLAGS}
    path = folder / _SETTINGS
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(
                f"--output_dir: {folder} is not empty, and was not begun by this tool. Name a new "
                "folder."
            )
        return {**given, **_images()}
    before = json.loads(path.read_text())
    for name, value in given.items():
        if before.get(name) != value:
            raise ValueError(
                f"--output_dir: {folder} was begun with {name} {before.get(name)!r}, not "
                f"{value!r}. Give it that again, or name a new folder."
            )
    return before


def _backend():
    import keras

    return keras.backend.backend()


def _images():
    """{"num_images" to pretrain on, "num_labelled" to fine-tune on, "images": what tells them}."""
    from keras_convnextv2.data import ImageSourceWarning, open_source
    from keras_convnextv2.data.fingerprint import fingerprint
    from recipes.images import EMBEDDED_IMAGES

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageSourceWarning)  # the runs say it
        source, test = (
            open_source(FLAGS.data_dir or EMBEDDED_IMAGES, split) for split in ("train", "test")
        )
    if source.labels is None or source.labels.ndim != 1:
        raise ValueError(
            f"Images with one label each are needed: {source.description}. Give a folder with one "
            "folder a class."
        )
    labelled = source
    if FLAGS.labels_per_class:
        labelled = source.labels_per_class(FLAGS.labels_per_class, 0)
    return {
        "num_images": len(source),
        "num_labelled": len(labelled),
        "images": {"train": fingerprint(source), "test": fingerprint(test)},
    }


def _check_images(folder, settings):
    """Raises ValueError where a folder that goes on, perhaps elsewhere, was begun with others."""
    from keras_convnextv2.data.fingerprint import changes

    now = _images()
    images = now.pop("images")
    for name, number in now.items():
        if settings[name] != number:
            raise ValueError(
                f"--data_dir: {folder} was begun with {name} {settings[name]}, and these images "
                f"have {number}. Give it the same images, or name a new folder."
            )
    for split, found in images.items():
        changed = changes(settings.get("images", {}).get(split), found)
        if changed:
            raise ValueError(
                f"--data_dir: {folder} was begun with other {split} images: their "
                f"{' and '.join(changed)} differ. Give it the same images, or name a new folder."
            )


def _keep(folder, settings):
    from keras_convnextv2.whole_files import whole_file

    if not (folder / _SETTINGS).is_file():
        with whole_file(folder / _SETTINGS) as unfinished:
            unfinished.write_text(json.dumps(settings, indent=1) + "\n")


def _seeds(group):
    return FLAGS.seeds if group.headline else FLAGS.other_seeds


def _comparisons(plan, done):
    """Of all groups and seeds that are done, asked for now or not; `done` is of `finished_runs`."""

    def seeds(group):
        number = _seeds(group)
        while any(plan.run_of(row, number).name in done for row in group.experiments):
            number += 1
        return number

    def minutes(experiment, seed):
        run = plan.run_of(experiment, seed)
        names = [run.name, *([run.weights.name] if run.weights else [])]
        return sum(done[name]["seconds"] for name in names if name in done) / 60

    def result(experiment, seed):
        line = done.get(plan.run_of(experiment, seed).name)
        return None if line is None else line["result"]

    return ablation_results.comparisons(ablation_experiments.GROUPS, seeds, result, minutes)


def _made_on(done):
    counts = ablation_finished.machines(done)
    told = [
        f"{number} run{'s' if number > 1 else ''} on {machine}."
        for machine, number in counts.items()
    ]
    commits = ablation_finished.commits(done)
    return [*told, *([f"Commits: {', '.join(commits)}."] if commits else [])]


def _state(runner):
    """How many runs are done, and how long the others will take, in words."""
    from recipes.projection import clock_time

    left = runner.left()
    words = f"{len(runner.runs) - len(left)} of {len(runner.runs)} runs are done"
    if not left:
        return words
    projected = [runner.projected_seconds(run) for run in left]
    if None in projected:
        return f"{words}; how long the others take is known when one of each recipe is"
    return f"{words}; the others take about {clock_time(sum(projected))} by those"


def _print_list(groups, plan, runner):
    left = {run.name for run in runner.left()}
    for group in groups:
        print(f"{group.name}: {group.title}\n  the paper: {group.source}")
        for experiment in group.experiments:
            seeds = range(_seeds(group))
            done = sum(plan.run_of(experiment, seed).name not in left for seed in seeds)
            paper = "" if experiment.paper is None else f"{experiment.paper:.1f}"
            print(f"  {experiment.name:<26}{paper:>7}   {done} of {len(seeds)} seeds done")
    print(f"{_state(runner)}.")


def _as_json(compared, runner):
    left = runner.left()
    rows = [
        {
            "group": comparison.group.name,
            "row": row.name,
            "paper": row.experiment.paper,
            "accuracies": row.accuracies,
            "mean": row.mean,
            "spread": row.spread,
            "verdict": comparison.verdict(row),
        }
        for comparison in compared
        for row in comparison.rows
    ]
    return {"runs": len(runner.runs), "runs_left": len(left), "rows": rows}


def _say(line):
    print(printable(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    program.run(main)
