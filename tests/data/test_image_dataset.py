import keras
import numpy as np
import pytest

import keras_convnextv2 as kc


@pytest.fixture
def folder(tmp_path, write_image):
    """Two classes of 10 images, of which every fifth is test."""
    for name, seed in (("bolt", 0), ("nut", 100)):
        for number in range(10):
            write_image(tmp_path / name / f"{number}.png", (5, 7), seed=seed + number)
    return tmp_path


def images_of(batches):
    return {image.tobytes() for images, *_ in batches for image in images}


@pytest.mark.one_backend
def test_train_validation_and_test_are_apart_and_together_all_there_is(folder):
    options = {"validation_fraction": 0.25, "batch_size": 3}
    parts = [
        images_of(kc.data.image_dataset(folder, (5, 7), split=split, **options))
        for split in ("train", "validation", "test")
    ]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert len(parts[0] | parts[1] | parts[2]) == 20


@pytest.mark.one_backend
def test_training_images_alone_are_shuffled_and_options_reach_the_batches(folder):
    train = kc.data.image_dataset(folder, 6, seed=3, transforms=[lambda image, rng: image * 0])
    assert train.shuffle and train.seed == 3 and train.image_size == (6, 6)
    assert len(images_of(train)) == 1  # all black
    test = kc.data.image_dataset(folder, kc.data.Cover((4, 9)), split="test", labelled=False)
    assert not test.shuffle
    ((images,),) = test
    assert images.shape == (4, 4, 9, 3)
    with pytest.raises(kc.data.ImageSourceError, match="`split` must be 'train', 'validation' or"):
        kc.data.image_dataset(folder, 6, split="dev", validation_fraction=0.2)


def test_fit_evaluate_and_predict_take_it(folder):
    train = kc.data.image_dataset(folder, (5, 7), 4, validation_fraction=0.25)
    validation = kc.data.image_dataset(
        folder, (5, 7), 4, split="validation", validation_fraction=0.25
    )
    model = keras.Sequential([keras.layers.Input((5, 7, 3)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(len(train.source.class_names)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Twelve random pictures of 105 values each are told apart by a linear layer.
    model.compile(optimizer=keras.optimizers.SGD(0.02), loss=loss)
    callbacks = [kc.data.SetEpoch(train)]
    options = {"epochs": 8, "shuffle": False, "verbose": 0, "callbacks": callbacks}
    history = model.fit(train, validation_data=validation, **options).history
    assert history["loss"][-1] < history["loss"][0] / 2
    assert np.isfinite(history["val_loss"]).all()
    assert model.predict(validation, verbose=0).shape == (4, 2)
