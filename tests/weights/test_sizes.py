"""The names and shapes of weights, made without values and without a trace."""

import random
import threading
import time

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.weights import skeleton
from keras_convnextv2.weights.sizes import Decoder, Sizes

ABSURD = 10**12


def fresh_shapes(sizes):
    skeleton._parts_of.cache_clear()
    return sizes.shapes()


def test_nothing_of_the_session_changes():
    sizes = Sizes(kc.VARIANTS["atto"], 4, 3, 10, Decoder(8, 1, 3072))
    first = keras.layers.Dense(1).name
    random.seed(3)
    expected = random.random()
    random.seed(3)
    with keras.name_scope("outer"):
        shapes = fresh_shapes(sizes)
    assert random.random() == expected
    number = int(first.rpartition("_")[2] or 0) if "_" in first else 0
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"
    assert next(iter(shapes)) == "stem/conv/kernel"


def test_shapes_within_a_scope_of_the_user_s_and_under_any_policy():
    sizes = Sizes(kc.VARIANTS["atto"], 4, 3, 10)
    expected = fresh_shapes(sizes)
    keras.config.set_dtype_policy("mixed_float16")
    with keras.StatelessScope():
        assert fresh_shapes(sizes) == expected
        assert keras.layers.Dense(1).dtype_policy.name == "mixed_float16"


@pytest.mark.one_backend
def test_absurd_sizes_take_neither_memory_nor_time_nor_leave_anything_to_be_made():
    variant = kc.Variant((1, 1, 2000, 1), (ABSURD,) * 4)
    sizes = Sizes(variant, ABSURD, ABSURD, ABSURD, Decoder(ABSURD, 1000, ABSURD))
    started = time.perf_counter()
    shapes = fresh_shapes(sizes)
    assert time.perf_counter() - started < 5  # shared machines; some 0.1 s alone
    assert shapes["stage2_block1999/project/kernel"] == (4 * ABSURD, ABSURD)
    assert shapes["decoder/block999/response_norm/gamma"] == (4 * ABSURD,)
    with keras.StatelessScope():
        pass  # whose end gives values to variables that wait for them
    assert keras.layers.Dense(1)(np.ones((1, 2))).shape == (1, 1)


@pytest.mark.one_backend
def test_threads_that_ask_at_once_get_the_same():
    sizes = Sizes(kc.VARIANTS["tiny"], 4, 3, 10)
    expected, found = fresh_shapes(sizes), []
    skeleton._parts_of.cache_clear()
    threads = [threading.Thread(target=lambda: found.append(sizes.shapes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


@pytest.mark.one_backend
def test_what_is_returned_may_be_changed():
    sizes = Sizes(kc.VARIANTS["atto"], 4, 3)
    sizes.shapes().clear()
    assert sizes.shapes()


def test_paths_in_a_file_of_keras_are_those_that_keras_writes(tmp_path):
    import h5py

    backbone = kc.ConvNeXtV2Backbone(kc.Variant((1, 2, 1, 1), (4, 6, 8, 12)), (16, 24, 3), 1)
    fcmae = kc.FCMAE(backbone, decoder_width=8, decoder_depth=2)
    fcmae.save_weights(tmp_path / "model.weights.h5")
    written = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            written[name.removeprefix("backbone/")] = item.shape

    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(keep)
    sizes = Sizes(backbone.variant, 1, 3, None, Decoder(8, 2, 8 * 8 * 3))
    expected = {weight.saved_as: weight.shape for weight in skeleton.weights_of(sizes)}
    assert written == expected
