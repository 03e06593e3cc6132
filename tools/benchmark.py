r"""Times this library beside its peers: inference, a fine-tuning step and an FCMAE step.

Each contender is a process of its own that stays alive; their repetitions are interleaved, so that
whatever else the machine does meets them all. Printed are medians, and a ratio to the first row.

    python -m tools.benchmark --task=pretrain --variant=atto --batch_size=8
    python -m tools.benchmark --task=inference --contenders=torch,transformers,transformers-compiled

A contender is a backend of this library, with what it runs after a hyphen ("torch-dense",
"jax-visible", "torch-jit"), or a peer: "zeromodels-tensorflow" (-jax, -torch), the other
ConvNeXt V2 in Keras 3; "transformers", its model in PyTorch; for the task pretrain "pytorch", a
plain dense-masked FCMAE. The last two also take "-compiled", for torch.compile. Peers need the
extra `benchmark`. For inference also what `keras_convnextv2.export` writes, in its own runtime:
"litert" (-float16, -dynamic_int8, -int8), "onnx", "openvino". All take "-hugepages": memory in
pages of 2 MB, as in the recipes (`recipes.huge_pages`). All but these artefacts take "-bfloat16":
mixed precision.

A backend of this library also takes "-plain", which switches its fast paths off, and
"-without_NAME", which switches one operation of their table off (`layers.fast.operations()`), as
in "torch-without_gelu_grn". Beside the backend as it is, these show what a fast path gains.

"of peak" is the rate at which a contender does the arithmetic of its convolutions and linear
layers (tools.arithmetic), over that of a large matrix product of its precision in the same run.
"""

import sys

from absl import flags

from recipes import program
from tools import contenders
from tools.arithmetic import operations
from tools.benchmark_contender import DEPTHWISE_TASKS, MATMUL_SIDE, NUM_CLASSES
from tools.contenders import BACKENDS, Contender

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(contenders)

flags.DEFINE_list("contenders", None, "In order; the first is the one that ratios refer to.")

DEFAULTS = {
    "pretrain": [
        *(f"{backend}-{path}" for backend in BACKENDS for path in ("visible", "dense")),
        "pytorch",
        "pytorch-compiled",
    ],
    "inference": [
        *BACKENDS,
        "torch-jit",
        *(f"zeromodels-{backend}" for backend in BACKENDS),
        "transformers",
        "transformers-compiled",
    ],
}
DEFAULTS["finetune"] = DEFAULTS["inference"]
DEFAULTS |= {task: ["torch-plain", *BACKENDS] for task in DEPTHWISE_TASKS}


def main():
    names = FLAGS.contenders or DEFAULTS[FLAGS.task]
    settings = [contenders.settings_of(name) for name in names]
    visible_share = contenders.checked_visible_share()
    processes = {}
    try:
        precisions = {setting["precision"]: _matmul(setting["precision"]) for setting in settings}
        for name, setting in [*zip(names, settings, strict=True), *precisions.values()]:
            print(f"starting {name}", file=sys.stderr, flush=True)
            processes[name] = Contender(name, setting)
        for repetition in range(FLAGS.repetitions):
            print(f"repetition {repetition + 1}/{FLAGS.repetitions}", file=sys.stderr, flush=True)
            for process in processes.values():
                process.time_once()
        peaks = {
            precision: 2 * MATMUL_SIDE**3 / processes[name].median()
            for precision, (name, _) in precisions.items()
        }
        rows = [_row(processes[name], peaks, visible_share) for name in names]
    finally:
        for process in processes.values():
            process.close()
    report = {
        "matmul_gflops": {precision: peak / 1e9 for precision, peak in peaks.items()},
        "rows": rows,
    }
    print(_table(report))
    contenders.write_report("benchmark", report)


def _matmul(precision):
    """The name and the settings of the contender that only multiplies matrices."""
    return f"matmul-{precision}", {"library": "matmul", "precision": precision}


def _row(process, peaks, visible_share):
    settings = process.settings
    if settings["library"] != "keras_convnextv2" or settings["path"] != "visible":
        visible_share = 1.0
    arithmetic = operations(FLAGS.task, FLAGS.variant, FLAGS.image_size, NUM_CLASSES, visible_share)
    peak = peaks[settings["precision"]]
    return {
        "contender": process.name,
        "milliseconds": 1000 * process.median(),
        "fastest": 1000 * min(process.seconds),
        "slowest": 1000 * max(process.seconds),
        "images_per_second": FLAGS.batch_size / process.median(),
        "fraction_of_matmul_peak": FLAGS.batch_size * arithmetic / process.median() / peak,
        "peak_megabytes": process.peak_bytes() / 2**20,
        "first_step_seconds": process.first_step_seconds,
    }


def _table(report):
    rows = report["rows"]
    rates = ", ".join(
        f"{precision} {gflops:.0f} GFLOP/s" for precision, gflops in report["matmul_gflops"].items()
    )
    lines = [
        f"{contenders.heading()}; matrix product {rates}",
        "",
        "| contender | ms a step | (range) | ratio | images/s | of peak | peak MB | first, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = row["milliseconds"] / rows[0]["milliseconds"]
        cells = (
            row["contender"],
            f"{row['milliseconds']:.1f}",
            f"{row['fastest']:.1f} to {row['slowest']:.1f}",
            f"{ratio:.2f}",
            f"{row['images_per_second']:.1f}",
            f"{row['fraction_of_matmul_peak']:.0%}",
            f"{row['peak_megabytes']:.0f}",
            f"{row['first_step_seconds']:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    program.run(main, only_starts_programs=True)
