"""What one process knows of a training on several devices; tests/devices has several."""

import contextlib

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers import batch_part
from keras_convnextv2.layers.seeds import global_places
from keras_convnextv2.training import distribution
from keras_convnextv2.training.distribution import engines, evaluation, fitting
from keras_convnextv2.training.distribution.parts import Part
from keras_convnextv2.training.distribution.shared_devices import Devices
from tests.reference.compute import compute


def test_a_process_alone_is_the_first_of_one():
    with distribution.data_parallel():
        assert distribution.devices() == Devices(1, 0, 1)
        assert distribution.shard() == (0, 1) and distribution.is_writer()
        assert distribution.gathered(3) == [3] and distribution.mean(0.5) == 0.5


def test_images_of_a_part_are_numbered_in_the_whole_batch():
    part = Part([3, 2, 4], 2)
    assert (part.first_image, part.own_size, part.num_images) == (5, 4, 9)
    with part.computing():
        assert compute(lambda: global_places(4)).tolist() == [5, 6, 7, 8]
    assert compute(lambda: global_places(4)).tolist() == [0, 1, 2, 3]
    assert batch_part.current() is None


def test_masks_of_parts_are_those_of_the_batch(make_fcmae):
    fcmae = make_fcmae()
    whole = compute(lambda: fcmae.draw_hidden(7, step=3))
    parts = []
    for index in range(2):
        with Part([4, 3], index).computing():
            parts.append(compute(lambda index=index: fcmae.draw_hidden([4, 3][index], step=3)))
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_part_counts_by_its_hidden_patches_where_masks_are_from_outside(make_fcmae, rng):
    fcmae = make_fcmae()
    images = rng.normal(size=(3, 16, 24, 3)).astype("float32")
    hidden = np.array([[[1, 0, 1], [0, 0, 1]], [[1, 1, 1], [1, 0, 1]], [[0, 0, 0], [0, 0, 255]]])
    assert float(fcmae.loss_weight(({"images": images, "hidden": hidden},))) == 3 + 5 + 1
    assert int(fcmae.loss_weight((images,))) == 3


def test_batch_norm_of_a_part_is_refused():
    spec = kc.BlockSpec(response="bn")
    backbone = kc.ConvNeXtV2Backbone(
        kc.Variant((1, 1, 1, 1), (4, 6, 8, 12), block=spec), (16, 24, 3), stem_stride=1
    )
    images = np.zeros((2, 16, 24, 3), "float32")
    with Part([2, 2], 0).computing(), pytest.raises(ValueError, match="several devices share one"):
        backbone(images, training=True)


class Batches(keras.utils.PyDataset):
    """What `fit` is told of batches."""

    def __init__(self, shard=(1, 2), batch_size=8, num_images=24, drop_remainder=False):
        super().__init__()
        self.shard, self.batch_size = shard, batch_size
        self.num_images, self.drop_remainder = num_images, drop_remainder


class Model:
    """What is asked of a model before it is trained."""

    evaluation_outputs = None
    trainable_weights = ("weight",)

    def __init__(self, loss=None):
        self.loss = loss


@contextlib.contextmanager
def pretending(monkeypatch, **devices):
    with monkeypatch.context() as patches:
        patches.setattr(engines.current(), "devices", lambda: Devices(**devices))
        yield


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": (0, 1)}, r"process 1 of 2, and the batches are those of \(0, 1\)"),
        ({"batch_size": 6}, "6 images cannot be shared evenly by 4 devices"),
        ({"num_images": 21}, "last batch would have 5 images for 4 devices"),
    ],
)
def test_batches_that_are_not_this_process_s_are_refused(monkeypatch, options, message):
    with pretending(monkeypatch, count=4, process_index=1, process_count=2):
        fit = fitting.shared_fit(Model(), lambda x=None, **others: None)
        with pytest.raises(ValueError, match=message):
            fit(Batches(**options))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (keras.Sequential(), "Several devices train FCMAE.* Received: Sequential"),
        (Model(keras.losses.MeanSquaredError("sum")), "mean over images.* Received: 'sum'"),
    ],
)
def test_a_model_that_cannot_be_shared_is_refused(monkeypatch, model, message):
    with pretending(monkeypatch, count=2):
        fit = fitting.shared_fit(model, lambda x=None, **others: None)
        with pytest.raises(ValueError, match=message):
            fit(Batches())


class Whole:
    """Batches of an evaluation: 5 and 2 images, in two parts."""

    error = None

    def filled_part(self, shard, fill_to):
        assert (shard, fill_to) == ((1, 2), 4)
        return [(np.ones((4, 2)),), (np.ones((2, 2)),)]

    def labels_of(self, batch):
        return np.arange((5, 2)[batch])


def test_each_device_of_an_evaluation_gets_all_labels():
    shared = evaluation.shared(Whole(), Devices(4, 1, 2))
    assert len(shared) == 2
    (images, labels), of_all = evaluation.split(shared[0])[0][:2], evaluation.split(shared[0])[1]
    assert images.shape == (4, 2) and labels is None
    assert of_all.tolist() == [0, 1, 2, 3, 4]
    assert shared[1][1]["labels_of_all_parts"].tolist() == [[0, 1]] * 2
    plain = (np.ones((3, 2)), np.arange(3))
    data, none = evaluation.split(plain)
    assert data is plain and none is None
    assert evaluation.shared("others", Devices(4, 1, 2)) == "others"


def test_what_a_backend_says_of_a_lost_process_is_shortened():
    told = RuntimeError("[/a/b.cc:53] Read error [::1]:5: reset. This is typically caused by x.\nb")
    message = str(distribution.LostProcessError.of(told))
    assert message.endswith("does not answer (Read error [::1]:5: reset).")
