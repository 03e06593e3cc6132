"""Loads the models of a folder under the current backend and compares their outputs.

KERAS_BACKEND=jax python tests/reference/load_saved.py FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np

import keras_convnextv2  # noqa: F401  its classes must be known to load them
from tests.reference.compute import compute


def main(folder):
    arrays = np.load(folder / "arrays.npz")
    backbone, classifier, fcmae = (
        keras.saving.load_model(folder / f"{name}.keras")
        for name in ("backbone", "classifier", "fcmae")
    )
    outputs = {
        "features": compute(backbone, arrays["images"]),
        "logits": compute(classifier, arrays["images"]),
        **compute(fcmae, arrays["images"]),
        "loss": compute(fcmae.loss_on, arrays["images"], arrays["hidden"]),
        "step": fcmae.step.numpy(),
    }
    for name, output in outputs.items():
        # The project's bound for float32 parity between backends.
        np.testing.assert_allclose(output, arrays[name], atol=1e-4, err_msg=name)
    # Compiled as this backend does by itself, not as the one that saved it (all on CPUs here).
    assert fcmae.jit_compile == (keras.backend.backend() == "jax")
    history = fcmae.fit(arrays["images"], epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    print("equal on", keras.backend.backend())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
