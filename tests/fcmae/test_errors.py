import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from tests.reference.random_weights import named_weights

SIZES = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12))
IMAGES = np.random.default_rng(3).normal(size=(2, 16, 24, 3)).astype("float32")


@pytest.fixture
def fcmae(make_fcmae):
    model = make_fcmae()
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    return model


def test_something_else_than_a_backbone_is_refused():
    with pytest.raises(ValueError, match="`backbone` must be a ConvNeXtV2Backbone.*'atto'"):
        kc.FCMAE("atto")


@pytest.mark.parametrize("shape", [(None, 24, 3), (16, None, 3), (None, None, 3)])
def test_images_of_unknown_size_are_refused(shape):
    with pytest.raises(ValueError, match="known image height and width.*None"):
        kc.FCMAE(kc.ConvNeXtV2Backbone(SIZES, shape, stem_stride=1))


def test_sides_that_are_no_multiples_of_the_stride_are_refused_with_the_nearest(make_fcmae):
    with pytest.raises(
        ValueError, match=r"total stride, 8 pixels.*\(17, 21, 3\).*nearest size is 16 x 24"
    ):
        kc.FCMAE(kc.ConvNeXtV2Backbone(SIZES, (17, 21, 3), stem_stride=1))


@pytest.mark.parametrize(
    "options, text",
    [
        ({"mask_ratio": 1.0}, "`mask_ratio` must be between 0 and 1, exclusive. Received: 1.0"),
        ({"mask_ratio": 0.95}, "leaves 0 of 6 patches visible"),
        ({"encoder_path": "sparse"}, "`encoder_path` must be .*Received: 'sparse'"),
        ({"seed": 1.5}, "`seed` must be an int. Received: 1.5"),
        ({"decoder_width": 0}, "decoder's width must be a positive int. Received: 0"),
        ({"decoder_depth": 0}, "decoder's depth must be a positive int. Received: 0"),
    ],
)
def test_a_bad_argument_is_refused(make_fcmae, options, text):
    with pytest.raises(ValueError, match=text):
        make_fcmae(**options)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"loss": "mse"}, "loss='mse'"),
        ({"loss_weights": [2.0]}, r"loss_weights=\[2.0\]"),
        ({"metrics": ["mae"]}, r"metrics=\['mae'\]"),
        ({"weighted_metrics": ["mae"]}, r"weighted_metrics=\['mae'\]"),
    ],
)
def test_another_loss_or_metric_is_refused(make_fcmae, options, text):
    with pytest.raises(ValueError, match=f"FCMAE brings its own loss.*{text}"):
        make_fcmae().compile(optimizer="adamw", **options)


def test_fit_before_compile_says_so(make_fcmae):
    with pytest.raises(ValueError, match="call `compile"):
        make_fcmae().fit(IMAGES, verbose=0)


def test_sample_weights_are_refused(fcmae):
    with pytest.raises(ValueError, match="takes no sample weights"):
        fcmae.fit(IMAGES, sample_weight=np.ones(2), verbose=0)
    with pytest.raises(ValueError, match="takes no sample weights"):
        fcmae.evaluate(IMAGES, np.arange(2), sample_weight=np.ones(2), verbose=0)
    with pytest.raises(ValueError, match="takes no sample weights"):
        fcmae.evaluate(IMAGES, sample_weight=np.ones(2), verbose=0)


@pytest.mark.parametrize("use", ["__call__", "fit", "evaluate", "predict"])
def test_uint8_images_are_refused_with_the_function_that_helps(fcmae, use):
    options = {} if use == "__call__" else {"verbose": 0}
    with pytest.raises(ValueError, match="must be float.*dtype uint8.*preprocess"):
        getattr(fcmae, use)(np.zeros(IMAGES.shape, "uint8"), **options)


