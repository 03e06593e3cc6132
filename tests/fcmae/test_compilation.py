import functools

import keras
import numpy as np
import pytest

from keras_convnextv2.training.optimizers import adamw


@pytest.mark.slow
def test_steps_are_the_same_compiled_or_not(rng, make_fcmae, monkeypatch):
    if keras.backend.backend() == "torch":  # captured as one program, but run without C++, which
        import torch  # takes minutes to compile

        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    histories = []
    for jit_compile in (True, False):
        fcmae = make_fcmae()
        fcmae.compile(optimizer=adamw(fcmae, 1e-3, 0.05), jit_compile=jit_compile)
        assert fcmae.jit_compile == jit_compile
        histories.append(fcmae.fit(images, batch_size=2, epochs=2, shuffle=False, verbose=0))
    for name, tolerance in (("loss", 1e-5), ("gradient_norm", 1e-4)):
        compiled, plain = (history.history[name] for history in histories)
        assert len(set(plain)) == 2  # the weights moved
        np.testing.assert_allclose(compiled, plain, rtol=tolerance)
