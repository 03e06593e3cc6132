import numpy as np
import pytest

import keras_convnextv2 as kc
from tools.arithmetic import (
    activation_values,
    gradient_bytes_sent,
    num_parameters,
    operations,
    weight_bytes,
)

pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize(
    ("variant", "giga"),
    [
        ("atto", 0.55),
        ("femto", 0.78),
        ("pico", 1.37),
        ("nano", 2.45),
        ("tiny", 4.47),
        ("huge", 115),
    ],
)
def test_multiply_adds_of_inference_are_those_the_paper_gives(variant, giga):
    """At 224 pixels, in units of 1e9; rounded as in the paper."""
    counted = operations("inference", variant, 224, num_classes=1000) / 2e9
    assert counted == pytest.approx(giga, rel=0.01)


def test_a_training_step_is_three_passes():
    assert operations("finetune", "atto", 64, 10) == 3 * operations("inference", "atto", 64, 10)


def test_what_is_hidden_is_skipped_but_in_the_decoder_and_depthwise_on_small_patches():
    dense, visible, almost_nothing = (
        operations("pretrain", "tiny", 224, 0, num_visible / 49) for num_visible in (49, 19, 1)
    )
    assert visible == pytest.approx(dense / 2.386, rel=0.001)
    assert 0 < almost_nothing < visible


def test_depthwise_convolutions_of_the_first_two_stages_leave_out_what_is_hidden():
    """Nothing visible: what is left are the decoder and the depthwise convolutions on the map."""
    depths, widths, cells = (3, 3, 9, 3), (96, 192, 384, 768), 49
    decoder = 768 * 512 + 512 * (49 + 8 * 512) + 512 * 32 * 32 * 3
    on_map = [
        depth * 49 * width * (224 // 4 // 2**stage) ** 2
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True))
    ]
    counted = operations("pretrain", "tiny", 224, 0, 0.0)
    assert counted == 3 * 2 * (cells * decoder + sum(on_map[2:]))
    assert operations("pretrain", "tiny", 224, 0, 1.0) > counted + 6 * sum(on_map[:2])


def test_depthwise_convolutions_alone():
    area, widths = 49, (40, 80, 160, 320)
    forward = sum(2 * area * (64 // 4 // 2**stage) ** 2 * w for stage, w in enumerate(widths))
    assert operations("depthwise", "atto", 64, 0) == forward
    assert operations("depthwise_gradient", "atto", 64, 0) == 3 * forward


def test_parameters_of_pretraining_atto():
    def of_block(width):
        return 8 * width**2 + (49 + 16) * width  # kernels, and ten vectors of which four are wide

    decoder = 320 * 512 + 512 + 512 + of_block(512) + 512 * 3072 + 3072
    downsampling = sum(2 * c + 4 * c * 2 * c + 2 * c for c in (40, 80, 160))
    stem = 4 * 4 * 3 * 40 + 3 * 40
    blocks = 2 * of_block(40) + 2 * of_block(80) + 6 * of_block(160) + 2 * of_block(320)
    assert num_parameters("atto") == stem + blocks + downsampling + decoder


def test_values_that_a_step_of_atto_keeps():
    """19 of 49 patches visible: 1216, 304, 76 and 19 positions of an image."""
    maps = 2 * 40 * 3136 + 2 * 80 * 784 + 6 * 160 * 196 + 2 * 320 * 49 + 512 * 49
    visible = 2 * 40 * 1216 + 2 * 80 * 304 + 6 * 160 * 76 + 2 * 320 * 19 + 512 * 49
    others = 3 * 19 * 32**2 + 49 * (512 + 3072)
    assert activation_values("atto", 224, 19 / 49) == pytest.approx(maps + 15 * visible + others)


def test_values_that_a_step_keeps_are_those_that_torch_keeps():
    import torch

    batch_size = 2
    model = kc.FCMAE(kc.ConvNeXtV2Backbone("atto", (224, 224, 3)))
    weights = {weight.value.untyped_storage().data_ptr() for weight in model.trainable_weights}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # alive, or its place were used again
        return tensor

    images = torch.randn(batch_size, 224, 224, 3)
    before = kc.set_fast_paths("off")
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model.step_loss(images)
    finally:
        kc.set_fast_paths(before)
    assert np.isfinite(float(loss.detach()))
    found = sum(
        tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights
    )
    counted = 4 * batch_size * activation_values("atto", 224, model.num_visible / model.num_patches)
    assert 0.95 < counted / found < 1  # what is between the stages is left out


def test_bytes_that_a_device_keeps_and_sends():
    assert weight_bytes(1000) == 16_000
    assert weight_bytes(1000, averaged=True) == 20_000
    assert gradient_bytes_sent(1000, 1) == 0
    assert gradient_bytes_sent(1000, 2) == 4000
    assert gradient_bytes_sent(1000, 32) == 7750
