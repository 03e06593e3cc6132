r"""Draws what an FCMAE step costs, in time and memory, over mask ratio and over image size.

Each point is one run of tools.benchmark, with `encoder_path` "visible" and "dense" side by side.

    KERAS_BACKEND=torch python -m tools.benchmark_curves --output=docs/curves.png
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
from absl import flags

from recipes import program

FLAGS = flags.FLAGS

flags.DEFINE_string("output", None, "PNG file to write; the numbers go beside it as JSON.")
flags.DEFINE_string("variant", "atto", "A name of the variants table.")
flags.DEFINE_integer("batch_size", 8, "Images a step.", lower_bound=1)
flags.DEFINE_integer("repetitions", 5, "Timings of each path and point.", lower_bound=1)
flags.DEFINE_list(
    "mask_ratios", ["0.2", "0.4", "0.6", "0.8", "0.9"], "At 224 pixels; may be empty."
)
flags.DEFINE_list(
    "image_sizes", ["96", "128", "160", "192", "224", "288"], "At ratio 0.6; may be empty."
)
flags.mark_flag_as_required("output")

PATHS = ("visible", "dense")


def main():
    output = Path(FLAGS.output)
    if output.suffix != ".png":
        raise ValueError(f"--output must end in .png. Received: {FLAGS.output}")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    curves = {
        "mask ratio": {
            float(ratio): _measure(f"--mask_ratio={ratio}") for ratio in FLAGS.mask_ratios
        },
        "image size, pixels": {
            int(size): _measure(f"--image_size={size}") for size in FLAGS.image_sizes
        },
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    _draw(curves, figure)
    figure.savefig(output, dpi=110)
    output.with_suffix(".json").write_text(json.dumps(curves, indent=1) + "\n")
    print(f"{output}, {output.with_suffix('.json')}")


def _measure(flag):
    """{path: row of tools.benchmark} with one flag beside those of all points."""
    print(flag, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tools.benchmark", "--task=pretrain", flag),
                f"--contenders={','.join(f'{keras.backend.backend()}-{path}' for path in PATHS)}",
                f"--variant={FLAGS.variant}",
                f"--batch_size={FLAGS.batch_size}",
                f"--repetitions={FLAGS.repetitions}",
                f"--output={report}",
            ],
            cwd=Path(__file__).resolve().parents[1],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ValueError(f"tools.benchmark {flag}: {done.stderr.splitlines()[-1]}")
        return dict(zip(PATHS, json.loads(report.read_text())["rows"], strict=True))


def _draw(curves, figure):
    figure.suptitle(
        f"FCMAE step, {FLAGS.variant}, batch {FLAGS.batch_size}, float32, "
        f"{keras.backend.backend()} on 2 CPU threads"
    )
    quantities = {"milliseconds": "ms a step", "peak_megabytes": "peak memory, MB"}
    panels = figure.subplots(len(quantities), len(curves), sharey="row", squeeze=False)
    for row, (key, label) in zip(panels, quantities.items(), strict=True):
        for panel, (name, points) in zip(row, curves.items(), strict=True):
            for path, marker in zip(PATHS, "os", strict=True):
                values = [rows[path][key] for rows in points.values()]
                panel.plot(list(points), values, marker=marker, label=path)
            panel.set_xlabel(name)
            panel.grid(alpha=0.3)
        row[0].set_ylabel(label)
        row[0].set_ylim(bottom=0)  # after all curves of the row, whose scale it fixes
    panels[0][0].legend(title="encoder_path")


if __name__ == "__main__":
    program.run(main, only_starts_programs=True)
