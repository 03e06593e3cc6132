"""A pretraining of two processes: one is killed, the other says so, and one goes on to the end."""

import signal
import time

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from keras_convnextv2.runs import newest_checkpoint
from tests.reference.processes_of_a_training import start

WORDS = (
    "--depths=1,1,1,1",
    "--widths=4,6,8,12",
    "--stem_stride=1",
    "--decoder_width=8",
    "--image_size=16x24",
    "--batch_size=8",
    "--epochs=20",
    "--save_every=2",
    "--learning_rate=1e-3",
    "--reconstruct_every=0",
    "--json",
)


@pytest.fixture
def images(shared_images_dir):
    return f"--data_dir={shared_images_dir}"


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


# One engine: that each computes the same on several devices is in tests/devices.
if keras.backend.backend() == "torch":

    @pytest.mark.slow
    def test_what_a_killed_process_leaves_is_gone_on_with_by_another_number(
        run_recipe, images, tmp_path
    ):
        folder = tmp_path / "run"
        words = ["recipes.pretrain", images, *WORDS, f"--output_dir={folder}"]
        first, second = start([*words, "--distribution=data_parallel"], 2)
        checkpoints = folder / "checkpoints"
        wait_for(lambda: newest_checkpoint(checkpoints) is not None, 120)
        second.kill()
        said = first.communicate(timeout=60)[1]
        assert second.wait() == -signal.SIGKILL and first.returncode == 2
        assert "error: Another process of this training has ended, or does not" in said
        assert "Traceback" not in said
        assert not (folder / "result.json").exists()

        ended = run_recipe("pretrain", images, *WORDS, f"--output_dir={folder}")
        assert ended.status == 0 and "the training goes on with epoch" in ended.err, ended.err
        alone = tmp_path / "alone"
        assert run_recipe("pretrain", images, *WORDS, f"--output_dir={alone}").status == 0
        found, expected = (
            load_file(path / "model" / "model.safetensors") for path in (folder, alone)
        )
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--batch_size=7"], "--batch_size counts for all 2 devices"),
            (["--dry_run"], "--dry_run is of one device"),
        ],
    )
    def test_what_several_devices_cannot_have_is_said(
        run_recipe, images, tmp_path, monkeypatch, words, message
    ):
        from keras_convnextv2.training.distribution import torch_engine
        from keras_convnextv2.training.distribution.shared_devices import Devices

        monkeypatch.setattr(torch_engine, "devices", lambda: Devices(2, 0, 1))
        shared = ["--distribution=data_parallel", f"--output_dir={tmp_path / 'run'}"]
        outcome = run_recipe("pretrain", images, *WORDS, *shared, *words)
        assert outcome.status == 2 and message in outcome.err