@pytest.mark.parametrize("use", ["fit", "evaluate", "predict"])
def test_an_error_over_the_images_loses_no_weights(fcmae, use):
    before = named_weights(fcmae)
    with pytest.raises(ValueError, match="must be float"):
        getattr(fcmae, use)(np.zeros(IMAGES.shape, "uint8"), verbose=0)
    after = named_weights(fcmae)
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value, err_msg=path)
    getattr(fcmae, use)(IMAGES, verbose=0)


def test_an_error_in_the_first_fit_leaves_the_optimizer_usable(make_fcmae):
    fcmae = make_fcmae()
    fcmae.compile(optimizer=keras.optimizers.AdamW(1e-3))
    with pytest.raises(ValueError, match="must be float"):
        fcmae.fit(np.zeros(IMAGES.shape, "uint8"), verbose=0)
    assert np.isfinite(fcmae.fit(IMAGES, verbose=0).history["loss"][0])


def test_an_error_in_a_later_epoch_keeps_what_was_trained(fcmae):
    class Batches(keras.utils.PyDataset):
        num_read = 0

        def __len__(self):
            return 1

        def __getitem__(self, index):
            self.num_read += 1
            if self.num_read > 3:
                raise ValueError("an unreadable image")
            return (IMAGES,)

    fcmae.compile(optimizer=keras.optimizers.SGD(0.1))
    before = named_weights(fcmae)
    # TensorFlow wraps what a generator raises in an error of its own.
    with pytest.raises(Exception, match="an unreadable image"):
        fcmae.fit(Batches(), validation_data=(IMAGES,), epochs=5, verbose=0)
    after = named_weights(fcmae)
    assert any(not np.array_equal(after[path], value) for path, value in before.items())
    fcmae.fit(IMAGES, verbose=0)


def test_an_error_over_validation_images_keeps_what_was_trained(fcmae):
    fcmae.compile(optimizer=keras.optimizers.SGD(0.1))
    before = named_weights(fcmae)
    with pytest.raises(ValueError, match="must be float"):
        fcmae.fit(IMAGES, validation_data=(np.zeros(IMAGES.shape, "uint8"),), verbose=0)
    after = named_weights(fcmae)
    assert any(not np.array_equal(after[path], value) for path, value in before.items())
    fcmae.evaluate(IMAGES, verbose=0)


def test_images_of_another_shape_are_refused(fcmae):
    with pytest.raises(ValueError, match=r"shape \(16, 24, 3\).*shape \(2, 24, 16, 3\)"):
        fcmae.predict(IMAGES.transpose(0, 2, 1, 3), verbose=0)


@pytest.mark.parametrize("shape", [(2, 3, 2), (2, 6), (2, 2, 3, 1)])
def test_a_mask_of_another_shape_is_refused(fcmae, shape):
    hidden = np.ones(shape, "int32")
    with pytest.raises(ValueError, match=r"`hidden` must have shape \(batch, 2, 3\).*Received"):
        fcmae.encode(IMAGES, hidden)
    with pytest.raises(ValueError, match=r"`hidden` must have shape \(batch, 2, 3\).*Received"):
        fcmae.fit({"images": IMAGES, "hidden": hidden}, verbose=0)


@pytest.mark.parametrize(
    "data", [{"images": IMAGES, "mask": IMAGES}, {"hidden": np.ones((2, 2, 3), "int32")}]
)
def test_a_dict_of_other_keys_is_refused(fcmae, data):
    with pytest.raises(
        ValueError, match=r'must hold "images" and may hold "hidden".*Received keys'
    ):
        fcmae.fit(data, verbose=0)


@pytest.mark.parametrize("encoder_path", ["visible", "dense"])
@pytest.mark.parametrize("num_masks", [1, 3])
def test_masks_for_another_number_of_images_are_refused(make_fcmae, encoder_path, num_masks):
    fcmae = make_fcmae(encoder_path=encoder_path)
    hidden = keras.ops.convert_to_numpy(fcmae.draw_hidden(num_masks))
    with pytest.raises(ValueError, match=f"Received {num_masks} masks for 2 images"):
        fcmae.loss_on(IMAGES, hidden)
