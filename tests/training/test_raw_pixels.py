"""Images that are pixels still are warned of once, in whatever form they come."""

import warnings

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
LOOKS_LIKE_PIXELS = r"The images look like pixels: (float32|uint8) of \d"


def make_backbone():
    return kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1)


def make_fcmae():
    fcmae = kc.FCMAE(make_backbone(), decoder_width=8)
    fcmae.compile()
    return fcmae


@pytest.fixture(scope="module")
def compiled():
    """An FCMAE that all tests share, since compiling its step takes seconds, and how it starts."""
    fcmae = make_fcmae()
    fcmae.optimizer.build(fcmae.trainable_variables)
    variables = [*fcmae.variables, *fcmae.optimizer.variables]
    return fcmae, variables, [variable.numpy() for variable in variables]


@pytest.fixture
def start_again(compiled):
    """Gives the shared FCMAE as it was when it was made."""

    def start(has_warned=False):
        fcmae, variables, values = compiled
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        fcmae._has_warned_of_pixels = has_warned
        return fcmae

    return start


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (4, 16, 24, 3)).astype("float32")


class Sequence(keras.utils.PyDataset):
    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return (self.images,)


def dataset(images):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(images).batch(2)


def generator(images):
    yield (images[:2],)
    yield (images[2:],)


def loader(images):
    import torch

    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.as_tensor(images)), 2)


FORMS = {
    "array": lambda images: images,
    "masks": lambda images: {"images": images, "hidden": np.eye(2, 3)[None].repeat(4, 0)},
    "sequence": Sequence,
    "dataset": dataset,
    "generator": generator,
    "loader": loader,
}


# Of a data set of TensorFlow and of a generator Keras makes other iterators on each backend.
ON_EACH = ("array", "dataset", "generator")
EACH_FORM = [
    pytest.param(form, marks=() if form in ON_EACH else pytest.mark.one_backend) for form in FORMS
]


@pytest.mark.parametrize("form", EACH_FORM)
def test_pretraining_on_pixels_is_warned_of_once(form, pixels, start_again):
    fcmae = start_again()
    with pytest.warns(UserWarning, match=LOOKS_LIKE_PIXELS) as caught:
        fcmae.fit(FORMS[form](pixels), verbose=0)
        fcmae.fit(FORMS[form](pixels), verbose=0)
    assert len([w for w in caught if "look like pixels" in str(w.message)]) == 1


@pytest.mark.parametrize("form", EACH_FORM)
def test_nothing_is_said_of_normalised_images_and_nothing_lost(form, pixels, start_again):
    images = kc.preprocess(pixels.astype("uint8"))
    results = []
    for has_warned in (False, True):  # then it looks no more
        fcmae = start_again(has_warned)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="The images look like pixels")
            history = fcmae.fit(FORMS[form](images), shuffle=False, verbose=0)
        results.append((int(fcmae.step.numpy()), history.history["loss"]))
    assert results[0] == results[1]
    assert results[0][0] > 0


def test_a_classifier_given_uint8_is_told(pixels):
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), 3)
    classifier.predict(kc.preprocess(pixels.astype("uint8")), verbose=0)  # which is as it should
    with pytest.warns(UserWarning, match="look like pixels: uint8 of 0 to 255"):
        classifier.predict(pixels.astype("uint8"), verbose=0)


def test_a_data_set_that_reads_is_looked_at_once(rng, start_again):
    class Counting(Sequence):
        num_read = 0

        def __getitem__(self, index):
            self.num_read += 1
            return super().__getitem__(index)

    sequence, fcmae = Counting(rng.normal(size=(4, 16, 24, 3)).astype("float32")), start_again()
    counts = []
    for _ in range(3):
        before = sequence.num_read
        fcmae.evaluate(sequence, verbose=0)
        counts.append(sequence.num_read - before)
    assert counts[1] == counts[2] == counts[0] - 1


def test_looking_draws_nothing(rng, start_again):
    class Drawing(Sequence):
        def __getitem__(self, index):
            return (self.images + np.random.normal(size=self.images.shape),)

    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    drawn = []
    for has_warned in (False, True):
        np.random.seed(1)
        fcmae = start_again(has_warned)
        fcmae.fit(Drawing(images), verbose=0)
        drawn.append(np.random.normal())
    assert drawn[0] == drawn[1]


def test_a_generator_that_is_validated_on_gives_as_many_batches_as_are_evaluated():
    taken = []

    def validation():
        while True:
            taken.append(None)
            yield np.zeros((2, 16, 24, 3), "float32"), np.array([0, 1])

    class Count(keras.callbacks.Callback):
        counts = []

        def on_test_end(self, logs=None):
            self.counts.append(len(taken))

    def train(model):
        taken.clear()
        counting = Count()
        counting.counts = []
        options = {"validation_steps": 3, "epochs": 3, "verbose": 0, "callbacks": [counting]}
        images, labels = np.zeros((4, 16, 24, 3), "float32"), np.array([0, 1, 0, 1])
        model.fit(images, labels, validation_data=validation(), **options)
        return counting.counts

    plain = keras.Sequential(
        [keras.Input((16, 24, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile("sgd", loss)
    classifier = kc.ConvNeXtV2Classifier(make_backbone(), 2)
    classifier.compile("sgd", loss)
    assert train(classifier) == train(plain)
