"""The official code's own pretraining checkpoints give the numbers of its sparse encoder here.

The numbers are those of tests/reference/minkowski_fcmae.py, which computes by coordinates.
"""

import argparse

import numpy as np
import pytest
import torch

import keras_convnextv2 as kc
from keras_convnextv2.weights.errors import WeightsError
from tests.reference import minkowski_fcmae
from tests.reference.compute import compute
from tests.reference.layouts import custom_layout, numpy_equal, random_checkpoint
from tests.reference.random_weights import named_weights

VARIANT = kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))
DECODER = {"decoder_width": 10, "decoder_depth": 2}
IMAGE_SHAPE = (16, 24, 3)  # 2 x 3 patches of 8 x 8 pixels
IMAGES = np.random.default_rng(1).normal(size=(2, *IMAGE_SHAPE)).astype("float32")
HIDDEN = {
    "visible": np.array([[[1, 0, 1], [1, 1, 0]], [[0, 1, 1], [1, 0, 1]]], "int32"),
    "dense": np.array([[[1, 0, 1], [1, 1, 0]], [[0, 0, 1], [0, 1, 0]]], "int32"),
}
# Float32 here, float64 there, values near 1; the project's bound for parity.
TOLERANCE = 1e-4
LOSS_TOLERANCE = 1e-5  # of a mean over thousands of values, rounding errors cancel


@pytest.fixture(scope="module")
def checkpoint():
    return minkowski_fcmae.make_checkpoint(
        np.random.default_rng(4), VARIANT.depths, VARIANT.widths, **DECODER, stem_stride=1
    )


@pytest.fixture(scope="module")
def path(checkpoint, tmp_path_factory):
    return save(tmp_path_factory.mktemp("official") / "checkpoint-3.pth", checkpoint)


def save(path, checkpoint):
    """As the official code saves a run."""
    weights = {key: torch.from_numpy(array) for key, array in checkpoint.items()}
    trained = [torch.nn.Parameter(weight.clone()) for weight in weights.values()]
    optimizer = torch.optim.AdamW(trained, lr=1.5e-4, betas=(0.9, 0.95))
    sum(weight.sum() for weight in trained).backward()
    optimizer.step()
    contents = {
        "model": weights,
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0},
        "args": argparse.Namespace(model="convnextv2_atto", input_size=24, lr=None, dist_on=False),
    }
    torch.save(contents, path)
    return path


def make_fcmae(encoder_path="visible"):
    backbone = kc.ConvNeXtV2Backbone(VARIANT, IMAGE_SHAPE, stem_stride=1)
    return kc.FCMAE(backbone, **DECODER, encoder_path=encoder_path)


def predict(fcmae, hidden):
    """(B, h, w, P * P * C)"""
    return compute(fcmae.call, IMAGES, hidden=hidden)["prediction"]


def reference_predictions(checkpoint, hidden):
    """(B, h, w, P * P * C)"""
    pairs = zip(IMAGES, hidden, strict=True)
    return np.stack([minkowski_fcmae.prediction(checkpoint, *pair) for pair in pairs])


@pytest.mark.parametrize("encoder_path", HIDDEN)
def test_predictions_and_loss_are_those_of_the_sparse_encoder(encoder_path, checkpoint, path):
    fcmae, hidden = make_fcmae(encoder_path), HIDDEN[encoder_path]
    report = kc.load_weights(fcmae, path)
    assert report.format == "minkowski" and report.num_loaded == len(checkpoint)
    ours, theirs = predict(fcmae, hidden), reference_predictions(checkpoint, hidden)
    np.testing.assert_allclose(ours[hidden == 1], theirs[hidden == 1], rtol=0, atol=TOLERANCE)
    loss = minkowski_fcmae.loss(checkpoint, IMAGES, hidden)
    ours = compute(fcmae.loss_on, IMAGES, hidden=hidden)
    np.testing.assert_allclose(ours, loss, rtol=LOSS_TOLERANCE)


@pytest.mark.parametrize("kind", ["dwconv.kernel", "1.kernel"])
def test_a_kernel_counted_through_the_rows_would_show(kind, checkpoint, tmp_path):
    transposed = {
        key: through_rows(array) if key.endswith(kind) else array
        for key, array in checkpoint.items()
    }
    fcmae, hidden = make_fcmae(), HIDDEN["visible"]
    kc.load_weights(fcmae, save(tmp_path / "transposed.pth", transposed))
    difference = predict(fcmae, hidden) - reference_predictions(checkpoint, hidden)
    assert np.abs(difference[hidden == 1]).max() > 1000 * TOLERANCE


