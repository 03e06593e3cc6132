"""The state of ImageBatches, and what workers and shards make of an epoch: nothing else."""

import json

import keras
import numpy as np
import pytest

from keras_convnextv2.data import ImageBatches, Mixing, RandomShift, SetEpoch, open_source


def mix(images, labels, rng):
    """As mixup: each image with the next one, by a share that is drawn."""
    share = rng.random()
    return (
        share * images + (1 - share) * np.roll(images, 1, axis=0),
        share * labels + (1 - share) * np.roll(labels, 1, axis=0),
    )


def jitter(image, rng):
    return image + rng.normal(size=2).astype("float32")


@pytest.fixture
def source(tmp_path, write_npz):
    """11 images of 5x7 with 2 channels."""
    write_npz(tmp_path, "train", count=11)
    return open_source(tmp_path, "train")


def make_batches(source, **options):
    """All that is random, in batches of 4."""
    settings = {
        "labelled": True,
        "shuffle": True,
        "seed": 3,
        "transforms": [RandomShift(1)],
        "normalised_transforms": [jitter],
        "batch_transforms": [mix],
        "label_smoothing": 0.1,
    }
    return ImageBatches(source, (5, 7), 4, **{**settings, **options})


def two_epochs(batches):
    first = list(batches)
    batches.on_epoch_end()
    return first + list(batches)


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for one_array, other_array in zip(one, other, strict=True):
            np.testing.assert_array_equal(one_array, other_array)


@pytest.mark.one_backend
@pytest.mark.parametrize("sampling", [None, "balanced"])
@pytest.mark.parametrize("workers", [1, 4])
def test_batches_are_the_same_for_any_number_of_workers(source, workers, sampling):
    expected = two_epochs(make_batches(source, sampling=sampling))
    assert np.any(expected[0][0] != expected[3][0])
    assert_equal(two_epochs(make_batches(source, sampling=sampling, workers=workers)), expected)


@pytest.mark.one_backend
@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_of_every_step_goes_on_with_what_would_have_come(source, workers):
    expected = two_epochs(make_batches(source))
    through = make_batches(source, workers=workers)
    states = [through.state()]
    for epoch in (0, 1):
        through.epoch = epoch
        for index in range(len(through)):
            through[index]
            states.append(through.state())
    places = [(state["epoch"], state["batch"]) for state in states]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    for step, state in enumerate(states):
        batches = make_batches(source, workers=2 - workers)
        batches.restore(json.loads(json.dumps(state)))
        rest = []
        while batches.epoch < 2:
            assert len(batches) == 3 - (step % 3 if batches.epoch == step // 3 else 0)
            rest += list(batches)
            batches.on_epoch_end()
        assert_equal(rest, expected[step:])


@pytest.mark.one_backend
def test_a_state_of_steps_that_are_counted_does_not_depend_on_what_was_read(source):
    batches = make_batches(source)
    batches.epoch = 4
    list(batches)
    assert batches.state(batch=2) == {**make_batches(source).state(), "epoch": 4, "batch": 2}
    again = make_batches(source)
    again.restore(batches.state(batch=2))
    assert again.state(batch=1) == {**batches.state(), "epoch": 5, "batch": 0}


@pytest.mark.one_backend
def test_a_state_of_other_batches_is_refused_and_what_differs_is_named(source):
    state = make_batches(source).state()
    message = r"other batches: seed 3 instead of 4, drop_remainder False instead of True\."
    with pytest.raises(ValueError, match=message):
        make_batches(source, seed=4, drop_remainder=True).restore(state)


def test_fit_goes_on_within_an_epoch(tmp_path, write_npz):
    write_npz(tmp_path, "train", count=24)
    source = open_source(tmp_path, "train")
    steps = []

    def model_and_weights():
        model = keras.Sequential([keras.layers.Input((5, 7, 2)), keras.layers.Flatten()])
        model.add(keras.layers.Dense(2, kernel_initializer="zeros"))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss)
        return model

    def fit(model, batches, epoch, epochs):
        count = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda step, logs: steps.append(step)
        )
        options = {"initial_epoch": epoch, "epochs": epochs, "shuffle": False, "verbose": 0}
        model.fit(batches, callbacks=[SetEpoch(batches), count], **options)
        return [np.array(weight) for weight in model.get_weights()]

    options = {"labelled": True, "shuffle": True}
    straight = model_and_weights()
    expected = fit(straight, ImageBatches(source, (5, 7), 4, **options), 0, 3)
    # The same, but stopped after two of the six batches of the second epoch.
    stopped = model_and_weights()
    batches = ImageBatches(source, (5, 7), 4, **options)
    fit(stopped, batches, 0, 1)
    batches.epoch = 1
    for index in range(2):
        stopped.train_on_batch(*batches[index])
    resumed = ImageBatches(source, (5, 7), 4, workers=2, **options)
    resumed.restore(batches.state(batch=2))
    with pytest.raises(ValueError, match="takes 4 of 6 batches in epoch 2.*alone .epochs=2."):
        fit(model_and_weights(), resumed, 1, 3)
    steps.clear()
    fit(stopped, resumed, 1, 2)
    found = fit(stopped, resumed, 2, 3)
    assert steps == [*range(4), *range(6)]
    for one, other in zip(found, expected, strict=True):
        # The same steps on the same batches; single batches may be compiled apart.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.one_backend
