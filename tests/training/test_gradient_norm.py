"""The gradient norm that a classifier's `fit` reports."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.gradients import gradients_of

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make_classifier(**options):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1, **options)
    return kc.ConvNeXtV2Classifier(backbone, 3, head_init_scale=1.0)


@pytest.fixture
def data(rng):
    return rng.normal(size=(6, 16, 24, 3)).astype("float32"), np.arange(6) % 3


def norm_of(classifier, images, labels, weights):
    def loss():
        outputs = classifier(images, training=True)
        return CROSS_ENTROPY(labels, outputs, sample_weight=weights)

    gradients = gradients_of(loss, classifier.trainable_weights)
    return np.sqrt(sum((gradient.astype("float64") ** 2).sum() for gradient in gradients))


def test_it_is_the_mean_over_the_steps_of_the_norm_of_all_gradients(data):
    images, labels = data
    classifier = make_classifier()
    classifier.backbone.get_layer("stem").trainable = False
    weights = np.array([1.0, 2.0, 4.0], "float32")
    parts = [slice(0, 4), slice(4, 6)]
    expected = np.mean(
        [norm_of(classifier, images[part], labels[part], weights[labels[part]]) for part in parts]
    )
    # A rate of 0: each step has the gradients of the weights of now. Clipping comes after.
    optimizer = keras.optimizers.SGD(0.0, global_clipnorm=1e-3)
    classifier.compile(optimizer=optimizer, loss=CROSS_ENTROPY)
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0, "epochs": 2}
    history = classifier.fit(
        images, labels, class_weight=dict(enumerate(weights.tolist())), **fit
    ).history
    assert history["gradient_norm"] == pytest.approx([expected] * 2, rel=1e-4)


def test_loss_and_metrics_are_those_of_evaluation(data):
    images, labels = data
    classifier = make_classifier()
    metrics = {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    classifier.compile(optimizer=keras.optimizers.SGD(0.0), loss=CROSS_ENTROPY, **metrics)
    weights = np.array([1, 1, 2, 3, 1, 4], "float32")
    fit = {"batch_size": 4, "sample_weight": weights, "verbose": 0}
    validation = (images, labels, weights)
    history = classifier.fit(images, labels, validation_data=validation, **fit).history
    evaluated = classifier.evaluate(images, labels, return_dict=True, **fit)
    assert set(evaluated) == {"loss", "accuracy", "weighted_accuracy"}
    assert set(history) == {*evaluated, "gradient_norm", *(f"val_{name}" for name in evaluated)}
    for name, value in evaluated.items():
        assert history[name] == pytest.approx([value], rel=1e-5), name
        assert history[f"val_{name}"] == pytest.approx([value], rel=1e-5), name


def test_a_regularized_head_is_in_the_loss_of_both(data):
    images, labels = data
    classifier = make_classifier()
    head = classifier.get_layer("head")
    head.activity_regularizer = keras.regularizers.L2(0.5)
    head.kernel.regularizer = keras.regularizers.L2(0.5)
    classifier.compile(optimizer=keras.optimizers.SGD(0.0), loss=CROSS_ENTROPY)
    history = classifier.fit(images, labels, batch_size=6, verbose=0).history
    alone = float(CROSS_ENTROPY(labels, classifier.predict(images, verbose=0)))
    assert history["loss"][0] > alone + 1e-3
    assert history["loss"][0] == pytest.approx(
        classifier.evaluate(images, labels, batch_size=6, verbose=0), rel=1e-5
    )


def test_float16_tells_it_without_the_scale_of_the_loss(data):
    images, labels = data
    classifier, same = make_classifier(), make_classifier(dtype="mixed_float16")
    same.set_weights(classifier.get_weights())
    histories = []
    # A scale at which nothing overflows, whatever the first weights are.
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), initial_scale=256.0)
    for model, optimizer in ((classifier, keras.optimizers.SGD(0.0)), (same, scaled)):
        model.compile(optimizer=optimizer, loss=CROSS_ENTROPY)
        histories.append(model.fit(images, labels, batch_size=6, verbose=0).history)
    expected, told = (history["gradient_norm"][0] for history in histories)
    assert told == pytest.approx(expected, rel=0.05)  # float16 has 11 bits


def test_a_model_with_nothing_to_train_is_keras_own_matter(data):
    images, labels = data
    classifier = make_classifier()
    classifier.trainable = False
    classifier.compile(optimizer="sgd", loss=CROSS_ENTROPY)
    if keras.backend.backend() == "jax":  # whose step asks for gradients in any case
        history = classifier.fit(images, labels, verbose=0).history
    else:
        with pytest.warns(UserWarning, match="does not have any trainable weights"):
            history = classifier.fit(images, labels, verbose=0).history
    assert "gradient_norm" not in history
