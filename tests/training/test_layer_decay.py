"""Layer-wise decay of the learning rate: which weight has which scale, and what it does."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.training.layer_decay import rate_scales
from keras_convnextv2.training.optimizers import KernelDecayAdamW, adamw
from tests.reference.apply_gradients import apply_to, compiled_step
from tests.reference.random_weights import randomize

# Written by hand after the official code: the power of .9 for each layer of atto, "single".
ATTO_POWERS = {
    "stem": 12,
    "stage0_block0": 12,
    "stage0_block1": 11,
    "stage1_downsample": 10,
    "stage1_block0": 10,
    "stage1_block1": 9,
    "stage2_downsample": 8,
    "stage2_block0": 8,
    "stage2_block1": 7,
    "stage2_block2": 6,
    "stage2_block3": 5,
    "stage2_block4": 4,
    "stage2_block5": 3,
    "stage3_downsample": 2,
    "stage3_block0": 2,
    "stage3_block1": 1,
    "norm": 0,
    "head": 0,
}
# The power of .6 for each layer of base, "group".
BASE_POWERS = {
    "stem": 13,
    **dict.fromkeys(["stage0_block0", "stage0_block1", "stage0_block2"], 12),
    **dict.fromkeys(["stage1_downsample", "stage1_block0", "stage1_block1", "stage1_block2"], 11),
    **dict.fromkeys(["stage2_downsample", "stage2_block0", "stage2_block1", "stage2_block2"], 10),
    **dict.fromkeys(["stage2_block3", "stage2_block4", "stage2_block5"], 9),
    **dict.fromkeys(["stage2_block6", "stage2_block7", "stage2_block8"], 8),
    **dict.fromkeys(["stage2_block9", "stage2_block10", "stage2_block11"], 7),
    **dict.fromkeys(["stage2_block12", "stage2_block13", "stage2_block14"], 6),
    **dict.fromkeys(["stage2_block15", "stage2_block16", "stage2_block17"], 5),
    **dict.fromkeys(["stage2_block18", "stage2_block19", "stage2_block20"], 4),
    **dict.fromkeys(["stage2_block21", "stage2_block22", "stage2_block23"], 3),
    **dict.fromkeys(["stage2_block24", "stage2_block25", "stage2_block26"], 2),
    **dict.fromkeys(["stage3_downsample", "stage3_block0", "stage3_block1", "stage3_block2"], 1),
    "norm": 0,
    "head": 0,
}
TABLES = {"atto": ("single", 0.9, ATTO_POWERS), "base": ("group", 0.6, BASE_POWERS)}
TINY = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))


def make_classifier(variant=TINY, **options):
    backbone = kc.ConvNeXtV2Backbone(variant, image_shape=(32, 32, 3), **options)
    return kc.ConvNeXtV2Classifier(backbone, 3)


def layers_of(classifier):
    return {layer.name: layer for layer in [*classifier.backbone.layers, *classifier.layers]}


def assert_scales(scale_of, classifier, decay, powers):
    """Every trainable weight is in the table, by the layer that has it."""
    layers, seen = layers_of(classifier), 0
    for name, power in powers.items():
        for weight in layers[name].trainable_weights:
            assert scale_of(weight) == pytest.approx(decay**power, rel=1e-12), weight.path
            seen += 1
    assert seen == len(classifier.trainable_weights)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", TABLES)
def test_the_scales_are_those_of_the_table_by_hand(name, without_weights):
    groups, decay, powers = TABLES[name]
    classifier = make_classifier(name)
    scales = rate_scales(classifier, decay, groups)
    of_weights = dict(zip(map(id, classifier.trainable_variables), scales, strict=True))
    assert_scales(lambda weight: of_weights[id(weight)], classifier, decay, powers)


@pytest.mark.parametrize(
    ("name", "steps", "loss_scale"),
    [("atto", 1, None), ("atto", 2, 8.0), ("base", 1, None), ("base", 2, None)],
)
def test_each_weight_moves_and_decays_by_its_scale(name, steps, loss_scale, fast_paths):
    groups, decay, powers = TABLES[name]
    depths = kc.VARIANTS[name].depths
    classifier = make_classifier(kc.Variant(depths, (2, 2, 2, 2)))
    for layer in classifier.backbone.layers:
        if isinstance(layer, kc.ConvNeXtV2Block):  # of each a kernel and a bias, for JAX's sake
            for part in (layer.depthwise, layer.norm, layer.expand, layer.response):
                part.trainable = False
    randomize(classifier, np.random.default_rng(0))
    weights = classifier.trainable_weights
    optimizer = adamw(
        classifier,
        learning_rate=0.1,
        weight_decay=0.2,
        layer_decay=decay,
        layer_decay_groups=groups,
        accumulation_steps=steps,
    )
    if loss_scale is not None:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=loss_scale)
        optimizer.build(weights)
    before = {id(weight): weight.numpy() for weight in weights}
    step = compiled_step(optimizer)
    # Their mean is one, whatever the number of batches.
    for value in {1: [1.0], 2: [0.25, 1.75]}[steps]:
        gradient = [keras.ops.full(weight.shape, value * (loss_scale or 1.0)) for weight in weights]
        apply_to(optimizer, gradient, weights, step)
    layers = layers_of(classifier)
    for layer, power in powers.items():
        rate = 0.1 * decay**power
        for weight in layers[layer].trainable_weights:
            decayed = 1 - 0.2 * rate if len(weight.shape) > 1 else 1.0
            # Adam's first step is the rate where a gradient is one. float32 knows 1 - beta_2, which
            # is .001, to 6e-5 of it, and each weight to 2e-7.
            expected = decayed * before[id(weight)] - rate
            np.testing.assert_allclose(weight.numpy(), expected, rtol=2e-7, atol=2e-7 + 6e-5 * rate)


def test_the_faster_updates_are_the_plain_ones(rng, fast_paths):
    """Through steps of random gradients, with all that an update may have."""
    ends = []
    steps = None
    for paths in ("auto", "off"):
        kc.set_fast_paths(paths)
        classifier = make_classifier()
        randomize(classifier, np.random.default_rng(0))
        weights = classifier.trainable_weights
        options = {"layer_decay": 0.5, "clip_norm": 0.7, "ema_momentum": 0.6}
        optimizer = adamw(classifier, 0.1, 0.2, accumulation_steps=2, **options)
        steps = steps or [[rng.normal(size=weight.shape) for weight in weights] for _ in range(4)]
        step = compiled_step(optimizer)
        for values in steps:
            gradients = [keras.ops.convert_to_tensor(value, "float32") for value in values]
            apply_to(optimizer, gradients, weights, step)
        ends.append([variable.numpy() for variable in [*weights, *optimizer.variables]])
    for fast, plain in zip(*ends, strict=True):
        # The same formula in another order; float32 over two updates of at most .1.
        np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=2e-6)


def test_a_frozen_layer_changes_no_other_scale_and_a_file_keeps_them(tmp_path, rng):
    classifier = make_classifier(stem_stride=1)
    powers = {"stem": 4, "stage0_block0": 4, "stage1_downsample": 3, "stage1_block0": 3}
    powers |= {"stage2_downsample": 2, "stage2_block0": 2, "stage3_downsample": 1}
    powers |= {"stage3_block0": 1, "norm": 0, "head": 0}
    classifier.backbone.get_layer("stem").trainable = False
    classifier.backbone.get_layer("stage2_block0").trainable = False
    classifier.compile(
        adamw(classifier, 0.1, 0.2, layer_decay=0.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    assert_scales(classifier.optimizer.rate_scale, classifier, 0.5, powers)
    images = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    stem = classifier.backbone.get_layer("stem").get_weights()
    classifier.fit(images, np.array([0, 2]), verbose=0)
    for weight, expected in zip(
        classifier.backbone.get_layer("stem").get_weights(), stem, strict=True
    ):
        np.testing.assert_array_equal(weight, expected)
    classifier.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.rate_scales == classifier.optimizer.rate_scales
    assert_scales(loaded.optimizer.rate_scale, loaded, 0.5, powers)


@pytest.mark.one_backend
def test_a_pretraining_model_has_its_decoder_at_the_full_rate(make_fcmae):
    fcmae = make_fcmae()
    optimizer = adamw(fcmae, 0.1, 0.05, layer_decay=0.5)
    assert {optimizer.rate_scale(weight) for weight in fcmae.decoder.trainable_weights} == {1.0}
    last = fcmae.backbone.get_layer("stage3_block0").trainable_weights
    assert {optimizer.rate_scale(weight) for weight in last} == {0.5}


@pytest.mark.one_backend
def test_without_it_every_scale_is_one():
    classifier = make_classifier()
    optimizer = adamw(classifier, 0.1, 0.05)
    assert optimizer.rate_scale(classifier.trainable_weights[0]) == 1.0
    assert "rate_scales" not in optimizer.get_config()


@pytest.mark.one_backend
def test_groups_end_at_thirty_blocks_of_the_third_stage(without_weights):
    make_classifier(kc.Variant((1, 1, 30, 1), (2, 2, 2, 2)))
    classifier = make_classifier(kc.Variant((1, 1, 31, 1), (2, 2, 2, 2)))
    with pytest.raises(ValueError, match="groups for 30 blocks.*a model of 31. Use 'single'"):
        rate_scales(classifier, 0.6, "group")


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_decay": 0.0}, r"`layer_decay` must be in \(0, 1\]. Received: 0.0"),
        ({"layer_decay": 1.5}, r"`layer_decay` must be in \(0, 1\]. Received: 1.5"),
        ({"layer_decay": 0.9, "layer_decay_groups": "stage"}, "must be one of .*Received: 'stage'"),
        ({"clip_norm": 0}, "`clip_norm` must be positive. Received: 0"),
        ({"ema_momentum": 1.0}, r"`ema_momentum` must be in \[0, 1\). Received: 1.0"),
        ({"accumulation_steps": 0}, "`accumulation_steps` must be an int of at least 1. Rec.*: 0"),
        ({"accumulation_steps": 2.5}, "`accumulation_steps` must be an int of at least 1."),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        adamw(make_classifier(), 0.1, 0.05, **options)


@pytest.mark.one_backend
def test_a_model_of_unknown_layers_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="other layers are not known. Received: <Sequential"):
        adamw(model, 0.1, 0.05, layer_decay=0.9)


@pytest.mark.one_backend
def test_scales_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be positive floats. Received: 0.0"):
        KernelDecayAdamW(0.1, rate_scales=[1.0, 0.0])
    optimizer = KernelDecayAdamW(0.1, rate_scales=[1.0, 0.5])
    with pytest.raises(
        ValueError, match="one for each trainable weight. Received: 2 for a model of 1"
    ):
        optimizer.build([keras.Variable(np.ones(3, "float32"))])
    with pytest.raises(ValueError, match="`ema_overwrite_frequency` counts batches"):
        KernelDecayAdamW(
            0.1, use_ema=True, ema_overwrite_frequency=3, gradient_accumulation_steps=2
        )
