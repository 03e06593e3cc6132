"""A program for JAX: what each of 1, 2, 4 and 8 virtual devices does in a pretraining step.

    python -m tests.reference.work_of_devices        # --plain: without the fast paths of a CPU

It prints a JSON object: for each number of devices what XLA says of the program for one of them,
{"parameters": how many numbers are trained, "flops", "all_reduces": how many, "all_reduce_bytes",
 "moved_bytes": of all other ways to send values,
 "losses" and "gradient_norms": of three steps by `fit`}
The update is plain gradient descent: every device updates all weights, so this part does not fall.
"""

import json
import math
import os
import re
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8"
    # Machine code that is slow but made soon; what is computed and sent is settled before it.
    " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false"
)

import jax
import keras
import numpy as np

import keras_convnextv2 as kc

IMAGES = np.random.default_rng(0).normal(size=(8, 64, 64, 3)).astype("float32")
BYTES = {"pred": 1, "s32": 4, "u32": 4, "bf16": 2, "f32": 4}
SENDING = re.compile(
    r" = (?P<result>[^=]*?) (?P<name>all-reduce|all-gather|all-to-all|reduce-scatter|"
    r"collective-permute|collective-broadcast|send)(?:-start)?\("
)


def sent_in(program):
    """[(operation, bytes of its result), ...] of what a compiled program sends to other devices."""
    program = re.sub(r"/\*.*?\*/", "", program)
    return [(found["name"], bytes_of(found["result"])) for found in SENDING.finditer(program)]


def bytes_of(result):
    """Of a type as XLA writes it, such as "(f32[16]{0}, f32[])"."""
    return sum(
        BYTES[kind] * math.prod(map(int, filter(None, shape.split(","))))
        for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", result)
    )


def make_model():
    # Patches of 8 to 1 positions: by windows, with blocks of channels, and by the map.
    variant = kc.Variant((1, 1, 1, 1), (16, 80, 48, 64))
    backbone = kc.ConvNeXtV2Backbone(
        variant, (64, 64, 3), stem_stride=2, drop_path_rate=0.1, seed=0
    )
    model = kc.FCMAE(backbone, decoder_width=32)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    return model


def measured(num_devices):
    devices = jax.devices()[:num_devices]
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    keras.utils.set_random_seed(0)
    model = make_model()
    programs = []

    def step(state, batches):
        """What Keras would make for `fit`, with its compiled program at hand."""
        batch = next(batches)
        if not programs:
            shardings = jax.tree.map(lambda value: value.sharding, state)
            jitted = jax.jit(model.train_step, donate_argnums=0, out_shardings=(None, shardings))
            programs.append(jitted.lower(state, batch).compile())
        return programs[0](state, batch)

    model.train_function = step
    history = model.fit(IMAGES, batch_size=len(IMAGES), epochs=3, shuffle=False, verbose=0).history
    sent = sent_in(programs[0].as_text())
    reduced = [size for name, size in sent if name == "all-reduce"]
    return {
        "parameters": sum(math.prod(weight.shape) for weight in model.trainable_variables),
        "flops": programs[0].cost_analysis()["flops"],
        "all_reduces": len(reduced),
        "all_reduce_bytes": sum(reduced),
        "moved_bytes": sum(size for name, size in sent if name != "all-reduce"),
        "losses": history["loss"],
        "gradient_norms": history["gradient_norm"],
    }


if __name__ == "__main__":
    if "--plain" in sys.argv[1:]:
        kc.set_fast_paths("off")
    print(json.dumps({num_devices: measured(num_devices) for num_devices in (1, 2, 4, 8)}))
