import keras
import numpy as np

from tests.reference.compute import compute

IMAGES = np.random.default_rng(1).normal(size=(5, 16, 24, 3)).astype("float32")


def evaluate(fcmae, batch_size):
    logs = fcmae.evaluate(IMAGES, batch_size=batch_size, verbose=0, return_dict=True)
    assert set(logs) == {"loss"}
    return logs["loss"]


def test_evaluate_repeats_and_does_not_depend_on_the_batch_size(make_fcmae):
    fcmae = make_fcmae(drop_path_rate=0.5)
    fcmae.compile(optimizer=keras.optimizers.SGD(0.0))
    losses = {batch_size: evaluate(fcmae, batch_size) for batch_size in (5, 2)}
    assert evaluate(fcmae, 2) == losses[2]
    # Means of means: float32 sums in another order.
    assert abs(losses[5] / losses[2] - 1) < 1e-6
    fcmae.step.assign(9)  # nor on how far training is
    assert evaluate(fcmae, 2) == losses[2]


def test_evaluate_hides_other_patches_in_each_image_and_by_seed(make_fcmae):
    one, other = (make_fcmae(seed=seed, mask_ratio=0.5) for seed in (0, 1))
    hidden = compute(one, IMAGES)["hidden"]
    assert len(np.unique(hidden, axis=0)) > 1
    assert (hidden != compute(other, IMAGES)["hidden"]).any()
    assert (hidden != keras.ops.convert_to_numpy(one.draw_hidden(5))).any()  # not training's
