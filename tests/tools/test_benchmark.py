import json
import re
import types

import keras
import numpy as np
import pytest
import torch
from PIL import Image

import keras_convnextv2 as kc
from keras_convnextv2.layers import ops
from keras_convnextv2.layers.fast import operations
from tests.reference.processes import run_python
from tests.reference.random_weights import named_weights, randomize
from tools import depthwise_steps
from tools.plain_pytorch_fcmae import PlainFCMAE, draw_hidden

SIZES = kc.Variant((1, 2, 1, 1), (4, 6, 8, 12))


def benchmark(*words):
    return run_python("-m", "tools.benchmark", *words, OMP_WAIT_POLICY="passive")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "words, text",
    [
        (["--contenders=numpy"], "'numpy' does not run pretrain"),
        (["--contenders=transformers"], "'transformers' does not run pretrain"),
        (["--contenders=torch-sparse"], "'torch-sparse' has no option sparse for pretrain"),
        (["--task=inference", "--contenders=torch-dense"], "has no option dense for inference"),
        (["--contenders=litert"], "'litert' does not run pretrain"),
        (["--task=depthwise", "--contenders=transformers"], "does not run depthwise"),
        (["--task=inference", "--contenders=onnx-int8"], "'onnx-int8' has no option int8"),
        (
            ["--contenders=transformers-plain", "--task=finetune"],
            "has no option plain for finetune",
        ),
        (["--contenders=torch-plain-without_gelu_grn"], "has -plain, which leaves out all"),
        (["--contenders=jax-without_rest"], r"is without \['rest'\], which the table .* has: "),
        (["--variant=gigantic"], "--variant is one of atto, .*Received: gigantic"),
        (["--mask_ratio=1.5"], "--mask_ratio=1.5"),
        (["--mask_ratio=0.99", "--image_size=96"], "leaves 0 of 9 patches visible"),
        (["--image_size=100"], "--image_size must be a multiple of 32. Received: 100"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_one_line(words, text, run_program):
    done = run_program("tools.benchmark", *words)
    assert done.status != 0
    assert re.search(text, done.err.splitlines()[-1])
    assert "Traceback" not in done.err


@pytest.mark.one_backend
def test_a_contender_keeps_all_fast_paths_but_those_it_is_without(monkeypatch):
    from tools import contenders  # which defines flags: here, not where files are collected

    asked = {"task": "depthwise", "variant": "atto", "image_size": 32, "batch_size": 1}
    flags = types.SimpleNamespace(**asked, mask_ratio=0.5)
    monkeypatch.setattr(contenders, "FLAGS", flags)
    first, second, *others = operations()
    for name, fast_paths in (
        ("torch", "auto"),
        ("torch-plain", "off"),
        (f"torch-without_{first}", sorted([second, *others])),
        (f"torch-without_{first}-without_{second}", sorted(others)),
    ):
        assert contenders.settings_of(name)["fast_paths"] == fast_paths


@pytest.mark.one_backend
def test_artefacts_are_timed_in_their_own_runtimes(tmp_path):
    done = benchmark(
        "--task=inference",
        "--contenders=litert-int8",
        "--image_size=32",
        "--batch_size=1",
        "--repetitions=1",
        "--steps=1",
        f"--output={tmp_path / 'report.json'}",
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [row["contender"] for row in rows] == ["litert-int8"]
    assert all(row["milliseconds"] > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.one_backend  # contenders are processes with backends of their own
def test_this_library_and_a_peer_are_timed_side_by_side(tmp_path):
    contenders = ["jax-dense-bfloat16", "pytorch"]
    done = benchmark(
        f"--contenders={','.join(contenders)}",
        "--image_size=64",
        "--batch_size=2",
        "--repetitions=2",
        "--steps=1",
        f"--output={tmp_path / 'report.json'}",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["contender"] for row in report["rows"]] == contenders
    for row in report["rows"]:
        assert 0 < row["fastest"] <= row["milliseconds"] <= row["slowest"]
        assert row["images_per_second"] == pytest.approx(2000 / row["milliseconds"])
        assert row["peak_megabytes"] > 0
        assert 0 < row["fraction_of_matmul_peak"] < 1
        assert f"| {row['contender']} |" in done.stdout
    assert report["matmul_gflops"]["float32"] > 0
    assert report["matmul_gflops"]["bfloat16"] > 0


@pytest.mark.one_backend
def test_depthwise_convolutions_are_timed_alone(tmp_path):
    words = ("--image_size=32", "--batch_size=2", "--repetitions=1", "--steps=1")
    output = tmp_path / "report.json"
    done = benchmark(
        *("--task=depthwise_gradient", "--contenders=torch-plain", *words),
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [row["contender"] for row in rows] == ["torch-plain"]
    assert 0 < rows[0]["fraction_of_matmul_peak"] < 1


@pytest.mark.parametrize("task", ["depthwise", "depthwise_gradient"])
def test_a_step_is_a_depthwise_convolution_of_each_stage(task, monkeypatch):
    shapes = []
    convolve = ops.depthwise

    def seen(x, kernel):
        shapes.append((tuple(x.shape), tuple(kernel.shape)))
        return convolve(x, kernel)

    monkeypatch.setattr(ops, "depthwise", seen)
    depthwise_steps.make(task, "atto", 32, 2)(1)
    widths = (40, 80, 160, 320)
    assert shapes == [
        ((2, 8 // 2**stage, 8 // 2**stage, width), (7, 7, width, 1))
        for stage, width in enumerate(widths)
    ]


@pytest.mark.one_backend
def test_curves_are_drawn_of_what_was_measured(tmp_path):
    """The measuring is tools.benchmark's, above; here it answers at once."""
    output = tmp_path / "new" / "curves.png"
    program = """if True:
        from tools import benchmark_curves
        def measure(flag):
            print(flag)
            size = 7.0 if "ratio" in flag else 70.0
            row = {"milliseconds": size, "peak_megabytes": size}
            return {"visible": row, "dense": row}
        def draw(curves, figure, draw=benchmark_curves._draw):
            draw(curves, figure)
            for axes in figure.axes:
                for line in axes.lines:
                    assert axes.get_ylim()[0] == 0 and axes.get_ylim()[1] > max(line.get_ydata())
        benchmark_curves._measure, benchmark_curves._draw = measure, draw
        benchmark_curves.program.run(benchmark_curves.main)
    """
    words = ["--mask_ratios=0.5,0.75", "--image_sizes=64"]
    done = run_python("-c", program, f"--output={output}", *words)
    assert done.returncode == 0, done.stderr
    asked = ["--mask_ratio=0.5", "--mask_ratio=0.75", "--image_size=64"]
    assert done.stdout.splitlines()[:3] == asked
    with Image.open(output) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 400
        assert len(picture.convert("RGB").getcolors(2**24)) > 10  # something is drawn
    curves = json.loads(output.with_suffix(".json").read_text())
    assert curves["mask ratio"]["0.75"]["dense"]["milliseconds"] == 7.0


@pytest.mark.one_backend
def test_the_peer_in_plain_pytorch_has_the_loss_of_this_library(rng):
    """Same weights, images and masks: a peer that did less would be no peer."""
    fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(SIZES, (64, 96, 3)), decoder_width=16)
    randomize(fcmae, rng)
    images = rng.normal(size=(2, 64, 96, 3)).astype("float32")
    hidden = draw_hidden(2, 2, 3, num_visible=2)

    plain = PlainFCMAE(SIZES.depths, SIZES.widths, decoder_width=16)
    parameters = dict(plain.named_parameters())
    with torch.no_grad():
        for path, value in named_weights(fcmae).items():
            parameter = parameters.pop(parameter_name(path))
            if path.endswith("/kernel"):
                to_torch = (3, 2, 0, 1) if value.ndim == 4 else (1, 0)
                if "depthwise" in path:
                    to_torch = (2, 3, 0, 1)
                value = value.transpose(to_torch)
            parameter.copy_(torch.tensor(value).reshape(parameter.shape))
        loss = plain(torch.tensor(images.transpose(0, 3, 1, 2)), hidden)
    assert not parameters
    expected = keras.ops.convert_to_numpy(fcmae.loss_on(images, hidden.numpy()))
    np.testing.assert_allclose(float(loss), float(expected), rtol=1e-5)


def parameter_name(path):
    """The parameter of PlainFCMAE for a weight of FCMAE by its path."""
    for pattern, name in (
        (r"stem/conv", "downsamples.0.0"),
        (r"stem/norm", "downsamples.0.1"),
        (r"stage(\d)_downsample/norm", r"downsamples.\1.0"),
        (r"stage(\d)_downsample/conv", r"downsamples.\1.1"),
        (r"stage(\d)_block(\d)", r"stages.\1.\2"),
        (r"decoder/project", "to_decoder"),
        (r"decoder/predict_pixels", "predict"),
        (r"decoder/block0", "decoder"),
        (r"decoder/mask_token", "mask_token"),
        (r"response_norm/", ""),  # gamma and beta are the block's own
    ):
        path = re.sub(pattern, name, path)
    path = re.sub(r"norm/gamma$|/kernel$", lambda match: match[0].split("/")[0] + "/weight", path)
    path = re.sub(r"norm/beta$", "norm/bias", path)
    path = re.sub(r"(downsamples\.\d\.\d)/gamma$", r"\1/weight", path)
    path = re.sub(r"(downsamples\.\d\.\d)/beta$", r"\1/bias", path)
    return path.replace("/", ".")
