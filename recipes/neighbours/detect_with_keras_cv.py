r"""Detects garments with keras-cv's RetinaNet on a backbone of this library.

    python -m recipes.neighbours.detect_with_keras_cv
    python -m recipes.neighbours.detect_with_keras_cv \
        --weights=hf://timm/convnextv2_atto.fcmae_ft_in1k

Prints the loss and the share of garments found in scenes that were not trained on, before and
after. The backbone is trained with the rest: it is shared, not copied.
"""

from absl import flags

from .. import program
from . import scene_run

FLAGS = flags.FLAGS
STEM_STRIDES = (4,)  # the feature pyramid takes the maps of strides 8, 16 and 32

scene_run.define_flags(STEM_STRIDES, epochs=10)
flags.adopt_module_key_flags(scene_run)


def main():
    backbone = scene_run.make_backbone(STEM_STRIDES)

    import keras

    from keras_convnextv2.export.partner_packages import import_partner

    from .scenes import KINDS, share_found

    class MostConfident(keras.layers.Layer):
        """The 100 most confident boxes; overlapping ones are left to `share_found`.

        keras-cv's own decoder drops them itself, for which it needs torchvision on PyTorch.
        """

        bounding_box_format = "xyxy"

        def call(self, box_prediction, class_prediction, images=None, image_shape=None):
            scores = keras.ops.sigmoid(class_prediction)
            confidence, best = keras.ops.top_k(keras.ops.max(scores, axis=-1), 100)
            return {
                "boxes": keras.ops.take_along_axis(box_prediction, best[..., None], axis=1),
                "confidence": confidence,
                "classes": keras.ops.take_along_axis(keras.ops.argmax(scores, -1), best, axis=1),
            }

    keras_cv = import_partner("keras_cv", extra="keras-cv")
    model = keras_cv.models.RetinaNet(
        backbone=backbone,
        num_classes=len(KINDS),
        bounding_box_format="xyxy",
        prediction_decoder=MostConfident(),
    )
    model.compile(
        optimizer=keras.optimizers.Adam(FLAGS.learning_rate, global_clipnorm=10.0),
        box_loss="smoothl1",
        classification_loss="focal",
    )
    train, test = scene_run.make_scenes(backbone)

    def truth(scenes):
        return {"boxes": scenes.boxes, "classes": scenes.kinds.astype("float32")}

    def measure():
        scores = model.evaluate(
            test.images, truth(test), FLAGS.batch_size, verbose=0, return_dict=True
        )
        boxes = model.predict(test.images, FLAGS.batch_size, verbose=0)
        found = share_found(test, boxes["boxes"], boxes["classes"], boxes["confidence"])
        return float(scores["loss"]), found

    loss_before, found_before = measure()
    model.fit(
        train.images,
        truth(train),
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        verbose=0 if FLAGS.json else 2,
    )
    loss_after, found_after = measure()
    result = {
        "loss_before": loss_before,
        "loss_after": loss_after,
        "found_before": found_before,
        "found_after": found_after,
        "test_scenes": len(test.images),
    }
    program.print_result(result, FLAGS.json)


if __name__ == "__main__":
    program.run(main)
