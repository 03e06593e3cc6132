"""The visible and the dense path of FCMAE, side by side."""

import numpy as np

from tests.reference.gradients import gradients_and_results


def assert_equal_on_both_paths(pair, images):
    """Loss and every gradient of a training step are equal for a pair of FCMAEs, one for each path.

    Args:
        pair: two `FCMAE`s of equal weights.
        images: (B, H, W, C).
    """
    losses, gradients = [], []
    for fcmae in pair:
        found, loss = gradients_and_results(
            lambda model=fcmae: (model.step_loss(images),) * 2, fcmae.trainable_weights
        )
        losses.append(loss)
        gradients.append(found)
    # float32; the sums run over the same numbers in another order.
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for weight, one, other in zip(pair[0].trainable_weights, *gradients, strict=True):
        assert np.linalg.norm(other) > 0, weight.path
        assert np.linalg.norm(one - other) <= 1e-5 * np.linalg.norm(other), weight.path
