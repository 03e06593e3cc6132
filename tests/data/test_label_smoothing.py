import numpy as np
import pytest

from keras_convnextv2.data import smooth_labels
from keras_convnextv2.data.mixing import mixup

pytestmark = pytest.mark.one_backend


def test_one_class_gets_the_rest_and_a_share_as_in_timm():
    labels = np.eye(5, dtype="float32")[[3, 0, 1]]
    off = 0.2 / 5
    on = 1 - 0.2 + off
    expected = np.array([[off, off, off, on, off], [on, off, off, off, off], [off, on] + [off] * 3])
    found = smooth_labels(labels, 0.2)
    np.testing.assert_allclose(found, expected, atol=1e-7)  # float32
    assert found.dtype == "float32"
    np.testing.assert_array_equal(smooth_labels(labels, 0), labels)


def test_it_may_come_before_or_after_a_mixup():
    labels = np.eye(3, dtype="float32")[[0, 1, 2, 2]]
    images = np.zeros((4, 1, 1, 1), "float32")
    after = smooth_labels(mixup(images, labels, 0.35)[1], 0.1)
    before = mixup(images, smooth_labels(labels, 0.1), 0.35)[1]
    np.testing.assert_allclose(after, before, atol=1e-7)


def test_labels_that_are_not_exclusive_are_questions_with_two_answers():
    labels = np.array([[1, 0, 1], [0, 0, 0]], "float32")
    expected = [[0.95, 0.05, 0.95], [0.05, 0.05, 0.05]]
    np.testing.assert_allclose(smooth_labels(labels, 0.1, exclusive=False), expected, atol=1e-7)


@pytest.mark.parametrize("smoothing", [-0.1, 1, float("nan")])
def test_a_smoothing_that_cannot_be_is_refused(smoothing):
    with pytest.raises(ValueError, match="`smoothing` must be from 0 to below 1. Received"):
        smooth_labels(np.eye(2, dtype="float32"), smoothing)


def test_class_numbers_are_refused():
    with pytest.raises(ValueError, match=r"not class numbers.* Received: int64 \(3,\)"):
        smooth_labels(np.arange(3, dtype="int64"), 0.1)
