r"""Times this library beside its peers: inference, a fine-tuning step and an FCMAE step.

Each contender is a process of its own that stays alive; their repetitions are interleaved, so that
whatever else the machine does meets them all. Printed are medians, and a ratio to the first row.

    python -m tools.benchmark --task=pretrain --variant=atto --batch_size=8
    python -m tools.benchmark --task=inference --contenders=torch,transformers,transformers-compiled

A contender is a backend of this library, with what it runs after a hyphen ("torch-dense",
"jax-visible", "torch-jit", "jax-convolution" for a depthwise method: as it is but for that), or a
peer: "zeromodels-tensorflow" (-jax, -torch), the other ConvNeXt V2 in Keras 3; "transformers", its
model in PyTorch; for the task pretrain "pytorch", a plain dense-masked FCMAE. The last two also
take "-compiled", for torch.compile. Peers need the extra `benchmark`. For inference also what
`keras_convnextv2.export` writes, in its own runtime: "litert" (-float16, -dynamic_int8, -int8),
"onnx", "openvino". All take "-hugepages": memory in pages of 2 MB, as in the recipes
(`recipes.huge_pages`). All but these artefacts take "-bfloat16": mixed precision.

"of peak" is the rate at which a contender does the arithmetic of its convolutions and linear
layers (tools.arithmetic), over that of a large matrix product of its precision in the same run.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from absl import flags

from recipes import huge_pages, program
from tools.arithmetic import operations
from tools.benchmark_contender import DEPTHWISE_TASKS, MATMUL_SIDE, NUM_CLASSES

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    "task",
    "pretrain",
    ["inference", "finetune", "pretrain", *DEPTHWISE_TASKS],
    "What a step does; the last two: a depthwise convolution of each stage alone.",
)
flags.DEFINE_string("variant", "atto", "A name of the variants table.")
flags.DEFINE_integer("image_size", 224, "Pixels a side, a multiple of 32.", lower_bound=32)
flags.DEFINE_integer("batch_size", 8, "Images a step.", lower_bound=1)
flags.DEFINE_float("mask_ratio", 0.6, "Share of the patches to hide, for pretrain.", 0, 1)
flags.DEFINE_list("contenders", None, "In order; the first is the one that ratios refer to.")
flags.DEFINE_integer("repetitions", 7, "Timings of each contender, interleaved.", lower_bound=1)
flags.DEFINE_integer("steps", 3, "Steps in a timing.", lower_bound=1)
flags.DEFINE_integer("threads", 2, "CPU threads of each contender.", lower_bound=1)
flags.DEFINE_string("output", "", "File for the results as JSON.")

BACKENDS = ("tensorflow", "jax", "torch")
ARTEFACTS = {"litert": ("float16", "dynamic_int8", "int8"), "onnx": (), "openvino": ()}
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
DEFAULTS |= {task: ["torch-convolution", *BACKENDS] for task in DEPTHWISE_TASKS}


def main():
    names = FLAGS.contenders or DEFAULTS[FLAGS.task]
    settings = [_settings(name) for name in names]
    if FLAGS.image_size % 32:
        raise ValueError(f"--image_size must be a multiple of 32. Received: {FLAGS.image_size}")
    import keras_convnextv2 as kc
    from keras_convnextv2.fcmae.masking import num_visible_patches

    if FLAGS.variant not in kc.VARIANTS:
        raise ValueError(f"--variant is one of {', '.join(kc.VARIANTS)}. Received: {FLAGS.variant}")
    visible_share = 1.0
    if FLAGS.task == "pretrain":
        cells = (FLAGS.image_size // 32) ** 2
        visible_share = num_visible_patches(cells, FLAGS.mask_ratio) / cells
    processes = {}
    try:
        precisions = {setting["precision"]: _matmul(setting["precision"]) for setting in settings}
        for name, setting in [*zip(names, settings, strict=True), *precisions.values()]:
            print(f"starting {name}", file=sys.stderr, flush=True)
            processes[name] = _Contender(name, setting)
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
        "command": f"python -m tools.benchmark {' '.join(sys.argv[1:])}".strip(),
        "matmul_gflops": {precision: peak / 1e9 for precision, peak in peaks.items()},
        "rows": rows,
    }
    print(_table(report))
    if FLAGS.output:
        Path(FLAGS.output).write_text(json.dumps(report, indent=1) + "\n")


class _Contender:
    """A process of tools.benchmark_contender that is ready to run steps."""

    def __init__(self, name, settings):
        self.name = name
        self.settings = settings
        self.seconds = []
        threads = str(FLAGS.threads)
        environment = {
            name: text for name, text in os.environ.items() if name != huge_pages.VARIABLE
        }
        if settings.get("hugepages"):
            environment[huge_pages.VARIABLE] = huge_pages.VALUE
        environment |= {
            "KERAS_BACKEND": settings.get("backend", "torch"),
            "OMP_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        arguments = json.dumps({"steps": FLAGS.steps, **settings})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.benchmark_contender", arguments],
            cwd=Path(__file__).resolve().parents[1],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first_step_seconds = self._answer()["first_step_seconds"]

    def time_once(self):
        self.seconds.append(self._ask("run")["seconds"])

    def peak_bytes(self):
        return self._ask("memory")["peak_bytes"]

    def median(self):
        return statistics.median(self.seconds)

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _ask(self, word):
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print lines of their own
                return json.loads(line)
        status = self._process.wait()
        raise ValueError(f"the contender {self.name} ended with status {status}; see above.")


def _settings(name):
    """What tools.benchmark_contender is told for a contender's name."""
    library, *rest = name.split("-")
    options = set(rest)
    settings = {
        "task": FLAGS.task,
        "variant": FLAGS.variant,
        "image_size": FLAGS.image_size,
        "batch_size": FLAGS.batch_size,
        "precision": "bfloat16" if "bfloat16" in options else "float32",
        "mask_ratio": FLAGS.mask_ratio,
        "depthwise": "shifted"
        if "shifted" in options
        else "convolution"
        if "convolution" in options
        else "auto",
        "path": "dense" if "dense" in options else "visible",
        "jit": "yes" if "jit" in options else "no" if "nojit" in options else "auto",
        "compiled": "compiled" in options,
        "hugepages": "hugepages" in options,
    }
    pretrains, alone = FLAGS.task == "pretrain", FLAGS.task in DEPTHWISE_TASKS
    if library in BACKENDS:
        settings |= {"library": "keras_convnextv2", "backend": library}
        known = {"convolution", "shifted"}
        if not alone:
            known |= {"jit", "nojit"} | ({"visible", "dense"} if pretrains else set())
    elif library == "zeromodels" and rest and rest[0] in BACKENDS and not (pretrains or alone):
        settings |= {"library": library, "backend": rest[0]}
        known = {rest[0], "jit", "nojit"}
    elif library == ("pytorch" if pretrains else "transformers") and not alone:
        settings |= {"library": library}
        known = {"compiled"}
    elif library in ARTEFACTS and FLAGS.task == "inference":
        known = set(ARTEFACTS[library])
        storage = next(iter(options & known), "float32")
        # Writing one needs no particular backend.
        settings |= {"library": "artefact", "kind": library, "storage": storage}
        settings |= {"backend": _any_backend(), "threads": FLAGS.threads}
    else:
        raise ValueError(f"--contenders: {name!r} does not run {FLAGS.task}. See --help.")
    known = known | {"hugepages"} | (set() if alone or library in ARTEFACTS else {"bfloat16"})
    if options - known:
        unknown = ", ".join(sorted(options - known))
        raise ValueError(f"--contenders: {name!r} has no option {unknown} for {FLAGS.task}.")
    return settings


def _matmul(precision):
    """The name and the settings of the contender that only multiplies matrices."""
    return f"matmul-{precision}", {"library": "matmul", "precision": precision}


def _any_backend():
    return next(name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name))


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
        f"{FLAGS.task}, {FLAGS.variant}, {FLAGS.image_size} pixels, batch {FLAGS.batch_size}, "
        f"{FLAGS.threads} threads; median of {FLAGS.repetitions} timings of {FLAGS.steps} steps; "
        f"matrix product {rates}",
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
    program.run(main)
