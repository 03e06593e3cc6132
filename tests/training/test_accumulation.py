"""Gradients of several batches make one update, and everything counts updates."""

import math

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.training.optimizers import KernelDecayAdamW, adamw
from keras_convnextv2.training.schedules import warmup_cosine
from tests.reference.apply_gradients import apply_to
from tests.reference.random_weights import randomize

# Of eight updates: two of warm-up to .4, then half a cosine from .4 to .1 in six.
RATES = [
    0.0,
    0.2,
    0.4,
    0.25 + 0.15 * math.cos(math.pi / 6),
    0.25 + 0.15 * 0.5,
    0.25,
    0.25 - 0.15 * 0.5,
    0.25 - 0.15 * math.cos(math.pi / 6),
]


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def make_classifier(accumulation_steps):
    """A small classifier with every setting of the optimizer."""
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
    backbone = kc.ConvNeXtV2Backbone(variant, (8, 16, 3), stem_stride=1)
    model = kc.ConvNeXtV2Classifier(backbone, 3)
    randomize(model, np.random.default_rng(0))
    settings = {"layer_decay": 0.8, "clip_norm": 0.5, "ema_momentum": 0.6}
    schedule = warmup_cosine(0.02, 6, 1)
    optimizer = adamw(model, schedule, 0.3, accumulation_steps=accumulation_steps, **settings)
    # Where a gradient is none, a step of Adam's is the sign of what rounding left: not with this.
    optimizer.epsilon = 1e-2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss)
    return model


def labelled_images(count):
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 8, 16, 3)).astype("float32"), np.arange(count) % 3


@pytest.mark.parametrize("batches", [1, 3])
def test_the_rate_is_that_of_the_update_by_hand_and_so_reported(batches):
    """A weight whose gradient is one moves by the rate."""
    weight = keras.Variable(np.zeros(3, "float32"))
    options = {"gradient_accumulation_steps": batches if batches > 1 else None}
    optimizer = KernelDecayAdamW(warmup_cosine(0.4, 8, 2, minimum=0.1), **options)
    optimizer.build([weight])
    for update, rate in enumerate(RATES):
        before = weight.numpy()
        for _ in range(batches):
            assert int(array(optimizer.iterations)) == update
            # float32 of a cosine.
            assert float(array(optimizer.learning_rate)) == pytest.approx(rate, abs=1e-7)
            np.testing.assert_array_equal(weight.numpy(), before)
            apply_to(optimizer, [keras.ops.ones(3)], [weight])
        # float32 knows 1 - beta_2, which is .001, to 6e-5 of it, and weights of 2 to 2e-7.
        np.testing.assert_allclose(before - weight.numpy(), rate, rtol=1e-4, atol=1e-6)
    assert float(array(optimizer.learning_rate)) == pytest.approx(0.1)


class KeepOwnWeights(keras.callbacks.Callback):
    """The weights at the end of the last epoch, before `fit` gives the model the averages."""

    def on_epoch_end(self, epoch, logs=None):
        self.weights = [weight.numpy() for weight in self.model.trainable_weights]


def fit(model, *data, **options):
    """Fits; gives the model's own weights, its averages and what its optimizer holds, by name."""
    kept = KeepOwnWeights()
    callbacks = [*options.pop("callbacks", []), kept]
    model.fit(*data, shuffle=False, verbose=0, callbacks=callbacks, **options)
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    moments = [moment for pair in map(optimizer.moments, optimizer.weights()) for moment in pair]
    return {
        "own": kept.weights,
        "averages": [weight.numpy() for weight in model.trainable_weights],
        "moments": [moment.numpy() for moment in moments],
    }


def test_four_batches_are_one_four_times_as_large_over_epochs_and_from_a_file(tmp_path, fast_paths):
    """With decay, clipping, averages, layers' scales and a schedule, over three updates.

    An epoch has six batches: two are left over, and go on in the next, also in a loaded model.
    """
    images, labels = labelled_images(24)
    one_large = make_classifier(accumulation_steps=1)
    before = [weight.numpy() for weight in one_large.trainable_weights]
    twice = np.concatenate([images, images]), np.concatenate([labels, labels])
    expected = fit(one_large, *twice, batch_size=16)

    path = str(tmp_path / "{epoch}.keras")
    options = {"batch_size": 4, "epochs": 2}
    four = make_classifier(accumulation_steps=4)
    found = fit(four, images, labels, callbacks=[keras.callbacks.ModelCheckpoint(path)], **options)
    resumed = keras.saving.load_model(path.format(epoch=1))
    assert int(array(resumed.optimizer.iterations)) == 1
    again = fit(resumed, images, labels, initial_epoch=1, **options)

    assert int(array(resumed.optimizer.iterations)) == int(array(four.optimizer.iterations)) == 3
    for name, values in expected.items():
        for value, accumulated, after_loading in zip(values, found[name], again[name], strict=True):
            # Gradients' means in another order; float32 over three updates of at most .02.
            np.testing.assert_allclose(accumulated, value, rtol=1e-4, atol=2e-6, err_msg=name)
            # The same program.
            np.testing.assert_allclose(after_loading, accumulated, rtol=1e-6, atol=1e-7)
    moved = [np.abs(a - b).max() for a, b in zip(found["own"], before, strict=True)]
    assert min(moved) > 1e-5 and max(moved) > 5e-3
    lag = [np.abs(a - b).max() for a, b in zip(found["own"], found["averages"], strict=True)]
    assert min(lag) > 1e-6


def test_fcmae_in_float16_goes_on_from_a_file_in_the_middle(make_fcmae, tmp_path, rng):
    images = rng.normal(size=(6, 16, 24, 3)).astype("float32")
    settings = {"layer_decay": 0.8, "clip_norm": 0.5, "ema_momentum": 0.5, "accumulation_steps": 2}
    fcmae = make_fcmae(dtype="mixed_float16")
    fcmae.compile(optimizer=adamw(fcmae, warmup_cosine(0.02, 4, 1), 0.05, **settings))
    path = str(tmp_path / "{epoch}.keras")
    options = {"batch_size": 2, "epochs": 2}
    save = keras.callbacks.ModelCheckpoint(path)
    expected = fit(fcmae, images, callbacks=[save], **options)

    resumed = keras.saving.load_model(path.format(epoch=1))
    scales = fcmae.optimizer.inner_optimizer.rate_scales
    assert resumed.optimizer.inner_optimizer.rate_scales == scales
    assert min(scales) == pytest.approx(0.8**4)
    found = fit(resumed, images, initial_epoch=1, **options)
    assert int(array(resumed.optimizer.iterations)) == 3
    for name, values in expected.items():
        for value, after_loading in zip(values, found[name], strict=True):
            # The same program.
            np.testing.assert_allclose(after_loading, value, rtol=1e-6, atol=1e-7, err_msg=name)
