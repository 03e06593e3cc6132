"""A response of one's own: registered here, trained on both paths, saved and loaded."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers import responses
from tests.reference.both_paths import assert_equal_on_both_paths
from tests.reference.compute import compute
from tests.reference.gradients import gradients_of
from tests.reference.random_weights import randomize


@responses.register("centred")
@keras.saving.register_keras_serializable(package="tests")
class Centred(keras.layers.Layer):
    """x - scale / 2 * mean over the visible positions of the image."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, x, region):
        mean = region.sum(x) / region.count(x)
        # Half of it: what is centred whole has no gradient by a bias before it but rounding.
        return x - 0.5 * self.scale * keras.ops.cast(mean, x.dtype)


SPECS = {
    "none": kc.BlockSpec("none"),
    "centred, layer scale": kc.BlockSpec("centred", layer_scale=0.5),
    "grn, layer scale": kc.BlockSpec(layer_scale=0.5),
}


def variant(spec):
    return kc.Variant((1, 1, 2, 1), (4, 6, 8, 12), block=spec)


def make_pair(spec):
    """Two FCMAEs that share a backbone and a decoder's weights, one for each path."""
    backbone = kc.ConvNeXtV2Backbone(variant(spec), (16, 24, 3), stem_stride=1)
    pair = [kc.FCMAE(backbone, decoder_width=8, encoder_path=path) for path in ("visible", "dense")]
    randomize(pair[0], np.random.default_rng(1))
    pair[1].set_weights(pair[0].get_weights())
    return pair


@pytest.mark.parametrize(
    "name",
    [
        "centred, layer scale",
        *(pytest.param(n, marks=pytest.mark.one_backend) for n in ("none", "grn, layer scale")),
    ],
)
def test_loss_and_every_gradient_are_equal_on_both_paths(rng, name):
    images = rng.normal(size=(3, 16, 24, 3)).astype("float32")
    assert_equal_on_both_paths(make_pair(SPECS[name]), images)


def test_it_trains_is_saved_and_loaded(rng, tmp_path):
    fcmae, _ = make_pair(SPECS["centred, layer scale"])
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    fcmae.compile(optimizer=keras.optimizers.SGD(0.1))
    before = fcmae.backbone.get_layer("stage2_block1").response.scale.numpy()
    losses = fcmae.fit(images, batch_size=4, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert (fcmae.backbone.get_layer("stage2_block1").response.scale.numpy() != before).all()

    fcmae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    block = loaded.backbone.get_layer("stage2_block1")
    assert isinstance(block.response, Centred) and block.layer_scale is not None
    assert loaded.backbone.variant == variant(SPECS["centred, layer scale"])
    clone = keras.models.clone_model(loaded.backbone)
    clone.set_weights(loaded.backbone.get_weights())
    for model in (loaded.backbone, clone):
        np.testing.assert_array_equal(compute(model, images), compute(fcmae.backbone, images))


def test_an_image_that_is_all_hidden_has_finite_gradients(rng):
    block = kc.ConvNeXtV2Block(4, spec=kc.BlockSpec("centred"))
    x = rng.normal(size=(2, 4, 6, 4)).astype("float32")
    block.build(x.shape)
    randomize(block, rng)
    hidden = np.array([[[1, 1, 1], [1, 1, 1]], [[1, 0, 1], [0, 1, 1]]], "int32")
    visible = 1 - np.kron(hidden, np.ones((1, 2, 2)))[..., None]
    visible = keras.ops.convert_to_tensor(visible.astype("float32"))
    gradients = gradients_of(
        lambda: keras.ops.sum(block(x, hidden=hidden) * visible), block.trainable_weights
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_subclass_of_grn_is_not_computed_as_grn(rng):
    @responses.register("half of GRN")
    class Half(kc.GlobalResponseNormalization):
        def call(self, x, region=None, hidden=None):
            return 0.5 * super().call(x, region, hidden)

    x = rng.normal(size=(2, 3, 4, 4)).astype("float32")
    blocks = [kc.ConvNeXtV2Block(4, spec=kc.BlockSpec(name)) for name in ("grn", "half of GRN")]
    for block in blocks:
        block.build(x.shape)
        randomize(block, np.random.default_rng(2))
        block.project.bias.assign(np.zeros(4))
    whole, half = (compute(block, x) - x for block in blocks)
    np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-4, atol=1e-5)  # float32


def test_a_layer_scale_starts_a_block_as_near_to_the_identity_as_it_says(rng):
    block = kc.ConvNeXtV2Block(4, spec=kc.BlockSpec("none", layer_scale=1e-6))
    x = rng.normal(size=(2, 3, 4, 4)).astype("float32")
    block.build(x.shape)
    scale = block.layer_scale.gamma.numpy()
    randomize(block, rng)
    block.layer_scale.gamma.assign(scale)
    np.testing.assert_allclose(compute(block, x), x, atol=1e-4)
    block.layer_scale.gamma.assign(np.ones(4))
    assert np.abs(compute(block, x) - x).max() > 0.1


@pytest.mark.one_backend
def test_an_unknown_response_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="one of grn, none.*Received: 'lnr'.*responses.register"):
        kc.ConvNeXtV2Backbone(variant(kc.BlockSpec("lnr")), (16, 24, 3), stem_stride=1)


@pytest.mark.one_backend
def test_a_name_stands_for_one_class():
    with pytest.raises(ValueError, match="'grn' is GlobalResponseNormalization already"):
        responses.register("grn")(Centred)


@pytest.mark.one_backend
@pytest.mark.parametrize("spec", [{"response": 3}, {"layer_scale": "1e-6"}, {"layer_scale": True}])
def test_a_bad_spec_is_refused(spec):
    with pytest.raises(ValueError, match="Received: "):
        kc.BlockSpec(**spec)
