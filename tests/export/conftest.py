import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import export_model
from tests.reference.random_weights import randomize

CLASS_NAMES = ("shirt", "shoe", "long sleeve", "日傘", "hat")


@pytest.fixture(scope="session")
def make_model():
    """Makes a small classifier, or a backbone without `num_classes`, with random weights."""

    def make(num_classes=5, image_shape=(None, None, 3), activation=None, dtype=None, **options):
        backbone = kc.ConvNeXtV2Backbone(
            options.pop("variant", kc.Variant((1, 1, 2, 1), (8, 12, 16, 24))),
            image_shape,
            dtype=dtype,
            **options,
        )
        backbone.licence = "cc-by-nc-4.0"
        model = backbone
        if num_classes is not None:
            model = kc.ConvNeXtV2Classifier(
                backbone,
                num_classes,
                activation=activation,
                class_names=CLASS_NAMES if num_classes == len(CLASS_NAMES) else None,
            )
        randomize(model, np.random.default_rng(7))
        return model

    return make


@pytest.fixture
def pixels():
    """uint8 images with a structure, so that classes differ: (24, 64, 96, 3)."""
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 256, (24, 4, 6, 3)).repeat(16, 1).repeat(16, 2)
    return np.clip(coarse + generator.normal(0, 8, coarse.shape), 0, 255).astype("uint8")


@pytest.fixture
def outputs_of():
    """The outputs of a Keras model for float images."""
    return lambda model, images: model.predict(images, verbose=0)


@pytest.fixture(scope="module")
def export(make_model, tmp_path_factory):
    """Exports a small classifier, once each: the artefact's path."""
    folder = tmp_path_factory.mktemp("artefacts")

    def make(name):
        if not (folder / name).exists():
            export_model(make_model(image_shape=(64, 96, 3)), folder / name)
        return folder / name

    return make


@pytest.fixture
def images(rng):
    return rng.normal(size=(2, 64, 96, 3)).astype("float32")
