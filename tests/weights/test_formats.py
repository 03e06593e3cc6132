"""The tables of names and layouts against what the libraries themselves say."""

import json

import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.format import read_sizes
from keras_convnextv2.weights.formats import WRITTEN, recognise
from keras_convnextv2.weights.layouts import Layout
from keras_convnextv2.weights.sizes import Decoder, Sizes
from tests.reference.layouts import FOLDER, custom_layout, layout
from tests.reference.minkowski_fcmae import make_checkpoint

pytestmark = pytest.mark.one_backend

NAMED = [
    (library, size)
    for library in ("official", "timm", "transformers")
    for size in json.loads((FOLDER / f"{library}.json").read_text())
]


def written_shapes(format, sizes):
    return {
        format.key(name): format.layout(name, sizes).stored_shapes(shape)[0]
        for name, shape in sizes.shapes().items()
    }


def test_every_layout_of_the_libraries_is_tested():
    assert len([size for library, size in NAMED if library == "timm"]) == 9
    assert len([size for library, size in NAMED if library == "official"]) == 8
    assert len([size for library, size in NAMED if library == "transformers"]) == 2


@pytest.mark.parametrize(("library", "size"), [*NAMED, ("mmpretrain", "tiny")])
def test_every_key_and_shape_is_the_library_s_and_tells_the_size(library, size):
    theirs = layout(library, size)
    sizes = Sizes(kc.VARIANTS[size], 4, 3, num_classes=1000)
    format = WRITTEN[library]
    assert written_shapes(format, sizes) == theirs
    assert recognise(theirs, "file") == (format, "")
    assert read_sizes(format, theirs) == sizes


@pytest.mark.parametrize("library", ["official", "timm", "transformers", "mmpretrain"])
def test_a_size_without_a_name(library):
    depths, widths = (1, 2, 3, 1), (8, 12, 20, 28)
    theirs = custom_layout(library, depths, widths)
    sizes = Sizes(kc.Variant(depths, widths), 4, 3, num_classes=1000)
    assert written_shapes(WRITTEN[library], sizes) == theirs
    assert read_sizes(WRITTEN[library], theirs) == sizes


def test_the_layout_of_the_official_pretraining():
    checkpoint = make_checkpoint(
        np.random.default_rng(0), (1, 1, 2, 1), (4, 6, 8, 12), 10, decoder_depth=2, stem_stride=2
    )
    theirs = {key: array.shape for key, array in checkpoint.items()}
    decoder = Decoder(width=10, depth=2, num_values=16 * 16 * 3)
    sizes = Sizes(kc.Variant((1, 1, 2, 1), (4, 6, 8, 12)), 2, 3, decoder=decoder)
    assert written_shapes(WRITTEN["minkowski"], sizes) == theirs
    assert recognise(theirs, "file") == (WRITTEN["minkowski"], "")
    assert read_sizes(WRITTEN["minkowski"], theirs) == sizes


@pytest.mark.parametrize("size", kc.VARIANTS)
def test_the_number_of_parameters_follows_from_the_sizes(size, without_weights):
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(size))
    assert Sizes(kc.VARIANTS[size], 4, 3, num_classes=1000).num_parameters() == model.count_params()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "visual.trunk."])
def test_what_stands_before_every_key_is_found(prefix):
    keys = [prefix + key for key in layout("timm", "atto")]
    assert recognise(keys, "file") == (WRITTEN["timm"], prefix)


def test_two_models_in_one_file_are_an_error():
    keys = [
        f"{prefix}.{key}" for prefix in ("student", "teacher") for key in layout("timm", "atto")
    ]
    with pytest.raises(WeightsError, match=r"holds 2 models, whose keys begin with 'student\.'"):
        recognise(keys, "file.pt")


def test_keys_of_no_known_format_are_an_error_that_shows_some():
    with pytest.raises(WeightsError, match="no ConvNeXt V2 in a format known here.*1 tensors.*fc1"):
        recognise(["fc1.weight"], "file.pt")


def test_a_layout_moves_axes_both_ways():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(2, 3, 4, 5))
    layout = Layout("h w i o", "(w h) i o")
    stored = layout.to_stored(kernel)
    for row in range(2):
        for column in range(3):  # column-major: through the rows first
            np.testing.assert_array_equal(stored[column * 2 + row], kernel[row, column])
    np.testing.assert_array_equal(layout.to_keras(stored, kernel.shape), kernel)


@pytest.mark.parametrize("library", ["official", "timm", "transformers", "mmpretrain"])
def test_a_kernel_s_rows_are_rows_in_every_library_of_pytorch(library):
    """Seen by kernels that are not square, since those of checkpoints are."""
    rng = np.random.default_rng(0)
    for name, shape in (
        ("stem/conv/kernel", (2, 3, 4, 5)),
        ("stage1_downsample/conv/kernel", (3, 2, 5, 4)),
        ("stage2_block0/depthwise/kernel", (2, 3, 4, 1)),
    ):
        kernel = rng.normal(size=shape)
        stored = WRITTEN[library].layout(name).to_stored(kernel)
        outputs_first = (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1)
        np.testing.assert_array_equal(stored, kernel.transpose(outputs_first), err_msg=name)


def test_a_layout_of_another_rank_is_an_error():
    with pytest.raises(ValueError, match=r"axes i o\. Received: shape \(3,\)"):
        Layout("i o", "o i").stored_shapes((3,))
