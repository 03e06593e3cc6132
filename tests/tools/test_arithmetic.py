import pytest

from tools.arithmetic import operations

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
