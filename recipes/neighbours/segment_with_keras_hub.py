r"""Segments garments with keras-hub's DeepLabV3 on a backbone of this library.

    python -m recipes.neighbours.segment_with_keras_hub
    python -m recipes.neighbours.segment_with_keras_hub --weights=runs/pretrained

Prints the loss and the mean intersection over union on scenes that were not trained on, before and
after. The backbone is trained with the rest: it is shared, not copied.
"""

from absl import flags

from .. import program
from . import scene_run

FLAGS = flags.FLAGS
STEM_STRIDES = (4, 2, 1)

scene_run.define_flags(STEM_STRIDES, epochs=6)
flags.adopt_module_key_flags(scene_run)


def main():
    backbone = scene_run.make_backbone(STEM_STRIDES)

    import keras

    from keras_convnextv2.export.partner_packages import import_partner

    from .scenes import KINDS, mean_iou

    keras_hub = import_partner("keras_hub", extra="keras-hub")
    finest, *_, coarsest = backbone.pyramid_outputs  # "P2" and "P5" for --stem_stride=4
    model = keras_hub.models.DeepLabV3ImageSegmenter(
        keras_hub.models.DeepLabV3Backbone(
            image_encoder=backbone,
            low_level_feature_key=finest,
            spatial_pyramid_pooling_key=coarsest,
            upsampling_size=8,  # from the coarsest map to the finest
            dilation_rates=[6, 12, 18],
            image_shape=backbone.image_shape,
        ),
        num_classes=1 + len(KINDS),
    )
    model.compile(optimizer=keras.optimizers.Adam(FLAGS.learning_rate), metrics=[])
    train, test = scene_run.make_scenes(backbone)

    def measure():
        loss = model.evaluate(
            test.images, test.one_hot_masks, batch_size=FLAGS.batch_size, verbose=0
        )
        predicted = model.predict(test.images, batch_size=FLAGS.batch_size, verbose=0).argmax(-1)
        return float(loss), mean_iou(test.masks, predicted)

    loss_before, iou_before = measure()
    model.fit(
        train.images,
        train.one_hot_masks,
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        verbose=0 if FLAGS.json else 2,
    )
    loss_after, iou_after = measure()
    result = {
        "loss_before": loss_before,
        "loss_after": loss_after,
        "mean_iou_before": iou_before,
        "mean_iou_after": iou_after,
        "test_scenes": len(test.images),
    }
    program.print_result(result, FLAGS.json)


if __name__ == "__main__":
    program.run(main)
