import pytest

from tests.reference.processes import run_python
from tools import training_plan
from tools.arithmetic import activation_values, num_parameters, operations

pytestmark = pytest.mark.one_backend

SETTINGS = {
    "devices": 4,
    "epochs": 3,
    "images": 20,
    "batch_size": 8,
    "image_size": 224,
    "mask_ratio": 0.6,
    "precision": "float32",
    "average_weights": False,
    "device_tflops": 10.0,
    "utilisation": 0.5,
    "link_gigabytes": 2.0,
    "stored_kilobytes": 100.0,
    "decode_rate": 300.0,
}


def test_a_plan_of_four_devices_by_hand():
    parameters = num_parameters("atto")
    plan = training_plan.plan("atto", SETTINGS)
    computing = 2 * operations("pretrain", "atto", 224, 0, 19 / 49) / 5e12
    sending = 6 * parameters / 2e9  # 2 * 3/4 * 4 bytes
    step = computing + sending
    assert plan["parameters"] == parameters
    assert plan["gradient_bytes_sent"] == 6 * parameters
    assert plan["sending_seconds"] == pytest.approx(sending)
    assert plan["step_seconds"] == pytest.approx(step)
    assert plan["images_a_second"] == pytest.approx(8 / step)
    assert plan["images_a_second_a_device"] == pytest.approx(2 / step)
    assert plan["storage_bytes_a_second"] == pytest.approx(8e5 / step)
    assert 0 <= plan["decoding_cores"] - 8 / step / 300 < 1
    assert plan["seconds"] == pytest.approx(3 * 2 * step)  # two whole batches of 20 images
    kept = activation_values("atto", 224, 19 / 49)
    pixels = 3 * 224**2
    assert plan["memory_bytes"] == pytest.approx(16 * parameters + 2 * 4 * (kept + pixels))
    half = training_plan.plan(
        "atto", {**SETTINGS, "precision": "mixed_bfloat16", "average_weights": True}
    )
    assert half["memory_bytes"] == pytest.approx(20 * parameters + 2 * (2 * kept + 4 * pixels))


def test_one_device_sends_nothing_and_needs_no_link():
    settings = {**SETTINGS, "devices": 1, "link_gigabytes": None}
    training_plan.check(settings)
    plan = training_plan.plan("atto", settings)
    assert plan["gradient_bytes_sent"] == plan["sending_seconds"] == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"link_gigabytes": None}, "--link_gigabytes must be given for more than one device"),
        ({"devices": 3}, "--batch_size must be a multiple of --devices. Received: 8 and 3"),
        ({"images": 7}, "--images must be a batch or more. Received: 7"),
        ({"image_size": 100}, "--image_size must be a multiple of 32. Received: 100"),
        ({"utilisation": 40.0}, "--utilisation must be at most 1. Received: 40.0"),
        ({"device_tflops": float("nan")}, "--device_tflops must be a number above 0"),
        ({"decode_rate": 0.0}, "--decode_rate must be a number above 0. Received: 0.0"),
    ],
)
def test_settings_that_no_training_can_have(wrong, told):
    training_plan.check(SETTINGS)
    with pytest.raises(ValueError, match=told):
        training_plan.check({**SETTINGS, **wrong})


def test_the_program_prints_a_row_a_variant():
    done = run_python("-m", "tools.plan_training", "--device_tflops=100", "--link_gigabytes=10")
    assert done.returncode == 0, done.stderr
    first, _, headings, _, *rows = done.stdout.splitlines()
    assert first.startswith("On paper: devices 32, epochs 800, images 1281167, batch size 4096")
    names = ["atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "huge"]
    assert [row.split()[1] for row in rows] == names
    huge = dict(zip(headings.split(" | "), rows[-1].split(" | "), strict=True))
    assert huge["parameters, M"] == f"{num_parameters('huge') / 1e6:.1f}"
    operations_of_a_step = 128 * operations("pretrain", "huge", 224, 0, 19 / 49)
    sent = 2 * 31 / 32 * 4 * num_parameters("huge")
    step = operations_of_a_step / (100e12 * 0.4) + sent / 10e9
    assert huge["a step, ms"] == f"{1000 * step:,.0f}"
