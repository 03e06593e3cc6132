import numpy as np
import pytest

import keras_convnextv2 as kc

# Published counts with 1000 classes; "small" is timm's.
PARAMETERS = {
    "atto": 3_708_400,
    "femto": 5_233_240,
    "pico": 9_066_280,
    "nano": 15_623_800,
    "tiny": 28_635_496,
    "small": 50_318_440,
    "base": 88_717_800,
    "large": 197_956_840,
    "huge": 660_289_640,
}


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_equals_the_published_one(name):
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(name))
    assert sum(int(np.prod(weight.shape)) for weight in model.weights) == PARAMETERS[name]


@pytest.mark.one_backend
def test_the_table_holds_these_variants():
    assert list(kc.VARIANTS) == list(PARAMETERS)


@pytest.mark.one_backend
def test_a_variant_may_be_written_with_lists():
    assert kc.Variant([1, 1, 2, 1], [4, 6, 8, 12]) == kc.Variant((1, 1, 2, 1), (4, 6, 8, 12))


@pytest.mark.one_backend
@pytest.mark.parametrize("bad", [(1, 1, 2), (1, 1, 0, 1), (1, 1, 2.0, 1), 3, "1121"])
@pytest.mark.parametrize("argument", ["depths", "widths"])
def test_a_variant_needs_four_positive_ints(argument, bad):
    sizes = {"depths": (1, 1, 2, 1), "widths": (4, 6, 8, 12), argument: bad}
    with pytest.raises(ValueError, match=f"`{argument}` must be 4 positive ints.*Received: "):
        kc.Variant(**sizes)


@pytest.mark.one_backend
@pytest.mark.parametrize("variant", ["attto", 5, {"depths": (1, 1, 2, 1)}])
def test_an_unknown_variant_is_refused_with_the_names_there_are(variant):
    with pytest.raises(ValueError, match="one of atto, femto, .*, huge, or a Variant.*Received: "):
        kc.ConvNeXtV2Backbone(variant)
