"""masking="input": hidden patches are zeros in the images, and the encoder sees them."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers.masked_input import MaskedInput
from tests.reference.compute import compute
from tests.reference.random_weights import randomize

HIDDEN = np.array([[[1, 0, 1], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]]], "int32")
PIXELS = HIDDEN.repeat(8, axis=1).repeat(8, axis=2)[..., None] == 1  # (2, 16, 24, 1)


def test_the_encoder_is_that_of_whole_images_with_zeros(rng, make_fcmae):
    fcmae = make_fcmae(masking="input", encoder_path="dense")
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")
    zeroed = np.where(PIXELS, np.float32(0), images)
    # What is hidden reaches nothing, not even as a NaN.
    found = compute(fcmae.encode, np.where(PIXELS, np.float32(np.nan), images), HIDDEN)
    # The same sums; compiled, they may be taken in another order.
    np.testing.assert_allclose(found, compute(fcmae.backbone, zeroed), rtol=1e-5, atol=1e-5)
    assert (np.abs(found[HIDDEN == 1]) > 0).any()  # hidden positions have features

    sparse = make_fcmae(encoder_path="dense")
    difference = np.abs(found - compute(sparse.encode, images, HIDDEN))
    assert difference[HIDDEN == 0].max() > 0.01


def test_the_decoder_puts_its_token_where_it_is_hidden(rng, make_fcmae):
    fcmae = make_fcmae(masking="input", encoder_path="dense")
    images = rng.normal(size=(2, 16, 24, 3)).astype("float32")

    def predictions():
        features = fcmae.backbone.encode(images, MaskedInput(HIDDEN))
        other = keras.ops.add(features[-1], 5.0 * HIDDEN[..., None].astype("float32"))
        region = MaskedInput(HIDDEN)
        return [fcmae.decoder([x], region=region) for x in (features[-1], other)]

    one, other = compute(predictions)
    np.testing.assert_array_equal(one, other)
    before = compute(fcmae, images, hidden=HIDDEN)["prediction"]
    fcmae.decoder.mask_token.assign(fcmae.decoder.mask_token + 1.0)
    assert np.abs(compute(fcmae, images, hidden=HIDDEN)["prediction"] - before).max() > 0.01


def test_it_trains_on_masks_that_are_drawn(rng, make_fcmae):
    fcmae = make_fcmae(masking="input", encoder_path="dense")
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    fcmae.compile(optimizer=keras.optimizers.SGD(0.01))
    before = [weight.numpy() for weight in fcmae.trainable_weights]
    assert np.isfinite(fcmae.fit(images, batch_size=2, verbose=0).history["loss"]).all()
    for weight, value in zip(fcmae.trainable_weights, before, strict=True):
        assert (weight.numpy() != value).any(), weight.path


@pytest.mark.one_backend
def test_it_comes_back_from_a_file(rng, make_fcmae, tmp_path):
    fcmae = make_fcmae(masking="input", encoder_path="dense", normalize_targets=False)
    images = rng.normal(size=(4, 16, 24, 3)).astype("float32")
    fcmae.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.masking == "input" and not copy.normalize_targets
    hidden = fcmae.draw_hidden(4)
    losses = [compute(model.loss_on, images, hidden) for model in (fcmae, copy)]
    assert losses[0] == losses[1]  # equal programs on equal numbers


@pytest.mark.one_backend
def test_statistics_count_hidden_positions(rng):
    x = rng.normal(size=(2, 4, 6, 5)).astype("float32")
    region = MaskedInput(HIDDEN)
    block = kc.ConvNeXtV2Block(5)
    block.build(x.shape)
    randomize(block, rng)
    np.testing.assert_array_equal(compute(block, x, region=region), compute(block, x))
    inside = keras.ops.convert_to_numpy(region.enter(x))
    hidden = keras.ops.convert_to_numpy(region.hidden_positions(x))
    np.testing.assert_array_equal(inside, np.where(hidden, 0, x))


@pytest.mark.one_backend
def test_what_makes_no_sense_is_refused(make_fcmae):
    with pytest.raises(ValueError, match="give encoder_path='dense'. Received: 'visible'"):
        make_fcmae(masking="input")
    with pytest.raises(ValueError, match="`masking` must be 'sparse' or 'input'. Received: 'stem'"):
        make_fcmae(masking="stem")
    with pytest.raises(ValueError, match="`hidden` must have shape"):
        MaskedInput(np.ones((2, 3)))