@pytest.mark.parametrize("sampling", [None, "balanced"])
@pytest.mark.parametrize("count", [2, 4])
def test_the_batches_of_all_shards_are_the_batches_of_the_whole(source, count, sampling):
    options = {"batch_transforms": [], "sampling": sampling, "drop_remainder": count == 4}
    whole = two_epochs(make_batches(source, **options))
    shards = [
        two_epochs(make_batches(source, **options, shard=(index, count), workers=index % 2))
        for index in range(count)
    ]
    assert {len(images) for images, _ in shards[1]} <= {4 // count, 1, 2}
    joined = [
        [np.concatenate(parts) for parts in zip(*batch, strict=True)]
        for batch in zip(*shards, strict=True)
    ]
    assert_equal(joined, whole)


@pytest.mark.one_backend
def test_a_state_may_be_restored_with_another_number_of_shards(source):
    options = {"batch_transforms": []}
    expected = two_epochs(make_batches(source, **options))
    batches = make_batches(source, **options, shard=(1, 2))
    list(batches)
    whole = make_batches(source, **options)
    whole.restore(batches.state())
    assert_equal(list(whole), expected[3:])


@pytest.mark.one_backend
def test_shards_draw_the_same_what_is_of_a_batch(source):
    draws = []

    def transform(images, labels, rng):
        draws.append(rng.random())
        return images, labels

    for index in range(2):
        list(make_batches(source, batch_transforms=[transform], shard=(index, 2)))
    assert draws[:3] == draws[3:] and len(set(draws)) == 3


def test_parts_are_mixed_as_the_whole_batch(source):
    options = {"batch_transforms": [Mixing()], "shuffle": True, "drop_remainder": True}
    for whole, *parts in zip(
        make_batches(source, **options),
        *(make_batches(source, shard=(index, 2), **options) for index in range(2)),
        strict=True,
    ):
        for place, expected in enumerate(whole):
            np.testing.assert_array_equal(np.concatenate([p[place] for p in parts]), expected)


def test_an_evaluation_in_parts_is_filled_up_and_knows_the_labels_of_all(source):
    plain = {"transforms": [], "normalised_transforms": [], "batch_transforms": []}
    with pytest.raises(ValueError, match="without `batch_transforms`"):
        make_batches(source).filled_part((0, 2), fill_to=4)
    with pytest.raises(ValueError, match="a part of 3 images has one over"):
        ImageBatches(source, (5, 7), 6, labelled=True, shard=(0, 2), batch_transforms=[Mixing()])
    whole = make_batches(source, shuffle=False, **plain)
    parts = [whole.filled_part((index, 2), fill_to=4) for index in range(2)]
    for place in range(len(whole)):
        images, labels = whole[place]
        both = np.concatenate([part[place][0] for part in parts])
        assert len(both) % 4 == 0 and len(parts[0][place][0]) == len(parts[1][place][0])
        np.testing.assert_array_equal(both[: len(images)], images)
        filling = both[len(images) :]
        np.testing.assert_array_equal(filling, images[-1:].repeat(len(filling), 0))
        np.testing.assert_array_equal(whole.labels_of(place), labels)