def through_rows(kernel):
    """Minkowski's (k * k, ...), as if the place h * k + w held the weight of row h, column w."""
    size = round(len(kernel) ** 0.5)
    square = kernel.reshape(size, size, *kernel.shape[1:])
    return np.ascontiguousarray(square.swapaxes(0, 1)).reshape(kernel.shape)


def test_what_we_save_is_bit_for_bit_what_came(checkpoint, path, tmp_path):
    fcmae = make_fcmae()
    kc.load_weights(fcmae, path)
    kc.save_weights(fcmae, tmp_path / "ours.pth", format="minkowski")
    ours = torch.load(tmp_path / "ours.pth", weights_only=True)
    assert ours.keys() == {"model"}
    assert numpy_equal({key: value.numpy() for key, value in ours["model"].items()}, checkpoint)


def test_the_encoder_alone_is_a_backbone(checkpoint, path):
    backbone = kc.from_preset(path, image_size=IMAGE_SHAPE[:2])
    assert isinstance(backbone, kc.ConvNeXtV2Backbone)
    features = compute(backbone, IMAGES)
    nothing = np.zeros((2, 3), "int32")  # hidden
    for image, ours in zip(IMAGES, features, strict=True):
        theirs = minkowski_fcmae.encode(checkpoint, image, nothing)
        theirs = minkowski_fcmae.as_array(theirs, nothing.shape)
        assert theirs.std() > 0.1
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    assert kc.from_preset(path).training_image_size == (24, 24)  # of the run's arguments


def test_a_backbone_takes_the_encoder_and_leaves_the_decoder_out_if_told(checkpoint, path):
    backbone = kc.ConvNeXtV2Backbone(VARIANT, IMAGE_SHAPE, stem_stride=1)
    before = named_weights(backbone)
    num_left = len([key for key in checkpoint if not key.startswith("encoder.")])
    with pytest.raises(WeightsError, match=f"{num_left} unexpected.*leaves its decoder out"):
        kc.load_weights(backbone, path)
    assert_equal(named_weights(backbone), before)
    with pytest.warns(UserWarning, match=f"{num_left} of the file left out: proj.weight"):
        report = kc.load_weights(backbone, path, strict=False)
    assert len(report.left_out) == num_left and not report.new
    assert_equal(named_weights(backbone), named_weights(kc.from_preset(path)))


def test_released_weights_have_no_decoder_which_stays_new_if_told(tmp_path, rng):
    shapes = {  # the official code's dense names, stem stride 4 as released
        key: shape
        for key, shape in custom_layout("official", VARIANT.depths, VARIANT.widths).items()
        if not key.startswith(("norm.", "head."))
    }
    weights = {key: torch.from_numpy(a) for key, a in random_checkpoint(shapes, rng).items()}
    torch.save({"model": weights}, tmp_path / "convnextv2_custom_1k_224_fcmae.pt")
    fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(VARIANT, (64, 96, 3)), **DECODER)
    before = named_weights(fcmae)
    with pytest.raises(
        WeightsError, match="missing: decoder/mask_token.*The file has no whole decoder; "
    ):
        kc.load_weights(fcmae, tmp_path / "convnextv2_custom_1k_224_fcmae.pt")
    assert_equal(named_weights(fcmae), before)
    with pytest.warns(UserWarning, match=r"stayed new \(decoder\): decoder/mask_token"):
        kc.load_weights(fcmae, tmp_path / "convnextv2_custom_1k_224_fcmae.pt", strict=False)
    decoder = {name: value for name, value in before.items() if "decoder" in name}
    assert len(decoder) == len(fcmae.decoder.trainable_weights)
    whole = kc.from_preset(tmp_path / "convnextv2_custom_1k_224_fcmae.pt")
    assert_equal(named_weights(fcmae), {**named_weights(whole), **decoder})


def assert_equal(weights, others):
    assert weights.keys() == others.keys()
    for path, value in weights.items():
        np.testing.assert_array_equal(value, others[path], err_msg=path)
