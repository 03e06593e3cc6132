import dataclasses
import math

import numpy as np
import pytest

from keras_convnextv2.analysis.lars import LarsSettings, _Head, lars_probe

pytestmark = pytest.mark.one_backend


def test_steps_are_those_of_torch_s_batch_norm_and_of_lars_by_hand(rng):
    """Gradients by torch, LARS as its paper and MAE's code have it."""
    import torch

    settings = LarsSettings(weight_decay=0.02, batch_size=16)
    head = _Head(6, 3, settings, np.random.default_rng(5))
    norm = torch.nn.BatchNorm1d(6, affine=False, eps=1e-6).double()
    linear = torch.nn.Linear(6, 3).double()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(head.weights[0].T))
        linear.bias.zero_()
    momenta = [torch.zeros_like(parameter) for parameter in linear.parameters()]
    for rate in (0.0, 0.5, 20.0, 20.0):
        x, y = rng.normal(3.0, 2.0, (16, 6)).astype("float32"), rng.integers(0, 3, 16)
        head.step(x, y, rate)
        linear.zero_grad()
        logits = linear(norm(torch.tensor(x).double()))
        torch.nn.functional.cross_entropy(logits, torch.tensor(y)).backward()
        with torch.no_grad():
            for parameter, momentum in zip(linear.parameters(), momenta, strict=True):
                gradient = parameter.grad
                if parameter.ndim == 2:
                    gradient = gradient + 0.02 * parameter
                    gradient = gradient * (0.001 * parameter.norm() / gradient.norm())
                momentum.mul_(0.9).add_(gradient)
                parameter.sub_(rate * momentum)
    # float32 against float64 over four steps.
    expected = linear.weight.detach().numpy().T, linear.bias.detach().numpy()
    for own, other in zip(head.weights, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=2e-4, atol=2e-6)
    norm.eval()
    x = rng.normal(3.0, 2.0, (50, 6)).astype("float32")
    logits = linear(norm(torch.tensor(x).double())).detach().numpy()
    np.testing.assert_array_equal(head.predict(x), logits.argmax(axis=1))


def test_the_rate_warms_up_and_follows_half_a_cosine():
    settings = LarsSettings()  # MAE's, batch 1024: peak .1 * 1024 / 256
    rates = {epoch: settings.rate_at(20 * epoch, 20) for epoch in (0, 5, 10, 30, 50, 90)}
    expected = {0: 0.0, 5: 0.2, 10: 0.4, 50: 0.2, 90: 0.0}
    expected[30] = 0.4 * (1 + math.cos(math.pi / 4)) / 2
    assert rates == pytest.approx(expected, abs=1e-12)


def test_a_long_training_tells_classes_apart_and_repeats(rng):
    y = np.arange(240) % 3
    x = (rng.normal(size=(240, 5)) + 2 * np.eye(5)[y]) * 10 + 100
    settings = LarsSettings(epochs=200, batch_size=64, base_learning_rate=20.0)
    train, test = (x[:180], y[:180]), (x[180:], y[180:])
    result = lars_probe(train, test, settings, seed=1)
    assert result.mean() > 0.8
    assert result.settings["steps"] == 200 * 2  # of 180 images, 2 batches; the rest is left out
    assert lars_probe(train, test, settings, seed=1) == result
    random = dataclasses.replace(settings, base_learning_rate=0.0)
    assert lars_probe(train, test, random, seed=1).mean() < 0.6  # the random kernel's


def test_a_batch_is_no_larger_than_the_images(rng):
    pair = rng.normal(size=(10, 3)), np.arange(10) % 2
    result = lars_probe(pair, pair, LarsSettings(epochs=3, warmup_epochs=1))
    assert (result.settings["batch_size"], result.settings["steps"]) == (10, 3)
    assert result.settings["learning_rate"] == 0.1 * 10 / 256


def test_settings_that_are_refused():
    with pytest.raises(ValueError, match="epochs=5, warmup_epochs=10"):
        LarsSettings(epochs=5)
    with pytest.raises(ValueError, match="batch_size=1,"):
        LarsSettings(batch_size=1)
