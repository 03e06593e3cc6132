import functools

import keras

from keras_convnextv2.fcmae.inputs import (
    check_arguments,
    checked_images,
    patch_grid,
    unpack,
)
from keras_convnextv2.fcmae.masked_pretraining import MaskedPretraining
from keras_convnextv2.fcmae.masking import num_visible_patches
from keras_convnextv2.latent_prediction.loss import (
    deviation_over_images,
    hidden_cell_errors,
    hidden_cell_loss,
    on_unit_sphere,
)
from keras_convnextv2.latent_prediction.masks import LatentMasks
from keras_convnextv2.latent_prediction.predictor import LatentPredictor
from keras_convnextv2.latent_prediction.teacher import (
    copy_weights,
    follow,
    make_teacher,
    momentum_at,
)
from keras_convnextv2.models.frozen_layers import freeze_again, frozen_layers
from keras_convnextv2.training.optimizers import adamw


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class LatentPrediction(MaskedPretraining):
    """Latent prediction: self-supervised pretraining of a backbone, without pixels to predict.

    The backbone, the student, encodes the visible patches of an image. A predictor makes of them
    the features of the hidden ones, as a teacher gives them, which sees the whole image: a second
    backbone whose weights are the exponential moving average of the student's. After `fit` the
    backbone holds the pretrained weights. Source: CNN-JEPA, arXiv 2408.07514, with masks that keep
    a fixed number of patches visible.

        loss = mean over hidden cells of smooth L1(p / |p|, t / |t|), summed over channels

    `fit`, `evaluate` and `predict` take what `FCMAE` takes, masks from outside too, which are
    computed by the dense path. `fit` and `evaluate` report "loss", "teacher_deviation", which falls
    towards 0 where the features of all images become one (collapse; the mean over batches of
    `sqrt(C) * std over images` of the teacher's features on the unit sphere), and `fit`
    "gradient_norm". A lower loss alone says little: features that collapse are easily predicted.

    Masks are drawn from (seed, step), equal on all backends; `evaluate` draws those of an image
    from its place in the data.

    The default optimizer of `compile` is `training.optimizers.adamw` with rate 1e-3 and decay .01.
    The source's rate is 1e-2 for batches of 128, with a warm-up over 10 epochs of 200.

    Args:
        backbone: a `ConvNeXtV2Backbone` of known image height and width, multiples of its total
            stride, the side of a patch. It is shared, not copied. Its weights are not in half
            precision ("mixed_bfloat16" has them in float32).
        mask_ratio: float in (0, 1), the share of patches to hide.
        block_share: float in [0, 1], the share of batches whose masks are of blocks; in the others
            patches are hidden one by one. In `evaluate` each image has its own kind.
        predictor_depth: int, how many times convolution, linear layer, norm and ReLU.
        momentum: float in [0, 1], of the average: the teacher keeps this share at an update.
        num_updates: optional int, updates of the training: over so many the momentum rises to 1 by
            half a cosine. By default it stays. The optimizer's updates are counted, of which one
            that accumulates gradients has fewer than there are batches.
        encoder_path: "visible" or "dense", as of `FCMAE`: the results are equal.
        seed: int, of the masks.
        name: optional name of the model.
        trainable: bool.

    Attributes:
        teacher: a `ConvNeXtV2Backbone`, not trained. It begins as a copy of the backbone, as that
            is when the first `fit` begins.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> images = np.random.default_rng(0).normal(size=(4, 32, 48, 3)).astype("float32")
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, image_shape=(32, 48, 3), stem_stride=1)
        >>> latent = kc.LatentPrediction(backbone, num_updates=1)
        >>> latent.compile()
        >>> history = latent.fit(images, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['gradient_norm', 'loss', 'teacher_deviation']
        >>> latent.num_visible, latent.num_patches
        (9, 24)
        >>> features = backbone.predict(images, verbose=0)  # for a classifier, or a probe
    """

    _loss_in_words = "the distance of hidden patches' features"

    def __init__(
        self,
        backbone,
        mask_ratio=0.6,
        block_share=0.75,
        predictor_depth=3,
        momentum=0.996,
        num_updates=None,
        encoder_path="visible",
        seed=0,
        name=None,
        trainable=True,
    ):
        check_arguments(backbone, encoder_path, "sparse", seed)
        if isinstance(momentum, bool) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be in [0, 1]. Received: {momentum!r}")
        if num_updates is not None and (type(num_updates) is not int or num_updates < 1):
            raise ValueError(f"`num_updates` must be a positive int. Received: {num_updates!r}")
        super().__init__(name=name, trainable=trainable)
        self.dtype_policy = backbone.dtype_policy
        self.backbone = backbone
        self.mask_ratio = mask_ratio
        self.block_share = block_share
        self.predictor_depth = predictor_depth
        self.momentum = momentum
        self.num_updates = num_updates
        self.encoder_path = encoder_path
        self.seed = seed
        self.grid = patch_grid(backbone, backbone.total_stride)
        self.num_patches = self.grid[0] * self.grid[1]
        self.num_visible = num_visible_patches(self.num_patches, mask_ratio)
        masks = functools.partial(LatentMasks, self.grid, self.num_visible, block_share, seed)
        self._train_masks, self._evaluate_masks = masks("train"), masks("evaluate")

        self.predictor = LatentPredictor(
            backbone.output.shape[-1], predictor_depth, dtype=self.dtype_policy, name="predictor"
        )
        self.predictor.build(tuple(backbone.output.shape))
        self.teacher = make_teacher(backbone)
        self.deviation_tracker = keras.metrics.Mean(name="teacher_deviation")
        # The update that the teacher followed last: a batch whose gradients are but added up is
        # none.
        self.followed = self._add_counter("followed")
        self._count_steps()

    @property
    def trainable(self):
        return keras.Model.trainable.fget(self)

    @trainable.setter
    def trainable(self, trainable):
        keras.Model.trainable.fset(self, trainable)
        self.teacher.trainable = False  # Keras would have it as all other layers

    @property
    def metrics(self):
        return [self.loss_tracker, self.deviation_tracker, self.gradient_norm_tracker]

    def fit(self, *arguments, **options):
        """As `keras.Model.fit`; stops with a FloatingPointError when the loss is not finite."""
        if int(keras.ops.convert_to_numpy(self.step)) == 0:
            copy_weights(self.backbone, self.teacher)  # weights may have been loaded since
        return super().fit(*arguments, **options)

    def draw_hidden(self, batch_size, step=None):
        """The masks of a batch of a training step.

        Args:
            batch_size: int or scalar tensor, B.
            step: the step to draw for; by default the next that `fit` will take.

        Returns:
            int32 (B, h, w), 1 = hidden; every image has the same number hidden.
        """
        return self._train_masks.draw(batch_size, self.step.value if step is None else step)

    def draw_fixed(self, num_images, first_image=0):
        """Masks (B, h, w) that follow from the seed and an image's place alone."""
        return self._evaluate_masks.draw(num_images, first_image=first_image, one_kind=False)

    def call(self, images, hidden=None, training=False):
        """Predicts the features of every patch from the visible ones.

        Args:
            images: (B, H, W, C), or a dict {"images": ..., "hidden": ...}, computed by the dense
                path.
            hidden: (B, h, w), 1 = hidden; None draws masks that are the same at every call.
            training: bool, for stochastic depth.

        Returns:
            {"prediction": (B, h, w, C_last), "target": the teacher's, of the same shape, both of
            length 1 over channels, float32, and "hidden": (B, h, w)}.
        """
        images, region = self._images_and_region(images, hidden)
        prediction, target = self._predict(images, region, training)
        hidden = keras.ops.convert_to_tensor(region.hidden)
        return {"prediction": prediction, "target": target, "hidden": hidden}

    def loss_and_outputs(self, data):
        """(loss, the teacher's deviation, the same for each image) of one training step."""
        images, hidden = unpack(data)
        region = self._region_in_step(images, hidden, self.draw_hidden)
        prediction, target = self._predict(images, region, training=True)
        loss = hidden_cell_loss(prediction, target, region.hidden)
        each = keras.ops.zeros_like(target[:, 0, 0, 0])
        return loss, each + deviation_over_images(target)

    def record_step(self, num_images, outputs, loss, gradients):
        self.deviation_tracker.update_state(outputs[0], sample_weight=num_images)
        return super().record_step(num_images, outputs, loss, gradients)

    def after_update(self):
        """The teacher follows the student, after each update of the optimizer."""
        updates = keras.ops.cast(self.optimizer.iterations, "int32")
        share = 1.0 - momentum_at(updates - 1, self.momentum, self.num_updates)
        share = keras.ops.where(keras.ops.equal(updates, self.followed), 0.0, share)
        follow(self.backbone, self.teacher, share)
        self.followed.assign(updates)

    def evaluation_outputs(self, data):
        """(errors, numbers of hidden cells, the teacher's features) by image, of `evaluate`.

        Masks follow from each image's place in the data.
        """
        images, hidden = unpack(data)
        # The tracker has counted the images of the batches before this one.
        draw = functools.partial(self.draw_fixed, first_image=self.loss_tracker.count)
        region = self._region_in_step(images, hidden, draw)
        prediction, target = self._predict(images, region, training=False)
        return (*hidden_cell_errors(prediction, target, region.hidden), target)

    def record_evaluation(self, outputs, labels=None, weights=None, images=None):
        """Counts one step of `evaluate`; returns its logs."""
        errors, counts, target = outputs
        loss = keras.ops.sum(errors) / keras.ops.maximum(keras.ops.sum(counts), 1.0)
        num_images = keras.ops.shape(errors)[0]
        deviation = deviation_over_images(target)
        for tracker, value in ((self.loss_tracker, loss), (self.deviation_tracker, deviation)):
            tracker.update_state(value, sample_weight=num_images)
        return {m.name: m.result() for m in (self.loss_tracker, self.deviation_tracker)}

    def get_config(self):
        frozen = frozen_layers([self.predictor])
        return {
            **({"frozen": frozen} if frozen else {}),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "mask_ratio": self.mask_ratio,
            "block_share": self.block_share,
            "predictor_depth": self.predictor_depth,
            "momentum": self.momentum,
            "num_updates": self.num_updates,
            "encoder_path": self.encoder_path,
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        frozen = config.pop("frozen", [])
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        model = cls(**config)
        freeze_again([model.predictor], frozen)
        return model

    def _default_optimizer(self):
        return adamw(self, 1e-3, weight_decay=0.01)

    def _predict(self, images, region, training):
        """The student's prediction and the teacher's features, both on the unit sphere."""
        images = checked_images(images, self.backbone.image_shape)
        features = self.backbone.encode(images, region, training)[-1]
        prediction = self.predictor(features, region=region.at(features))
        target = keras.ops.stop_gradient(self.teacher.encode(images)[-1])
        return on_unit_sphere(prediction), on_unit_sphere(target)
