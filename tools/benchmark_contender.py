"""One contender of tools.benchmark, in a process of its own.

Started by tools.benchmark with one JSON object as its argument. It builds its model, makes one
step (compiling what it compiles), prints {"ready": ...}, and then answers each line on standard
input: "run" with the seconds of a step, "memory" with the peak of resident bytes since `ready`,
less what was resident before the first step.
"""

import ctypes
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MATMUL_SIDE = 2048
NUM_CLASSES = 1000
DEPTHWISE_TASKS = ("depthwise", "depthwise_gradient")
_NUM_CALIBRATION = 4  # images; the choice of layers does not matter here, only that there is one


def main():
    settings = json.loads(sys.argv[1])
    run = _contender(settings)  # runs a number of steps and gives the seconds they took
    _return_freed_memory()
    before = _resident("VmRSS")
    first = run(1)
    run(settings["steps"])
    _return_freed_memory()  # what compilation left, for one
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    print(json.dumps({"ready": True, "first_step_seconds": first}), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(json.dumps({"peak_bytes": _resident("VmHWM") - before}), flush=True)
            continue
        print(json.dumps({"seconds": run(settings["steps"]) / settings["steps"]}), flush=True)


def _contender(settings):
    library = settings["library"]
    if library == "keras_convnextv2" and settings["task"] in DEPTHWISE_TASKS:
        return _timed(_depthwise(**settings))
    if library == "keras_convnextv2" or library == "zeromodels":
        return _keras(**settings)
    if library == "matmul":
        return _timed(_matmul(settings["precision"]))
    if library == "artefact":
        return _timed(_artefact(**settings))
    return _timed(_pytorch(**settings))


def _timed(run):
    def timed(count):
        started = time.perf_counter()
        run(count)
        return time.perf_counter() - started

    return timed


def _keras(library, task, variant, image_size, batch_size, steps, precision, jit, **settings):
    import keras

    import keras_convnextv2 as kc
    from keras_convnextv2.training.optimizers import adamw

    if library == "keras_convnextv2":
        _set_fast_paths(settings["fast_paths"])
    if precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{precision}")
    images, labels = _data(image_size, batch_size * steps)
    jit = {"auto": "auto", "yes": True, "no": False}[jit]
    if task == "pretrain":
        backbone = kc.ConvNeXtV2Backbone(variant, (image_size, image_size, 3))
        model = kc.FCMAE(backbone, mask_ratio=settings["mask_ratio"], encoder_path=settings["path"])
        model.compile(jit_compile=jit)
        data = (images,)
    else:
        model = _classifier(library, variant, image_size)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ours = library == "keras_convnextv2"
        optimizer = adamw(model, 1e-4, 0.05) if ours else keras.optimizers.AdamW(1e-4)
        model.compile(optimizer=optimizer, loss=loss, jit_compile=jit)
        data = (images, labels)
    if jit != "auto" and model.jit_compile != jit:
        sys.exit(f"Keras declines jit_compile={jit} for this model on {keras.backend.backend()}.")
    call = model.fit
    if task == "inference":
        call, data = model.predict, (images,)
    clock = _clock()

    def run(count):
        part = (array[: count * batch_size] for array in data)
        call(*part, batch_size=batch_size, verbose=0, callbacks=[clock])
        return clock.ended - clock.started

    return run


def _depthwise(task, variant, image_size, batch_size, fast_paths, **_):
    from tools import depthwise_steps

    _set_fast_paths(fast_paths)
    return depthwise_steps.make(task, variant, image_size, batch_size)


def _set_fast_paths(choice):
    """`kc.set_fast_paths`, with a list in place of a set, which JSON does not have."""
    import keras_convnextv2 as kc

    kc.set_fast_paths(choice if isinstance(choice, str) else set(choice))


def _clock():
    """A callback that knows when the first step of a call began and the last one ended.

    After the last one, Keras on TensorFlow ends its tf.data pipeline, which now and then waits for
    a timer of its own, as long as all steps took.
    """
    import keras

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.started = time.perf_counter()

        def on_train_end(self, logs=None):
            self.ended = time.perf_counter()

        on_predict_begin = on_train_begin
        on_predict_end = on_train_end

        def on_predict_batch_end(self, batch, logs=None):
            keras.ops.convert_to_numpy(logs["outputs"])  # waits for them

    return Clock()


def _classifier(library, variant, image_size):
    import keras_convnextv2 as kc

    if library == "keras_convnextv2":
        backbone = kc.ConvNeXtV2Backbone(variant, (image_size, image_size, 3))
        return kc.ConvNeXtV2Classifier(backbone, NUM_CLASSES)
    from zeromodels.models.convnextv2 import ConvNeXtV2Config, ConvNeXtV2ImageClassify

    sizes = kc.VARIANTS[variant]
    config = ConvNeXtV2Config(
        depths=sizes.depths,
        projection_dim=sizes.widths,
        use_conv=variant in ("atto", "femto", "pico", "nano"),  # as its own presets have it
        image_size=image_size,
        num_classes=NUM_CLASSES,
    )
    return ConvNeXtV2ImageClassify(config)


def _artefact(kind, storage, variant, image_size, batch_size, threads, **_):
    """An artefact of a classifier in its own runtime."""
    import keras_convnextv2 as kc
    from keras_convnextv2.export import open_artefact
    from keras_convnextv2.export.arguments import make_settings
    from keras_convnextv2.export.formats import ENDINGS, write
    from keras_convnextv2.export.network import network_of

    backbone = kc.ConvNeXtV2Backbone(variant, (image_size, image_size, 3))
    model = kc.ConvNeXtV2Classifier(backbone, NUM_CLASSES)
    settings = make_settings(model, precision=storage, batch_size=batch_size)
    images, _ = _data(image_size, batch_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"model{ENDINGS[kind]}")
        write(kind, network_of(model), path, settings, images[:_NUM_CALIBRATION])
        run = open_artefact(path, threads)  # and holds what it needs, mapped or read

    def infer(count):
        for _ in range(count):
            run(images)

    return infer


def _pytorch(library, task, variant, image_size, batch_size, precision, compiled, mask_ratio, **_):
    import torch

    import keras_convnextv2 as kc
    from keras_convnextv2.fcmae.masking import num_visible_patches
    from tools import plain_pytorch_fcmae

    sizes = kc.VARIANTS[variant]
    images, labels = _data(image_size, batch_size)
    images = torch.tensor(images.transpose(0, 3, 1, 2)).contiguous()
    labels = torch.tensor(labels, dtype=torch.int64)
    if task == "pretrain":
        model = plain_pytorch_fcmae.PlainFCMAE(sizes.depths, sizes.widths)
    else:
        from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

        config = ConvNextV2Config(
            depths=list(sizes.depths), hidden_sizes=list(sizes.widths), num_labels=NUM_CLASSES
        )
        model = ConvNextV2ForImageClassification(config)
    call = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    cells = image_size // 32
    num_visible = num_visible_patches(cells * cells, mask_ratio)

    def infer(count):
        model.eval()
        with torch.inference_mode(), half:
            for _ in range(count):
                call(images)

    def train(count):
        model.train()
        for _ in range(count):
            optimizer.zero_grad()
            with half:
                if task == "pretrain":
                    hidden = plain_pytorch_fcmae.draw_hidden(batch_size, cells, cells, num_visible)
                    loss = call(images, hidden)
                else:
                    loss = torch.nn.functional.cross_entropy(call(images).logits, labels)
            loss.backward()
            optimizer.step()
            loss.item()

    return infer if task == "inference" else train


def _matmul(precision):
    """The machine's rate for matrix products; a step is 2 * MATMUL_SIDE^3 operations."""
    import torch

    left, right = torch.rand(2, MATMUL_SIDE, MATMUL_SIDE, dtype=getattr(torch, precision))

    def run(count):
        for _ in range(count):
            torch.mm(left, right)

    return run


def _data(image_size, count):
    generator = np.random.default_rng(0)
    images = generator.standard_normal((count, image_size, image_size, 3), dtype="float32")
    return images, generator.integers(0, NUM_CLASSES, count).astype("int32")


def _return_freed_memory():
    """Gives what is free in the heap back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident(field):
    """VmRSS or VmHWM of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}; memory is measured on Linux only")


if __name__ == "__main__":
    main()
