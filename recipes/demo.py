r"""The main job from end to end on the embedded images: `make demo`.

Pretrains, fine-tunes on a few labels a class, does the same from scratch for comparison, evaluates
and prints one table. Each step is a recipe run as a program of its own, and its command is shown.
Both arms fine-tune with the same flags, hence at equal cost.

    python -m recipes.demo
    python -m recipes.demo --seeds=5 --output_dir=runs/five_seeds
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from absl import flags

from . import program

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", "runs/demo", "Folder for everything; made anew.")
flags.DEFINE_integer("seeds", 1, "Runs of everything, of seeds 0, 1, ...", lower_bound=1)
flags.DEFINE_list("labels_per_class", ["10"], "Label budgets to fine-tune with.")
flags.DEFINE_integer("pretraining_epochs", 12, "Epochs of pretraining.", lower_bound=1)
flags.DEFINE_integer("finetuning_epochs", 30, "Epochs of fine-tuning.", lower_bound=1)


def main():
    budgets = [int(budget) for budget in FLAGS.labels_per_class]
    folder = _new_folder(Path(FLAGS.output_dir))
    started = time.monotonic()
    accuracies = {}  # (arm, budget): one a seed
    for seed in range(FLAGS.seeds):
        pretrained = folder / f"seed{seed}" / "pretrained"
        _run("pretrain", output_dir=pretrained, seed=seed, epochs=FLAGS.pretraining_epochs)
        for budget in budgets:
            for arm, weights in (("pretrained", pretrained), ("scratch", "")):
                result = _run(
                    "finetune",
                    output_dir=folder / f"seed{seed}" / f"{arm}_{budget}_labels",
                    seed=seed,
                    weights=weights,
                    labels_per_class=budget,
                    epochs=FLAGS.finetuning_epochs,
                )
                accuracies.setdefault((arm, budget), []).append(100 * result["test_accuracy"])
    minutes = (time.monotonic() - started) / 60

    table = _table(budgets, accuracies)
    (folder / "table.md").write_text(_as_markdown(table), encoding="utf-8")
    first = folder / "seed0"
    seeds = "one seed" if FLAGS.seeds == 1 else f"{FLAGS.seeds} seeds"
    print(f"\nTest accuracy on 2,000 images after fine-tuning, {seeds}:\n\n{_as_text(table)}\n")
    print(f"pictures  {first / 'pretrained' / 'reconstructions.png'}")
    print(f"model     {first / f'pretrained_{budgets[0]}_labels' / 'model'}")
    print(f"log       {first / 'pretrained' / 'metrics.jsonl'}")
    print(f"table     {folder / 'table.md'}")
    print(f"took      {minutes:.1f} minutes")


def _new_folder(folder):
    """Replaces the folder of an earlier demo, and refuses to replace anything else."""
    mark = folder / "made_by_demo"
    if folder.exists() and not mark.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"--output_dir: {folder} was not made by the demo, which would replace it. Name "
            "another folder."
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    mark.touch()
    return folder


def _run(recipe, **settings):
    """Runs a recipe in a process of its own and returns its result."""
    words = [f"--{name}={value}" for name, value in settings.items() if value != ""]
    words += [FLAGS[name].serialize() for name in program.SHARED_FLAGS if FLAGS[name].present]
    command = [sys.executable, "-m", f"{__package__}.{recipe}", *words]
    print(f"\n$ python -m {__package__}.{recipe} {' '.join(words)}", file=sys.stderr, flush=True)
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise ValueError(f"recipes.{recipe} ended with status {done.returncode}; see above.")
    return json.loads(done.stdout.splitlines()[-1])


def _table(budgets, accuracies):
    """Rows of cells, the first one of names."""

    def shown(values):
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.1f} %{spread}"

    rows = [("labels a class", "from scratch", "pretrained", "gain, points")]
    for budget in budgets:
        scratch, pretrained = accuracies["scratch", budget], accuracies["pretrained", budget]
        gains = [after - before for before, after in zip(scratch, pretrained, strict=True)]
        gain = shown(gains).replace(" %", "")
        rows.append((str(budget), shown(scratch), shown(pretrained), gain))
    return rows


def _as_text(rows):
    """Columns of equal width, flush right."""
    return "\n".join(" ".join(f"{cell:>14}" for cell in row) for row in rows)


def _as_markdown(rows):
    rows = [rows[0], ["---:"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    program.run(main, only_starts_programs=True)
