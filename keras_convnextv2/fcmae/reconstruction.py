"""Images as an FCMAE sees, predicts and completes them."""

import keras

from keras_convnextv2.fcmae.inputs import checked_images
from keras_convnextv2.fcmae.loss import patch_statistics
from keras_convnextv2.fcmae.patches import patchify, unpatchify
from keras_convnextv2.layers.hidden_positions import zero_where_hidden


def reconstruct(fcmae, images, hidden=None):
    """As `FCMAE.reconstruct`, which documents it."""
    ops = keras.ops
    images = ops.cast(checked_images(images, fcmae.backbone.image_shape), "float32")
    if hidden is None:
        hidden = fcmae.draw_fixed(images.shape[0])
    hidden, num_visible = fcmae.layout_of(hidden, drawn=False)
    # What is compiled is so for one number of visible patches.
    predict = fcmae.predict_on_batch if num_visible in (None, fcmae.num_visible) else fcmae
    prediction = predict({"images": images, "hidden": hidden})["prediction"]
    patches = ops.convert_to_tensor(ops.convert_to_numpy(prediction))
    if fcmae.normalize_targets:
        mean, deviation = patch_statistics(patchify(images, fcmae.patch_size))
        patches = patches * deviation + mean
    reconstruction = unpatchify(patches, fcmae.patch_size)
    visible = zero_where_hidden(images, hidden)
    pasted = visible + zero_where_hidden(reconstruction, 1 - hidden)
    results = {
        "masked": visible,
        "reconstruction": reconstruction,
        "pasted": pasted,
        "hidden": hidden,
    }
    return {name: ops.convert_to_numpy(value) for name, value in results.items()}
