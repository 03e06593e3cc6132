r"""Times two checkouts of this repository against each other: is a step of the new one slower?

    git worktree add ../old COMMIT
    python -m tools.compare_trees --old=../old --new=. --task=pretrain --variant=tiny \
        --batch_size=8 --backends=tensorflow,jax,torch --repetitions=7 --steps=2

Each tree runs its own `tools/benchmark_contender.py`, as a process that stays alive. Of one backend
after the other both trees' processes live at the same time and take turns, old before new, then new
before old, so that whatever else the machine does meets both. Printed are medians and their ratios,
new over old; "of the fastest" is that of the least of all timings, which other work on the machine
moves least, and "in pairs" are the least and the largest ratio of two timings of one turn.

In place of a backend stands any contender of this library that tools.benchmark knows, such as
"torch-dense". A tree that does not know an option's setting runs without: those before
`set_fast_paths` have no "-plain".
"""

import statistics
import sys
from pathlib import Path

from absl import flags

from recipes import program
from tools import contenders

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(contenders)

flags.DEFINE_string("old", None, "Folder of the checkout that is compared with.")
flags.DEFINE_string("new", ".", "Folder of the checkout that is compared.")
flags.DEFINE_list("backends", list(contenders.BACKENDS), "One after the other.")
flags.mark_flag_as_required("old")

TREES = ("old", "new")
# What trees before `set_fast_paths` ask for.
_OF_OLD_TREES = {"depthwise": "auto"}


def main():
    contenders.checked_visible_share()
    folders = {tree: Path(FLAGS[tree].value).resolve() for tree in TREES}
    for tree, folder in folders.items():
        if not (folder / "tools" / "benchmark_contender.py").is_file():
            raise ValueError(f"--{tree} is no checkout of this repository: {folder}")
    settings = {name: _settings(name) for name in FLAGS.backends}
    rows = [_compared(name, folders, settings[name]) for name in settings]
    print(_table(rows))
    contenders.write_report("compare_trees", {"rows": rows})


def _settings(name):
    settings = contenders.settings_of(name)
    if settings["library"] != "keras_convnextv2":
        raise ValueError(f"--backends: {name!r} is not of this library.")
    return _OF_OLD_TREES | settings


def _compared(name, folders, settings):
    """The row of one backend: times, peaks and their ratios."""
    processes = {}
    try:
        for tree, folder in folders.items():
            print(f"starting {name}, {tree}", file=sys.stderr, flush=True)
            processes[tree] = contenders.Contender(f"{name}, {tree}", settings, folder)
        for repetition in range(FLAGS.repetitions):
            print(f"repetition {repetition + 1}/{FLAGS.repetitions}", file=sys.stderr, flush=True)
            for tree in TREES if repetition % 2 == 0 else reversed(TREES):
                processes[tree].time_once()
        seconds = {tree: process.seconds for tree, process in processes.items()}
        megabytes = {tree: process.peak_bytes() / 2**20 for tree, process in processes.items()}
    finally:
        for process in processes.values():
            process.close()
    return _row(name, seconds, megabytes)


def _row(name, seconds, megabytes):
    milliseconds = {tree: 1000 * statistics.median(seconds[tree]) for tree in TREES}
    return {
        "backend": name,
        "milliseconds": milliseconds,
        "time_ratio": milliseconds["new"] / milliseconds["old"],
        "fastest_ratio": min(seconds["new"]) / min(seconds["old"]),
        "ratios_in_pairs": [
            new / old for old, new in zip(seconds["old"], seconds["new"], strict=True)
        ],
        "peak_megabytes": megabytes,
        "memory_ratio": megabytes["new"] / megabytes["old"],
    }


def _table(rows):
    lines = [
        contenders.heading(),
        "",
        "| backend | old, ms | new, ms | ratio | of the fastest | in pairs "
        "| old, MB | new, MB | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        pairs = row["ratios_in_pairs"]
        cells = (
            row["backend"],
            *(f"{row['milliseconds'][tree]:.1f}" for tree in TREES),
            f"{row['time_ratio']:.3f}",
            f"{row['fastest_ratio']:.3f}",
            f"{min(pairs):.2f} to {max(pairs):.2f}",
            *(f"{row['peak_megabytes'][tree]:.0f}" for tree in TREES),
            f"{row['memory_ratio']:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    largest = [
        f"{what} {row[key]:.3f} ({row['backend']})"
        for what, key in (("time", "time_ratio"), ("memory", "memory_ratio"))
        for row in [max(rows, key=lambda row: row[key])]
    ]
    return "\n".join([*lines, "", f"Largest ratio: {', '.join(largest)}"])


if __name__ == "__main__":
    program.run(main, only_starts_programs=True)
