r"""Detects garments with keras-hub's RetinaNet on a backbone of this library.

    python -m recipes.neighbours.detect_with_keras_hub
    python -m recipes.neighbours.detect_with_keras_hub \
        --weights=hf://timm/convnextv2_atto.fcmae_ft_in1k

Prints the loss and the share of garments found in scenes that were not trained on, before and
after. The backbone is trained with the rest: it is shared, not copied.
"""

from absl import flags

from .. import program
from . import scene_run

FLAGS = flags.FLAGS
STEM_STRIDES = (4,)  # for the levels P3 to P5, whose anchors are of 32 pixels and more

scene_run.define_flags(STEM_STRIDES, epochs=10)
flags.adopt_module_key_flags(scene_run)


def main():
    backbone = scene_run.make_backbone(STEM_STRIDES)

    import keras

    from keras_convnextv2.export.partner_packages import import_partner

    from .scenes import KINDS, share_found

    keras_hub = import_partner("keras_hub", extra="keras-hub")
    model = keras_hub.models.RetinaNetObjectDetector(
        keras_hub.models.RetinaNetBackbone(
            image_encoder=backbone,
            min_level=3,
            max_level=5,
            use_p5=False,
            image_shape=backbone.image_shape,
        ),
        num_classes=len(KINDS),
        bounding_box_format="xyxy",
        pre_logits_num_conv_layers=2,
    )
    model.compile(optimizer=keras.optimizers.Adam(FLAGS.learning_rate, global_clipnorm=10.0))
    train, test = scene_run.make_scenes(backbone)

    def truth(scenes):
        return {"boxes": scenes.boxes, "labels": scenes.kinds.astype("float32")}

    def measure():
        scores = model.evaluate(
            test.images, truth(test), batch_size=FLAGS.batch_size, verbose=0, return_dict=True
        )
        boxes = model.predict(test.images, batch_size=FLAGS.batch_size, verbose=0)
        found = share_found(test, boxes["boxes"], boxes["labels"], boxes["confidence"])
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
