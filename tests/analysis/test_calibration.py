"""The temperature under which labels are likeliest, kept with a classifier."""

import json
import zipfile

import keras
import numpy as np
import pytest
from scipy import optimize, special, stats

import keras_convnextv2 as kc
from keras_convnextv2 import analysis
from keras_convnextv2.models.probabilities import probabilities_of
from tests.reference.small_files import small_classifier


def overconfident(several, scale, count=500):
    """Logits that are `scale` times as large as those that the labels were drawn by."""
    generator = np.random.default_rng(0)
    true = generator.normal(size=(count, 6))
    if several:
        labels = generator.random(true.shape) < special.expit(true)
    else:
        # The largest of logits and Gumbel noise is drawn by their softmax.
        labels = (true + generator.gumbel(size=true.shape)).argmax(1)
    return scale * true, labels


def loss(logits, labels, temperature, several):
    """The mean negative log-likelihood by scipy."""
    scores = logits / temperature
    if several:
        return -special.log_expit(np.where(labels, scores, -scores)).mean()
    return -special.log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.one_backend
@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_the_temperature_is_scipys_optimum_lowers_the_loss_and_keeps_the_first_class(
    several, scale
):
    logits, labels = overconfident(several, scale)
    found = analysis.fit_temperature(logits.astype("float32"), labels)
    expected = optimize.minimize_scalar(
        lambda log: loss(logits, labels, np.exp(log), several),
        bounds=np.log([1e-2, 1e2]),
        method="bounded",
        options={"xatol": 1e-8},
    )
    gain = loss(logits, labels, 1, several) - expected.fun
    # Of the logits that the labels were drawn by, what is left to gain is chance.
    assert (2 * labels.size * gain < stats.chi2.ppf(0.95, df=1)) == (scale == 1)
    if scale == 1:
        assert found == 1
    # A minimum found by values of the function is known to the root of their rounding.
    np.testing.assert_allclose(found, 1 if scale == 1 else np.exp(expected.x), rtol=1e-6)
    assert abs(found / scale - 1) < 0.25  # of some 500 labels, whose likelihood is that wide
    assert loss(logits, labels, found, several) <= loss(logits, labels, 1, several)
    after = probabilities_of(logits, found, several)
    np.testing.assert_array_equal(after.argmax(1), logits.argmax(1))
    # float32 of probabilities that were computed in float64.
    reported = analysis.negative_log_likelihood(after, labels)
    np.testing.assert_allclose(reported, loss(logits, labels, found, several), rtol=1e-6)
    assert analysis.fit_temperature(logits.astype("float32"), labels) == found


@pytest.mark.one_backend
def test_where_the_optimum_is_at_a_bound_the_temperature_is_1():
    logits = np.array([[3.0, -1.0], [2.0, 0.0], [-1.0, 1.0]])
    worse_than_chance = np.tile(logits, (50, 1)), np.tile([1, 1, 0], 50)
    assert analysis.fit_temperature(*worse_than_chance) == 1
    # 99 of 100 are right by .0001: p = .99 would be at T = .0001 / log 99, far below .01.
    logits = np.array([[1e-4, 0.0]] * 99 + [[0.0, 1e-4]])
    assert analysis.fit_temperature(logits, np.zeros(100, int)) == 1


@pytest.mark.one_backend
@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
def test_what_may_be_chance_is_none_and_where_it_begins_follows_from_chi_squared(several):
    # 3 of 4 images are right, each as sure as the sigmoid of 2.
    def images(quarters):
        logits = np.tile([[2.0]] if several else [[2.0, 0.0]], (4 * quarters, 1))
        wrong = np.arange(4 * quarters) % 4 == 0
        return logits, (~wrong)[:, None] if several else wrong.astype(int)

    def log_likelihood(p):
        return 3 * np.log(p) + np.log(1 - p)  # of four

    gain = log_likelihood(0.75) - log_likelihood(special.expit(2.0))
    enough = int(np.ceil(stats.chi2.ppf(0.95, df=1) / (2 * gain)))
    assert enough > 2
    assert analysis.fit_temperature(*images(enough - 1)) == 1
    # log 3 = 2 / T, to the tolerance of Newton's steps
    assert analysis.fit_temperature(*images(enough)) == pytest.approx(2 / np.log(3), rel=1e-9)


@pytest.mark.one_backend
@pytest.mark.parametrize("labels", [[0, 1], [[1, 0], [0, 1]]], ids=["one label", "several"])
def test_images_that_are_all_right_say_nothing_of_the_temperature(labels):
    assert analysis.fit_temperature([[2.0, -1.0], [-0.5, 0.5]], labels) == 1.0


@pytest.mark.one_backend
def test_probabilities_neither_overflow_nor_vanish():
    logits = np.array([[1e4, -1e4, 0.0]])
    np.testing.assert_array_equal(probabilities_of(logits), [[1, 0, 0]])
    np.testing.assert_array_equal(probabilities_of(logits, multi_label=True), [[1, 0, 0.5]])
    expected = special.softmax(logits / 5e3)
    # float32
    np.testing.assert_allclose(probabilities_of(logits, 5e3), expected, rtol=1e-6)


