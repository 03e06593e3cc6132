"""A decoder of one's own, called with the list of the stage outputs and their region."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.both_paths import assert_equal_on_both_paths
from tests.reference.compute import compute
from tests.reference.random_weights import randomize


@keras.saving.register_keras_serializable(package="tests")
class TwoStages(keras.layers.Layer):
    """From the last two stages, predicting the pixels of each position of the third.

    In training all that it predicts is larger by `in_training`.
    """

    def __init__(self, num_values, in_training=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_values = num_values
        self.in_training = in_training
        # Of 3x3: from visible positions to the hidden ones beside them.
        self.last, self.before = (
            keras.layers.Conv2D(num_values, 3, padding="same", data_format="channels_last")
            for _ in range(2)
        )

    def build(self, features_shape):
        self.before.build(features_shape[-2])
        self.last.build(features_shape[-1])

    def call(self, features, region, training=None):
        before = region.at(features[-2]).to_map(features[-2])  # (B, H / 4, W / 4, C)
        last = region.to_map(features[-1])  # (B, H / 8, W / 8, C)
        last = keras.ops.repeat(keras.ops.repeat(self.last(last), 2, axis=1), 2, axis=2)
        return self.before(before) + last + (self.in_training if training else 0.0)

    def get_config(self):
        own = {"num_values": self.num_values, "in_training": self.in_training}
        return {**super().get_config(), **own}


def make_pair(**options):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 2, 1), (4, 6, 8, 12)), (16, 24, 3), stem_stride=1
    )
    pair = [
        kc.FCMAE(backbone, decoder=TwoStages(4 * 4 * 3, **options), encoder_path=path)
        for path in ("visible", "dense")
    ]
    randomize(pair[0], np.random.default_rng(1))
    pair[1].set_weights(pair[0].get_weights())
    return pair


def test_it_is_told_the_stages_and_where_they_are_on_both_paths(rng):
    images = rng.normal(size=(3, 16, 24, 3)).astype("float32")
    pair = make_pair()
    for fcmae in pair:
        assert compute(fcmae, images)["prediction"].shape == (3, 2, 3, 8 * 8 * 3)
    assert_equal_on_both_paths(pair, images)


@pytest.mark.one_backend
def test_it_is_told_whether_it_is_training(rng):
    fcmae, _ = make_pair(in_training=0.5)
    images = rng.normal(size=(3, 16, 24, 3)).astype("float32")

    def results():
        hidden = fcmae.draw_hidden(3)
        return {
            "predictions": [fcmae(images, hidden, training=t)["prediction"] for t in (False, True)],
            "losses": [fcmae.loss_on(images, hidden, training=t) for t in (False, True)],
            "step": fcmae.step_loss(images),
        }

    found = compute(results)
    outside, inside = found["predictions"]
    np.testing.assert_allclose(inside - outside, 0.5, atol=1e-5)  # float32, values near 1
    outside, inside = found["losses"]
    assert found["step"] == pytest.approx(inside, rel=1e-5)
    assert abs(inside - outside) > 0.01


def test_it_trains_and_comes_back_from_a_file(rng, tmp_path):
    fcmae, _ = make_pair()
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    fcmae.compile(optimizer=keras.optimizers.SGD(0.05))
    before = fcmae.decoder.last.kernel.numpy()
    assert np.isfinite(fcmae.fit(images, batch_size=4, verbose=0).history["loss"]).all()
    assert (fcmae.decoder.last.kernel.numpy() != before).any()
    fcmae.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(copy.decoder, TwoStages)
    np.testing.assert_array_equal(
        compute(copy, images)["prediction"], compute(fcmae, images)["prediction"]
    )


@pytest.mark.one_backend
def test_sizes_of_the_papers_decoder_beside_another_are_refused():
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (16, 24, 3), stem_stride=1
    )
    with pytest.raises(ValueError, match="`decoder_width` and `decoder_depth` are those of"):
        kc.FCMAE(backbone, decoder=TwoStages(48), decoder_width=8)


def test_weights_by_name_are_those_of_its_backbone(rng, tmp_path):
    fcmae, _ = make_pair()
    with pytest.raises(ValueError, match="paper's decoder alone.*TwoStages.*take its `backbone`"):
        kc.save_weights(fcmae, tmp_path / "weights.safetensors")
    fcmae.save(tmp_path / "model.keras")
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    backbone = kc.from_preset(tmp_path / "model.keras")
    np.testing.assert_array_equal(compute(backbone, images), compute(fcmae.backbone, images))


@pytest.mark.one_backend
def test_a_prediction_of_another_shape_is_refused(rng):
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12)), (16, 24, 3), stem_stride=1
    )
    fcmae = kc.FCMAE(backbone, decoder=TwoStages(50))
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"S \* S \* C.*Received shape \(2, 4, 6, 50\)"):
        fcmae.loss_on(images, np.array([[[1, 0, 1], [1, 1, 0]]] * 2))
