"""A training that goes on from a checkpoint ends as one that never stopped, bit for bit."""

import shutil

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.data import Augmentation, ImageBatches, open_source
from keras_convnextv2.runs import checkpoint_folder
from keras_convnextv2.training.optimizers import adamw
from keras_convnextv2.training.schedules import warmup_cosine

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
SIZE, EPOCHS = (16, 16), 2
AUGMENTATION = Augmentation(
    crop_scale=(0.3, 1), horizontal_flip=0.5, mixup=0.2, label_smoothing=0.1, erase_probability=0.5
)


@pytest.fixture
def source(tmp_path):
    draw = np.random.default_rng(5)
    images = draw.integers(0, 256, (14, 20, 20, 3), "uint8")
    kept = {"mean": [0.5] * 3, "std": [0.25] * 3, "class_names": ["a", "b", "c"]}
    np.savez(tmp_path / "train.npz", images=images, labels=np.arange(14) % 3, **kept)
    return open_source(tmp_path, "train")


def make_batches(source, labelled=True, **options):
    """Three batches an epoch, with all that is random."""
    settings = {"labelled": labelled, "shuffle": True, "seed": 3, "drop_remainder": True}
    if labelled:
        settings |= AUGMENTATION.stages(source.mean)
    return ImageBatches(source, AUGMENTATION.framing(SIZE), 4, **{**settings, **options})


def make_backbone():
    return kc.ConvNeXtV2Backbone(SIZES, (*SIZE, 3), stem_stride=1, drop_path_rate=0.5, seed=2)


def make_classifier():
    keras.utils.set_random_seed(1)
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), 3, head_init_scale=1.0)
    schedule = warmup_cosine(1e-2, num_steps=4, num_warmup_steps=1)
    options = {"layer_decay": 0.8, "ema_momentum": 0.5, "accumulation_steps": 2}
    classifier.compile(
        optimizer=adamw(classifier, schedule, 0.05, **options),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return classifier


def make_fcmae():
    keras.utils.set_random_seed(1)
    fcmae = kc.FCMAE(make_backbone(), decoder_width=8, seed=4)
    fcmae.compile(optimizer=adamw(fcmae, 1e-2, 0.05, 0.95, clip_norm=0.5))
    return fcmae


def fit(model, batches, *callbacks, epochs=EPOCHS):
    return model.fit(batches, epochs=epochs, verbose=0, callbacks=list(callbacks))


def values_of(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v.value), copy=True) for v in variables]


def spoil(model):
    """Other values for all that a checkpoint has to bring back."""
    draw = np.random.default_rng(9)
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    for variable in variables:
        if variable.path.endswith("learning_rate"):  # it is a setting
            continue
        kind = keras.backend.standardize_dtype(variable.dtype)
        is_float = "float" in kind
        value = draw.normal(size=variable.shape) if is_float else np.full(variable.shape, 77)
        variable.assign(value.astype(kind))


def assert_equal(values, expected):
    for value, other in zip(values, expected, strict=True):
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("make", [make_classifier, make_fcmae])
def test_it_goes_on_from_every_step_as_if_it_had_not_stopped(tmp_path, source, make):
    model, labelled = make(), make is make_classifier
    saving = kc.training.Checkpoints(tmp_path / "all", every=1, keep=100)
    straight = fit(model, make_batches(source, labelled), saving).history
    expected = values_of(model)
    saved = sorted((tmp_path / "all").glob("step-*"))
    assert [path.name for path in saved] == [f"step-{step:08d}" for step in range(1, 7)]
    for step, path in enumerate(saved, 1):
        shutil.copytree(path, tmp_path / str(step) / path.name)
        spoil(model)
        going_on = kc.training.Checkpoints(tmp_path / str(step), every=1)
        batches = make_batches(source, labelled, workers=step % 3)
        history = fit(model, batches, going_on)
        assert going_on.resumed_from.name == path.name
        assert_equal(values_of(model), expected)
        first = step // 3  # its metrics are those of all its steps
        assert history.epoch == list(range(first, EPOCHS))
        assert history.history == {
            name: values[first:] for name, values in straight.items() if first < EPOCHS
        }


