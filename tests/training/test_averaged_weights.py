"""Averages of weights: what they are, how they are evaluated and saved, and nothing is lost."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.training.averaged_weights import (
    EvaluateAveragedWeights,
    averaged_weights,
    has_averages,
)
from keras_convnextv2.training.optimizers import adamw
from tests.reference.apply_gradients import apply_to
from tests.reference.random_weights import randomize
from tests.reference.save_each_epoch import SaveEachEpoch

MOMENTUM = 0.75


def make_model(**options):
    """A linear layer, whose loss can be computed by hand."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    randomize(model, np.random.default_rng(0))
    optimizer = adamw(model, 0.1, 0.05, ema_momentum=MOMENTUM, **options)
    model.compile(optimizer=optimizer, loss="mse")
    return model


def batch(rng, count=8):
    return rng.normal(size=(count, 3)).astype("float32"), rng.normal(size=(count, 2))


def loss_by_hand(weights, x, y):
    kernel, bias = weights
    return np.mean((x @ kernel + bias - y) ** 2)


def weights_of(model):
    return [weight.numpy() for weight in model.trainable_weights]


def assert_equal(ours, expected):
    for value, wanted in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("paths", ["auto", "off"])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("loss_scale", [None, 4.0])
def test_the_averages_are_those_by_hand(paths, steps, loss_scale, rng, fast_paths):
    """After the first update the weights, then three quarters of what was and a quarter new."""
    kc.set_fast_paths(paths)
    model = make_model(accumulation_steps=steps)
    weights, inner = model.trainable_weights, model.optimizer
    optimizer = inner
    if loss_scale is not None:
        optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=loss_scale)
        optimizer.build(weights)
    expected, num_updates = None, 0
    for number in range(4 * steps):
        values = [rng.normal(size=weight.shape) for weight in weights]
        if loss_scale is not None and number == steps:
            values[0][0] = np.inf  # left out, and so is what would have been the next update
        gradients = [keras.ops.convert_to_tensor(value, "float32") for value in values]
        apply_to(optimizer, gradients, weights)
        updates = int(keras.ops.convert_to_numpy(inner.iterations))
        if updates > num_updates:
            now = [weight.numpy().astype("float64") for weight in weights]
            if expected is None:
                expected = now
            else:
                expected = [
                    MOMENTUM * average + (1 - MOMENTUM) * weight
                    for average, weight in zip(expected, now, strict=True)
                ]
            num_updates = updates
        if expected is not None:
            averages = [average.numpy() for _, average in inner.weights_and_averages()]
            for average, value in zip(averages, expected, strict=True):
                np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-6)  # float32
    assert num_updates == (4 if loss_scale is None else 3)


class Record(keras.callbacks.Callback):
    """The model's own weights and their averages at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.own, self.averages = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.own.append(weights_of(self.model))
        pairs = self.model.optimizer.weights_and_averages()
        self.averages.append([average.numpy() for _, average in pairs])


def test_averages_are_evaluated_and_training_goes_on_with_the_models_own(rng):
    x, y = batch(rng, 16)
    held_out = batch(rng)
    options = {"epochs": 3, "batch_size": 4, "shuffle": False, "verbose": 0}
    undisturbed, expected = make_model(), Record()
    undisturbed.fit(x, y, callbacks=[expected], **options)
    model, record = make_model(), Record()
    callbacks = [EvaluateAveragedWeights(), record]
    history = model.fit(x, y, validation_data=held_out, callbacks=callbacks, **options).history
    for epoch in range(3):
        assert_equal(record.own[epoch], expected.own[epoch])
        assert_equal(record.averages[epoch], expected.averages[epoch])
        by_hand = loss_by_hand(record.averages[epoch], *held_out)
        # A mean of 16 squares in float32.
        assert history["val_loss"][epoch] == pytest.approx(by_hand, rel=1e-5)
        assert abs(by_hand - loss_by_hand(record.own[epoch], *held_out)) > 1e-4
    assert_equal(weights_of(model), record.averages[-1])  # when `fit` ends, for good


def test_evaluate_by_itself_takes_the_callback_too(rng):
    x, y = batch(rng)
    model = make_model()
    for _ in range(3):
        model.train_on_batch(x, y)
    own = weights_of(model)
    averages = [average.numpy() for _, average in model.optimizer.weights_and_averages()]
    loss = model.evaluate(x, y, verbose=0, callbacks=[EvaluateAveragedWeights()])
    assert loss == pytest.approx(loss_by_hand(averages, x, y), rel=1e-5)  # float32
    assert_equal(weights_of(model), own)
    with averaged_weights(model):  # which the callback leaves as they are
        model.evaluate(x, y, verbose=0, callbacks=[EvaluateAveragedWeights()])
        assert_equal(weights_of(model), averages)
    assert_equal(weights_of(model), own)


def test_one_file_has_the_averages_and_one_the_models_own_with_them(tmp_path, rng):
    model, record = make_model(), Record()
    callbacks = [SaveEachEpoch(tmp_path / "last.keras"), record]
    model.fit(*batch(rng), epochs=2, batch_size=4, verbose=0, callbacks=callbacks)
    last = keras.saving.load_model(tmp_path / "last.keras")
    assert_equal(weights_of(last), record.own[-1])
    with averaged_weights(last):
        assert_equal(weights_of(last), record.averages[-1])
        last.save(tmp_path / "model.keras")
    assert_equal(weights_of(last), record.own[-1])
    averaged = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(weights_of(averaged), record.averages[-1])


def test_an_error_brings_the_models_own_weights_back(rng):
    x, y = batch(rng)
    model = make_model()
    for _ in range(2):
        model.train_on_batch(x, y)
    own = weights_of(model)
    with pytest.raises(OSError, match="the disk is full"), averaged_weights(model):
        assert np.abs(weights_of(model)[0] - own[0]).max() > 0
        raise OSError("the disk is full")
    assert_equal(weights_of(model), own)


class Broken(keras.utils.PyDataset):
    """Batches, then an error; some are read before the first is evaluated."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 39:
            raise OSError("the disk is gone")
        return np.ones((2, 8, 16, 3), "float32"), np.array([0, 1])


