import keras

from keras_convnextv2.fcmae import masking, outside_masks, train_steps
from keras_convnextv2.fcmae.decoder import FCMAEDecoder
from keras_convnextv2.fcmae.inputs import (
    NO_SAMPLE_WEIGHTS,
    checked_hidden,
    checked_images,
    patch_grid,
    split_dict,
    unpack,
)
from keras_convnextv2.fcmae.loss import hidden_patch_loss, normalize_patches
from keras_convnextv2.fcmae.patches import patchify
from keras_convnextv2.fcmae.reconstruction import reconstruct
from keras_convnextv2.layers.hidden_positions import zero_where_hidden
from keras_convnextv2.layers.kernels import sum_of_squares
from keras_convnextv2.layers.visible_patches import place_visible, scatter_visible
from keras_convnextv2.models import ConvNeXtV2Backbone
from keras_convnextv2.models.compile_config import portable_compile_config
from keras_convnextv2.training.callback_list import watched
from keras_convnextv2.training.optimizers import adamw


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class FCMAE(keras.Model):
    """Fully convolutional masked autoencoder: self-supervised pretraining of a backbone.

    Hides `mask_ratio` of each image's patches, encodes the visible ones with the backbone,
    decodes all, and pays for the hidden ones: the mean squared error of their pixels. After `fit`
    the backbone holds the pretrained weights. Source: arXiv 2301.00808, section 3.

        fcmae = FCMAE(ConvNeXtV2Backbone("atto"))
        fcmae.compile()
        fcmae.fit(images)

    `fit` and `evaluate` take what Keras takes (NumPy arrays, `tf.data`, `PyDataset`, generators)
    with images (B, H, W, C), float and normalised; labels beside them are ignored. A dict
    {"images": ..., "hidden": ...} gives the masks from outside.

    Masks are drawn for each image from (seed, step), equal on all backends; `evaluate` draws
    those of an image from its place in the data, so that it repeats exactly; `predict` and a call
    draw from the place in the batch.

    Args:
        backbone: a `ConvNeXtV2Backbone` of known image height and width, multiples of its total
            stride. It is shared, not copied.
        mask_ratio: float in (0, 1), the share of patches to hide.
        decoder_width: int, channels of the decoder.
        decoder_depth: int, blocks of the decoder.
        normalize_targets: bool, whether the target is each patch's pixels minus their mean over
            their standard deviation, or the pixels as they are.
        encoder_path: "visible" computes the visible patches alone, "dense" the whole map with
            hidden positions kept at zero. The results are equal. "visible" takes masks from
            outside that hide the same number in each image; where it is compiled (`fit`,
            `evaluate` and `predict` on TensorFlow and JAX), as many as `mask_ratio` says.
            "dense" takes any.
        seed: int, of the masks.
        name: optional name of the model.
        trainable: bool.
    """

    def __init__(
        self,
        backbone,
        mask_ratio=0.6,
        decoder_width=512,
        decoder_depth=1,
        normalize_targets=True,
        encoder_path="visible",
        seed=0,
        name=None,
        trainable=True,
    ):
        if not isinstance(backbone, ConvNeXtV2Backbone):
            raise ValueError(f"`backbone` must be a ConvNeXtV2Backbone. Received: {backbone!r}")
        if encoder_path not in ("visible", "dense"):
            raise ValueError(
                f"`encoder_path` must be 'visible' or 'dense'. Received: {encoder_path!r}"
            )
        if not isinstance(seed, int):
            raise ValueError(f"`seed` must be an int. Received: {seed!r}")
        super().__init__(name=name, trainable=trainable)
        self.dtype_policy = backbone.dtype_policy
        self.backbone = backbone
        self.mask_ratio = mask_ratio
        self.decoder_width = decoder_width
        self.decoder_depth = decoder_depth
        self.normalize_targets = normalize_targets
        self.encoder_path = encoder_path
        self.seed = seed
        self.patch_size = backbone.total_stride
        self.grid = patch_grid(backbone)
        self.num_patches = self.grid[0] * self.grid[1]
        self.num_visible = masking.num_visible_patches(self.num_patches, mask_ratio)
        self._train_seed = masking.stream_seed(seed, "train")
        self._evaluate_seed = masking.stream_seed(seed, "evaluate")

        channels = backbone.image_shape[-1]
        self.decoder = FCMAEDecoder(
            self.patch_size**2 * channels,
            width=decoder_width,
            depth=decoder_depth,
            dtype=self.dtype_policy,
            name="decoder",
        )
        self.decoder.build((None, *self.grid, backbone.output.shape[-1]))
        # Own count of training steps: an optimizer that accumulates gradients counts fewer.
        self.step = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="step"
        )
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.gradient_norm_tracker = keras.metrics.Mean(name="gradient_norm")
        self.misfit_tracker = keras.metrics.Sum(name="misfits")  # see `outside_masks`
        self.built = True

    def draw_hidden(self, batch_size, step=None):
        """The masks of a batch of a training step.

        Args:
            batch_size: int or scalar tensor, B.
            step: the step to draw for; by default the next that `fit` will take, so that calls
                between two steps draw the same.

        Returns:
            int32 (B, h, w), 1 = hidden; every image has the same number hidden.
        """
        return self._draw(
            batch_size, self._train_seed, step=self.step.value if step is None else step
        )

    def draw_fixed(self, num_images, first_image=0):
        """Masks (B, h, w) that follow from the seed and an image's place alone."""
        return self._draw(num_images, self._evaluate_seed, first_image=first_image)

    def encode(self, images, hidden, training=False):
        """The backbone's features of the visible patches.

        Args:
            images: (B, H, W, C), float. What hidden patches hold changes nothing, not even NaN.
            hidden: (B, h, w), 1 = hidden.
            training: bool, for stochastic depth.

        Returns:
            (B, h, w, C_last), zero where hidden.
        """
        hidden, num_visible = self.layout_of(hidden, drawn=False)
        features = self._encode(images, hidden, training, num_visible)
        return outside_masks.nan_where_misfit(features, hidden, num_visible)

    def call(self, images, hidden=None, training=False):
        """Predicts every patch from the visible ones.

        Args:
            images: (B, H, W, C), or a dict {"images": ..., "hidden": ...}.
            hidden: (B, h, w), 1 = hidden; None draws masks that are the same at every call.
            training: bool, for stochastic depth.

        Returns:
            {"prediction": (B, h, w, P * P * C) in the target's scale, float32,
             "hidden": (B, h, w)}.
        """
        if isinstance(images, dict):
            images, hidden = split_dict(images)
        drawn = hidden is None
        if drawn:
            hidden = self.draw_fixed(keras.ops.shape(images)[0])
        hidden, num_visible = self.layout_of(hidden, drawn)
        prediction = self._predict(images, hidden, training, num_visible)
        prediction = outside_masks.nan_where_misfit(prediction, hidden, num_visible)
        return {"prediction": prediction, "hidden": keras.ops.convert_to_tensor(hidden)}

    def loss_on(self, images, hidden, training=False):
        """The training loss of images (B, H, W, C) under masks (B, h, w): a float32 scalar."""
        return self._loss(images, hidden, training, drawn=False)

    def reconstruct(self, images, hidden=None):
        """Images (B, H, W, C) as the model sees, predicts and completes them.

        Args:
            images: float, normalised as in training.
            hidden: (B, h, w), 1 = hidden; None draws as a call does.

        Returns:
            Dict of NumPy arrays (B, H, W, C) in the scale of `images`: "masked" (hidden pixels 0),
            "reconstruction" (the prediction of every patch; visible ones are never in the loss, so
            there it means little), "pasted" (visible pixels beside the prediction of hidden ones);
            and "hidden" (B, h, w). Normalised targets are scaled back by the original's patches.
        """
        return reconstruct(self, images, hidden)

    @property
    def metrics(self):
        return [self.loss_tracker, self.gradient_norm_tracker, self.misfit_tracker]

    def compile(self, optimizer=None, **options):
        """As `keras.Model.compile`, without losses and metrics, which FCMAE brings.

        The default optimizer is the paper's: `training.optimizers.adamw` with rate 1.5e-4, decay
        .05 and beta_2 .95. Keras's own "adamw" decays GRN and the mask token as well.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            value = options.pop(name, None)
            if value is not None:
                raise ValueError(
                    "FCMAE brings its own loss (hidden patches' mean squared error) and metrics "
                    f"(loss, gradient_norm). Received: {name}={value!r}"
                )
        if optimizer is None:
            optimizer = adamw(self, 1.5e-4, weight_decay=0.05, beta_2=0.95)
        super().compile(optimizer=optimizer, **options)

    def get_compile_config(self):
        return portable_compile_config(self, super().get_compile_config())

    def compile_from_config(self, config):
        # Keras restores the compiled state by itself only where `compile` is its own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(
        self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs
    ):
        """As `keras.Model.fit`; stops with a FloatingPointError when the loss is not finite."""
        if kwargs.get("sample_weight") is not None:
            raise ValueError(NO_SAMPLE_WEIGHTS)  # without labels, Keras drops them in silence
        callbacks = watched(callbacks, self, verbose, epochs, kwargs.get("steps_per_epoch"))
        if self.optimizer is not None and not self.optimizer.built:
            # Not in the first step: where that raises, TensorFlow could make no variables later.
            self.optimizer.build(self.trainable_variables)
        with outside_masks.explain(self), train_steps.keep_weights(self):
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(self, *arguments, sample_weight=None, **options):
        """As `keras.Model.evaluate`."""
        if sample_weight is not None:
            raise ValueError(NO_SAMPLE_WEIGHTS)
        with train_steps.keep_weights(self):
            results = super().evaluate(*arguments, **options)
        outside_masks.check_loss(self, results["loss"] if isinstance(results, dict) else results)
        return results

    def predict(self, *arguments, **options):
        """As `keras.Model.predict`."""
        with train_steps.keep_weights(self):
            results = super().predict(*arguments, **options)
        outside_masks.check_predictions(self, results)
        return results

    def _purge_model_variables(self, **groups):
        """Keras on JAX would empty the variables here, and lose them if the first step raises."""

    def train_step(self, *arguments):
        return train_steps.train_step(self, *arguments)

    def test_step(self, *arguments):
        return train_steps.test_step(self, *arguments)

    def step_loss(self, data):
        """The loss of one training step; a pure function of the weights, the step and the data."""
        images, hidden = unpack(data)
        drawn = hidden is None
        if drawn:
            hidden = self.draw_hidden(keras.ops.shape(images)[0])
        return self._loss(images, hidden, True, drawn)

    def record_step(self, data, loss, gradients):
        """Counts one training step, before its (scaled) gradients are applied; returns its logs."""
        ops = keras.ops
        scale = ops.cast(self.optimizer.scale_loss(ops.ones(())), "float32")
        gradients = [gradient for gradient in gradients if gradient is not None]
        norm = ops.sqrt(sum_of_squares(gradients)) / scale
        images, hidden = unpack(data)
        self.step.assign_add(1)
        outside_masks.count_misfits(self, hidden)
        self.loss_tracker.update_state(loss, sample_weight=ops.shape(images)[0])
        # float16 training skips the steps whose scaled gradients overflow; so does their mean.
        finite = ops.isfinite(norm)
        self.gradient_norm_tracker.update_state(
            ops.where(finite, norm, 0.0), sample_weight=ops.cast(finite, "float32")
        )
        return {metric.name: metric.result() for metric in self.metrics[:2]}

    def evaluate_step(self, data):
        """One step of `evaluate`: the loss under masks that follow from each image's place."""
        images, hidden = unpack(data)
        batch_size = keras.ops.shape(images)[0]
        outside_masks.count_misfits(self, hidden)
        drawn = hidden is None
        if drawn:
            # The tracker has counted the images of the batches before this one.
            hidden = self.draw_fixed(batch_size, first_image=self.loss_tracker.count)
        loss = self._loss(images, hidden, False, drawn)
        self.loss_tracker.update_state(loss, sample_weight=batch_size)
        return {"loss": self.loss_tracker.result()}

    def get_config(self):
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "mask_ratio": self.mask_ratio,
            "decoder_width": self.decoder_width,
            "decoder_depth": self.decoder_depth,
            "normalize_targets": self.normalize_targets,
            "encoder_path": self.encoder_path,
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})

    def layout_of(self, hidden, drawn):
        """The checked masks, and how many patches of each image to compute: None for all.

        `drawn` says that the masks are our own.
        """
        hidden = checked_hidden(hidden, self.grid)
        if self.encoder_path == "dense":
            return hidden, None
        counted = None if drawn else outside_masks.count_visible(hidden)
        return hidden, counted or self.num_visible

    def _encode(self, images, hidden, training, num_visible):
        images = checked_images(images, self.backbone.image_shape)
        if num_visible is not None:
            strips = self.backbone.encode_visible(images, hidden, num_visible, training)
            return scatter_visible(strips[-1], place_visible(hidden, num_visible, side=1))
        features = self.backbone.encode(zero_where_hidden(images, hidden), hidden, training)
        return zero_where_hidden(features[-1], hidden)

    def _predict(self, images, hidden, training, num_visible):
        features = self._encode(images, hidden, training, num_visible)
        return keras.ops.cast(self.decoder(features, hidden, training=training), "float32")

    def _loss(self, images, hidden, training, drawn):
        hidden, num_visible = self.layout_of(hidden, drawn)
        prediction = self._predict(images, hidden, training, num_visible)
        targets = patchify(keras.ops.convert_to_tensor(images), self.patch_size)
        if self.normalize_targets:
            targets = normalize_patches(targets)
        loss = hidden_patch_loss(targets, prediction, hidden)
        return outside_masks.nan_where_misfit(loss, hidden, num_visible)

    def _draw(self, num_images, seed, step=0, first_image=0):
        noise = masking.draw_noise(seed, step, first_image, num_images, self.num_patches)
        return keras.ops.reshape(masking.hide_all_but(self.num_visible, noise), (-1, *self.grid))