@pytest.mark.one_backend
def test_callbacks_see_one_training(tmp_path, source):
    model, seen = make_classifier(), []

    class See(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append("begin")

        def on_train_end(self, logs=None):
            seen.append("end")

        def on_train_batch_end(self, batch, logs=None):
            seen.append((self.epoch, batch))

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

    folder = tmp_path / "run"
    fit(model, make_batches(source), kc.training.Checkpoints(folder, every=1, keep=100))
    for step in range(2, 7):
        shutil.rmtree(checkpoint_folder.path_of(folder, step))
    # With validation: Keras evaluates with the same callbacks.
    validated = make_batches(source, shuffle=False)
    history = model.fit(
        make_batches(source),
        epochs=EPOCHS,
        verbose=0,
        validation_data=validated,
        callbacks=[See(), kc.training.Checkpoints(folder)],
    )
    assert seen == ["begin", (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), "end"]
    assert history.epoch == [0, 1] and len(history.history["val_loss"]) == 2


def test_a_loaded_checkpoint_is_the_model(tmp_path, source):
    fcmae = make_fcmae()
    fit(fcmae, make_batches(source, labelled=False), kc.training.Checkpoints(tmp_path / "run"))
    (_, newest), *_ = checkpoint_folder.checkpoints_in(tmp_path / "run")
    loaded = kc.from_preset(newest)
    assert isinstance(loaded, kc.FCMAE)
    for one, other in zip(loaded.trainable_weights, fcmae.trainable_weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert isinstance(kc.from_preset(newest, head=False), kc.ConvNeXtV2Backbone)
    again = make_fcmae()
    spoil(again)
    kc.load_weights(again, newest)
    for one, other in zip(again.decoder.weights, fcmae.decoder.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.one_backend
def test_averages_of_keras_own_optimizers_are_given_at_the_end_alone(tmp_path, source):
    model = make_classifier()
    optimizer = keras.optimizers.AdamW(1e-2, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer=optimizer, loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    fit(model, make_batches(source), kc.training.Checkpoints(tmp_path / "all", every=1, keep=9))
    expected = values_of(model)
    shutil.copytree(tmp_path / "all" / "step-00000002", tmp_path / "two" / "step-00000002")
    spoil(model)
    fit(model, make_batches(source), kc.training.Checkpoints(tmp_path / "two"))
    assert_equal(values_of(model), expected)


@pytest.mark.one_backend
def test_a_training_that_a_callback_stops_within_an_epoch_is_not_done(tmp_path, source):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    straight = make_fcmae()
    saving = kc.training.Checkpoints(tmp_path / "straight")
    fit(straight, make_batches(source, labelled=False), saving)
    model = make_fcmae()
    fit(model, make_batches(source, False), Stop(), kc.training.Checkpoints(tmp_path / "run"))
    assert kc.runs.newest_checkpoint(tmp_path / "run").name == "step-00000002"
    spoil(model)
    history = fit(model, make_batches(source, False), kc.training.Checkpoints(tmp_path / "run"))
    assert history.epoch == [0, 1]
    assert_equal(values_of(model), values_of(straight))


@pytest.mark.one_backend
def test_images_of_another_batch_size_are_refused_or_begin_the_epoch_anew(tmp_path, source, capfd):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    folder, model = tmp_path / "run", make_fcmae()
    with pytest.raises(KeyboardInterrupt):
        saving = kc.training.Checkpoints(folder, every=1)
        fit(model, make_batches(source, False), saving, Interrupt())
    model, others = make_fcmae(), make_batches(source, False)
    others.batch_size = 5
    before = values_of(model)
    with pytest.raises(kc.runs.CheckpointError, match="batch_size 4 instead of 5"):
        fit(model, others, kc.training.Checkpoints(folder))
    assert_equal(values_of(model), before)
    fit(model, others, kc.training.Checkpoints(folder, allow_changes=True), epochs=1)
    assert "from its first batch, since the images are others" in capfd.readouterr().err
    assert int(model.optimizer.iterations.numpy()) == 2 + 3


@pytest.mark.one_backend
def test_batches_that_went_on_are_whole_in_another_training(tmp_path, source):
    batches = make_batches(source, False)
    batches.restore(batches.state(batch=2))
    assert len(batches) == 1
    model = make_fcmae()
    fit(model, batches, kc.training.Checkpoints(tmp_path / "new"), epochs=1)
    assert int(model.optimizer.iterations.numpy()) == 3