class OwnBefore(keras.callbacks.Callback):
    def on_test_begin(self, logs=None):
        self.weights = weights_of(self.model)


def test_an_evaluation_that_fails_within_fit_leaves_the_models_own_weights():
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (8, 16, 3), stem_stride=1
    )
    model = kc.ConvNeXtV2Classifier(backbone, 2)
    randomize(model, np.random.default_rng(0))
    optimizer = adamw(model, 0.01, 0.05, ema_momentum=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss)
    images, labels = np.random.default_rng(1).normal(size=(4, 8, 16, 3)), np.array([0, 1, 1, 0])
    before = OwnBefore()
    callbacks = [before, EvaluateAveragedWeights()]
    with pytest.raises(Exception, match=".*"):  # each backend says it in its own way
        model.fit(
            images,
            labels,
            batch_size=2,
            verbose=0,
            validation_data=Broken(),
            callbacks=callbacks,
        )
    assert_equal(weights_of(model), before.weights)
    assert not optimizer.uses_averages
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 2
    with averaged_weights(model):
        assert np.abs(weights_of(model)[0] - before.weights[0]).max() > 0


def test_before_the_first_update_the_averages_are_the_weights(rng):
    """Keras's are zero then, and `fit` would end with them."""
    model = make_model(accumulation_steps=3)
    before = weights_of(model)
    with averaged_weights(model):
        assert_equal(weights_of(model), before)
    model.fit(*batch(rng), batch_size=4, verbose=0)  # two batches, no update
    assert_equal(weights_of(model), before)


def test_averages_are_found_through_the_loss_scale_of_float16(rng):
    keras.config.set_dtype_policy("mixed_float16")
    model = make_model()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.fit(*batch(rng), batch_size=2, verbose=0, callbacks=[EvaluateAveragedWeights()])
    inner = model.optimizer.inner_optimizer
    assert_equal(
        weights_of(model), [average.numpy() for _, average in inner.weights_and_averages()]
    )
    inner.weights()[0].assign(keras.ops.zeros((3, 2)))
    with averaged_weights(model):
        assert weights_of(model)[0].any()
    assert not weights_of(model)[0].any()


@pytest.mark.one_backend
def test_an_optimizer_without_averages_is_refused(rng):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    message = "averages no weights: compile the model with `adamw.*ema_momentum"
    for optimizer in (adamw(model, 0.1, 0.05), keras.optimizers.SGD(0.1, use_ema=True)):
        model.compile(optimizer=optimizer, loss="mse")
        assert not has_averages(model)
        with pytest.raises(ValueError, match=message), averaged_weights(model):
            pass
        with pytest.raises(ValueError, match=message):
            model.fit(*batch(rng), verbose=0, callbacks=[EvaluateAveragedWeights()])
