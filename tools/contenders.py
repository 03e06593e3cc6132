"""Processes that run the steps of a benchmark, and the flags that say which.

What tools.benchmark and tools.compare_trees share.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from absl import flags

from recipes import huge_pages
from tools.benchmark_contender import DEPTHWISE_TASKS

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
flags.DEFINE_integer("repetitions", 7, "Timings of each contender, interleaved.", lower_bound=1)
flags.DEFINE_integer("steps", 3, "Steps in a timing.", lower_bound=1)
flags.DEFINE_integer("threads", 2, "CPU threads of each contender.", lower_bound=1)
flags.DEFINE_string("output", "", "File for the results as JSON.")

BACKENDS = ("tensorflow", "jax", "torch")
ARTEFACTS = {"litert": ("float16", "dynamic_int8", "int8"), "onnx": (), "openvino": ()}
_WITHOUT = "without_"  # of an option, before the name of an operation
_REPOSITORY = Path(__file__).resolve().parents[1]


class Contender:
    """A process of tools.benchmark_contender that is ready to run steps.

    Args:
        name: what errors call it.
        settings: of `settings_of`.
        folder: the checkout whose code it runs; by default this one.
    """

    def __init__(self, name, settings, folder=_REPOSITORY):
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
            cwd=folder,  # which Python looks into first
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
        raise ValueError(f"the contender {self.name!r} ended with status {status}; see above.")


def settings_of(name):
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
        "path": "dense" if "dense" in options else "visible",
        "jit": "yes" if "jit" in options else "no" if "nojit" in options else "auto",
        "compiled": "compiled" in options,
        "hugepages": "hugepages" in options,
    }
    pretrains, alone = FLAGS.task == "pretrain", FLAGS.task in DEPTHWISE_TASKS
    if library in BACKENDS:
        settings |= {"library": "keras_convnextv2", "backend": library}
        without = {option for option in options if option.startswith(_WITHOUT)}
        settings["fast_paths"] = _fast_paths(name, "plain" in options, without)
        known = {"plain"} | without
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
        raise ValueError(f"the contender {name!r} does not run {FLAGS.task}. See --help.")
    known = known | {"hugepages"} | (set() if alone or library in ARTEFACTS else {"bfloat16"})
    if options - known:
        unknown = ", ".join(sorted(options - known))
        raise ValueError(f"the contender {name!r} has no option {unknown} for {FLAGS.task}.")
    return settings


def _fast_paths(name, plain, without):
    """What `set_fast_paths` is told: a word, or a list of the operations that stay on."""
    if plain and without:
        raise ValueError(f"the contender {name!r} has -plain, which leaves out all fast paths.")
    if not without:
        return "off" if plain else "auto"
    from keras_convnextv2.layers.fast import operations

    known = set(operations())
    without = {option.removeprefix(_WITHOUT) for option in without}
    if without - known:
        raise ValueError(
            f"the contender {name!r} is without {sorted(without - known)}, which the table of fast "
            f"paths does not have. It has: {', '.join(sorted(known))}."
        )
    return sorted(known - without)


def _any_backend():
    return next(name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name))


def checked_visible_share():
    """Checks the flags that all contenders share, and gives the share of patches they encode."""
    if FLAGS.image_size % 32:
        raise ValueError(f"--image_size must be a multiple of 32. Received: {FLAGS.image_size}")
    import keras_convnextv2 as kc
    from keras_convnextv2.fcmae.masking import num_visible_patches

    if FLAGS.variant not in kc.VARIANTS:
        raise ValueError(f"--variant is one of {', '.join(kc.VARIANTS)}. Received: {FLAGS.variant}")
    if FLAGS.task != "pretrain":
        return 1.0
    cells = (FLAGS.image_size // 32) ** 2
    return num_visible_patches(cells, FLAGS.mask_ratio) / cells


def heading():
    """What was timed, as the first line of a printed table."""
    return (
        f"{FLAGS.task}, {FLAGS.variant}, {FLAGS.image_size} pixels, batch {FLAGS.batch_size}, "
        f"{FLAGS.threads} threads; median of {FLAGS.repetitions} timings of {FLAGS.steps} steps"
    )


def write_report(program, report):
    """Writes `report` and the command it came of to the file that --output names, if any."""
    if FLAGS.output:
        command = f"python -m tools.{program} {' '.join(sys.argv[1:])}".strip()
        text = json.dumps({"command": command, **report}, indent=1)
        Path(FLAGS.output).write_text(text + "\n")
