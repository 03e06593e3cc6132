import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.training.optimizers import adamw
from tests.reference.compute import compute
from tests.reference.processes import run_python
from tests.reference.random_weights import randomize

# A run of all backends saves on each, and loads on each.
ANOTHER = {"tensorflow": "jax", "jax": "torch", "torch": "tensorflow"}


@pytest.mark.slow
def test_models_saved_here_are_equal_on_another_backend(tmp_path, make_fcmae):
    fcmae = make_fcmae()
    classifier = kc.ConvNeXtV2Classifier(fcmae.backbone, 5)
    randomize(classifier, np.random.default_rng(1))
    images = np.random.default_rng(5).normal(size=(4, 16, 24, 3)).astype("float32")
    fcmae.compile(optimizer=adamw(fcmae, 1e-3, 0.05))
    fcmae.fit(images, batch_size=2, verbose=0)

    outputs = compute(fcmae, images)
    arrays = {
        "images": images,
        "features": compute(fcmae.backbone, images),
        "logits": compute(classifier, images),
        "prediction": outputs["prediction"],
        "hidden": outputs["hidden"],
        "loss": compute(fcmae.loss_on, images, outputs["hidden"]),
        "step": fcmae.step.numpy(),
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    fcmae.backbone.save(tmp_path / "backbone.keras")
    classifier.save(tmp_path / "classifier.keras")
    fcmae.save(tmp_path / "fcmae.keras")

    backend = ANOTHER[keras.backend.backend()]
    process = run_python("tests/reference/load_saved.py", tmp_path, KERAS_BACKEND=backend)
    assert process.returncode == 0, process.stderr[-3000:]
    assert f"equal on {backend}" in process.stdout
