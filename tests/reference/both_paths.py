"""The visible and the dense path of FCMAE, side by side."""

import numpy as np

from tests.reference.compute import compute
from tests.reference.gradients import gradients_of


def assert_equal_on_both_paths(pair, images):
    """Loss and every gradient of a training step are equal for a pair of FCMAEs, one for each path.

    Args:
        pair: two `FCMAE`s of equal weights.
        images: (B, H, W, C).
    """
    losses, gradients = [], []
    for fcmae in pair:
        losses.append(compute(fcmae.step_loss, images))
        gradients.append(
            gradients_of(lambda model=fcmae: model.step_loss(images), fcmae.trainable_weights)
        )
    # float32; the sums run over the same numbers in another order.
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for weight, one, other in zip(pair[0].trainable_weights, *gradients, strict=True):
        assert np.linalg.norm(other) > 0, weight.path
        assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(other), weight.path
