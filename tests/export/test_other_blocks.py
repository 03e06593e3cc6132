"""What cannot express a block that is not the paper's says so; what takes any block, takes it."""

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.export import ExportError, export_model, to_keras_hub, to_tf_keras
from keras_convnextv2.models.variants import BlockSpec

pytestmark = pytest.mark.one_backend
BLOCKS = [BlockSpec("none"), BlockSpec("grn", layer_scale=0.5)]


@pytest.fixture(params=BLOCKS, ids=str)
def model(request, make_model):
    variant = kc.Variant((1, 1, 1, 1), (4, 6, 8, 12), request.param)
    return make_model(variant=variant, image_shape=(32, 64, 3))


@pytest.mark.parametrize(
    "name", ["model", "model.tflite", "model.onnx", "model.xml", "model.pt2", "tf_keras"]
)
def test_the_block_is_named_and_nothing_is_written(name, model, tmp_path):
    export = to_tf_keras if name == "tf_keras" else export_model
    arguments = () if name == "tf_keras" else (tmp_path / name,)
    with pytest.raises(ExportError) as raised:
        export(model, *arguments)
    assert str(model.backbone.variant.block) in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_keras_file_and_keras_hub_take_any_block(model, tmp_path, outputs_of, rng):
    export_model(model, tmp_path / "model.keras")
    images = rng.normal(size=(2, 32, 64, 3)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs_of(loaded, images), outputs_of(model, images))
    backbone = model.backbone
    features = outputs_of(to_keras_hub(backbone), images)
    np.testing.assert_array_equal(features, outputs_of(backbone, images))