@pytest.fixture
def classifier(rng):
    classifier = small_classifier(rng)
    classifier.temperature = 1.75
    return classifier


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors"])
def test_a_file_says_it_and_a_model_that_loads_it_knows_it(classifier, name, tmp_path, rng):
    kc.save_weights(classifier, tmp_path / name)
    assert kc.from_preset(tmp_path / name).temperature == 1.75
    other = small_classifier(rng)
    kc.load_weights(other, tmp_path / name)
    assert other.temperature == 1.75
    assert kc.from_preset(tmp_path / name, num_classes=4).temperature == 1  # of another head


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors"])
def test_a_classifier_with_an_activation_takes_it_into_its_head(classifier, name, tmp_path, rng):
    kc.save_weights(classifier, tmp_path / name)
    softmax = kc.ConvNeXtV2Classifier(small_classifier(rng).backbone, 3, activation="softmax")
    kc.load_weights(softmax, tmp_path / name)
    images = rng.normal(size=(3, 8, 16, 3)).astype("float32")
    logits, found = (model.predict(images, verbose=0) for model in (classifier, softmax))
    # float32 through the network, twice
    np.testing.assert_allclose(found, classifier.probabilities(logits), rtol=1e-4, atol=1e-6)
    assert abs(found - special.softmax(logits, axis=1)).max() > 1e-3  # it matters
    assert softmax.temperature == 1


@pytest.mark.one_backend
def test_a_head_of_several_labels_is_no_softmax_and_changes_nothing(rng, tmp_path):
    path = tmp_path / "model.safetensors"
    several = kc.ConvNeXtV2Classifier(small_classifier(rng).backbone, 3, multi_label=True)
    several.temperature = 2
    kc.save_weights(several, path)
    softmax = kc.ConvNeXtV2Classifier(small_classifier(rng).backbone, 3, activation="softmax")
    before = softmax.get_weights()
    with pytest.raises(kc.WeightsError, match="several labels.*'softmax'.*with 'sigmoid'"):
        kc.load_weights(softmax, path)
    for old, new in zip(before, softmax.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert not softmax.multi_label
    sigmoid = kc.ConvNeXtV2Classifier(small_classifier(rng).backbone, 3, activation="sigmoid")
    kc.load_weights(sigmoid, path)
    kernels = [model.get_layer("head").get_weights()[0] for model in (sigmoid, several)]
    np.testing.assert_array_equal(kernels[0], kernels[1] / 2)


def test_keras_itself_keeps_it_in_files_and_configurations(classifier, tmp_path):
    several = type(classifier)(classifier.backbone, 3, multi_label=True)
    several.temperature = 0.5
    for model in (classifier, several):
        model.save(tmp_path / "model.keras")
        for copy in (
            keras.saving.load_model(tmp_path / "model.keras"),
            type(model).from_config(model.get_config()),
            kc.from_preset(tmp_path / "model.keras"),
        ):
            assert copy.temperature == model.temperature
            assert copy.multi_label == model.multi_label
    plain = type(classifier)(classifier.backbone, 3)
    assert plain.temperature == 1 and not plain.multi_label
    assert not {"temperature", "multi_label"} & set(plain.get_config())


def test_weights_of_which_a_file_says_nothing_have_none(classifier, tmp_path):
    classifier.save_weights(tmp_path / "model.weights.h5")
    kc.load_weights(classifier, tmp_path / "model.weights.h5")
    assert classifier.temperature == 1


@pytest.mark.one_backend
def test_that_images_have_several_labels_goes_along_with_weights(rng, tmp_path):
    path = tmp_path / "model.safetensors"
    several = kc.ConvNeXtV2Classifier(small_classifier(rng).backbone, 3, multi_label=True)
    kc.save_weights(several, path)
    assert kc.from_preset(path).multi_label
    other = small_classifier(rng)
    kc.load_weights(other, path)
    assert other.multi_label


def test_the_outputs_stay_as_they_are_and_probabilities_are_after_it(classifier, rng):
    images = rng.normal(size=(3, 8, 16, 3)).astype("float32")
    logits = classifier.predict(images, verbose=0)
    # float32
    expected = special.softmax(logits.astype("float64") / 1.75, axis=1)
    np.testing.assert_allclose(classifier.probabilities(logits), expected, rtol=1e-6)
    classifier.temperature = 1
    np.testing.assert_array_equal(classifier.predict(images, verbose=0), logits)
    softmax = kc.ConvNeXtV2Classifier(classifier.backbone, 3, activation="softmax")
    np.testing.assert_array_equal(softmax.probabilities(expected), expected.astype("float32"))


@pytest.mark.one_backend
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "2", None, [1.0]])
def test_what_is_no_temperature_is_refused(classifier, tmp_path, value):
    with pytest.raises(ValueError, match="A temperature is a finite number above 0.*Received"):
        classifier.temperature = value
    assert classifier.temperature == 1.75
    if value is None:  # in a file: it says none
        return
    path = tmp_path / "model.keras"
    classifier.save(path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    config["config"]["temperature"] = value
    entries["config.json"] = json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(kc.WeightsError, match="model.keras was refused: A temperature is"):
        kc.from_preset(path)


@pytest.mark.one_backend
def test_an_activation_has_no_temperature_and_softmax_has_not_several_labels(rng):
    backbone = small_classifier(rng).backbone
    model = kc.ConvNeXtV2Classifier(backbone, 3, activation="softmax")
    model.temperature = 1
    with pytest.raises(ValueError, match="A temperature divides logits.*'softmax'"):
        model.temperature = 2
    with pytest.raises(ValueError, match="`multi_label` is of a classifier.*'softmax'"):
        kc.ConvNeXtV2Classifier(backbone, 3, activation="softmax", multi_label=True)
    assert kc.ConvNeXtV2Classifier(backbone, 3, activation="sigmoid").multi_label
