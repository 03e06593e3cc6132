"""Images as an FCMAE sees, predicts and completes them."""

import keras

from keras_convnextv2.fcmae.inputs import checked_images
from keras_convnextv2.fcmae.loss import patch_statistics
from keras_convnextv2.fcmae.patches import patchify, unpatchify
from keras_convnextv2.layers.regions import MaskedMap


def reconstruct(fcmae, images, hidden=None):
    """As `FCMAE.reconstruct`, which documents it."""
    ops = keras.ops
    images = ops.cast(checked_images(images, fcmae.backbone.image_shape), "float32")
    if hidden is None:
        data = images
    else:
        hidden = fcmae.region_for(hidden).hidden  # checked
        data = {"images": images, "hidden": hidden}
    outputs = fcmae.predict_on_batch(data)
    hidden, prediction = outputs["hidden"], outputs["prediction"]
    patches = ops.convert_to_tensor(ops.convert_to_numpy(prediction))
    if fcmae.normalize_targets:
        mean, deviation = patch_statistics(patchify(images, fcmae.patch_size))
        patches = patches * deviation + mean
    reconstruction = unpatchify(patches, fcmae.patch_size)
    hidden = ops.convert_to_tensor(hidden)
    visible = MaskedMap(hidden).clean(images)
    pasted = visible + MaskedMap(1 - hidden).clean(reconstruction)
    results = {
        "masked": visible,
        "reconstruction": reconstruction,
        "pasted": pasted,
        "hidden": hidden,
    }
    return {name: ops.convert_to_numpy(value) for name, value in results.items()}
