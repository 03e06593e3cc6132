import functools

import keras

from keras_convnextv2.fcmae import decoders
from keras_convnextv2.fcmae.inputs import (
    check_arguments,
    checked_images,
    patch_grid,
    pixels_of_a_position,
    unpack,
)
from keras_convnextv2.fcmae.loss import (
    hidden_patch_errors,
    hidden_patch_loss,
    normalize_patches,
)
from keras_convnextv2.fcmae.masked_pretraining import MaskedPretraining
from keras_convnextv2.fcmae.masking import (
    draw_noise,
    hide_all_but,
    num_visible_patches,
    stream_seed,
)
from keras_convnextv2.fcmae.patches import patchify, unpatchify
from keras_convnextv2.fcmae.reconstruction import reconstruct
from keras_convnextv2.layers.masked_input import MaskedInput
from keras_convnextv2.models.frozen_layers import freeze_again, frozen_layers
from keras_convnextv2.training.optimizers import adamw

_PAPER_DECODER = "block"


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class FCMAE(MaskedPretraining):
    """Fully convolutional masked autoencoder: self-supervised pretraining of a backbone.

    Hides `mask_ratio` of each image's patches, encodes the visible ones with the backbone,
    decodes all, and pays for the hidden ones: the mean squared error of their pixels. After `fit`
    the backbone holds the pretrained weights. Source: arXiv 2301.00808, section 3.

    `fit` and `evaluate` take what Keras takes (NumPy arrays, `tf.data`, `PyDataset`, generators)
    with images (B, H, W, C), float and normalised; labels beside them are ignored. A dict
    {"images": ..., "hidden": ...} gives the masks from outside, with any number hidden: it is
    computed by the dense path, whose results are equal. The loss of a batch is the mean over its
    hidden patches, and that of an epoch counts each batch by its images: with other numbers hidden
    it depends on how images are put into batches.

    Masks are drawn for each image from (seed, step), equal on all backends; `evaluate` draws
    those of an image from its place in the data, so that it repeats exactly; `predict` and a call
    draw from the place in the batch.

    The default optimizer of `compile` is the paper's: `training.optimizers.adamw` with rate 1.5e-4,
    decay .05 and beta_2 .95. Keras's own "adamw" decays GRN and the mask token as well.

    Args:
        backbone: a `ConvNeXtV2Backbone` of known image height and width, multiples of its total
            stride. It is shared, not copied.
        mask_ratio: float in (0, 1), the share of patches to hide.
        decoder_width: int, channels of the decoder; of one whose map grows, those before it does.
        decoder_depth: int, blocks of the decoder; of one whose map grows, those at each size.
        normalize_targets: bool, whether the target is each patch's pixels minus their mean over
            their standard deviation, or the pixels as they are.
        encoder_path: "visible" computes the visible patches alone, "dense" the whole map with
            hidden positions kept at zero. The results are equal. With "visible", `encode`,
            `loss_on` and a call compute visible patches for masks from outside too, which, as those
            of `reconstruct`, must hide the same number in each image; "dense" takes any.
        seed: int, of the masks.
        patch_size: optional int, the side of a patch in pixels, a multiple of the backbone's total
            stride, which it is by default.
        decoder: a name of `fcmae.decoders`: "block", the paper's and the default, "unet",
            "unet_without_skips", "hierarchical" (SparK's) or "transformer" (MAE's); or a layer.
            It is built by `build(shapes)` with the shapes of the stage outputs' maps, called as
            `decoder(features, region=region, training=training)` with the list of the stage
            outputs and the region of the last (`layers.regions`; `region.at(x)` is that of
            another stage), and returns a map (B, H / S, W / S, S * S * C) of any S: at each
            position its square of pixels.
        masking: "sparse", hidden positions are absent from every layer of the encoder; or "input",
            hidden patches are zeros in the images, and the encoder is that of whole images: what
            the paper calls "without sparse convolution". The decoder puts its mask token at hidden
            positions all the same. It takes encoder_path="dense".
        name: optional name of the model.
        trainable: bool.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> images = np.random.default_rng(0).normal(size=(4, 32, 48, 3)).astype("float32")
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> backbone = kc.ConvNeXtV2Backbone(small, image_shape=(32, 48, 3), stem_stride=1)
        >>> fcmae = kc.FCMAE(backbone, decoder_width=32)
        >>> fcmae.compile()
        >>> history = fcmae.fit(images, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['gradient_norm', 'loss']
        >>> fcmae.num_visible, fcmae.num_patches
        (9, 24)
        >>> fcmae.reconstruct(images)["pasted"].shape
        (4, 32, 48, 3)
    """

    _loss_in_words = "hidden patches' mean squared error"

    def __init__(
        self,
        backbone,
        mask_ratio=0.6,
        decoder_width=512,
        decoder_depth=1,
        normalize_targets=True,
        encoder_path="visible",
        seed=0,
        patch_size=None,
        decoder=None,
        masking="sparse",
        name=None,
        trainable=True,
    ):
        check_arguments(backbone, encoder_path, masking, seed)
        is_named = decoder is None or isinstance(decoder, str)
        if not is_named and (decoder_width, decoder_depth) != (512, 1):
            raise ValueError(
                "`decoder_width` and `decoder_depth` are those of the paper's decoder, or of one "
                f"given by name. Received them beside decoder={decoder!r}"
            )
        super().__init__(name=name, trainable=trainable)
        self.dtype_policy = backbone.dtype_policy
        self.backbone = backbone
        self.mask_ratio = mask_ratio
        self.decoder_width = decoder_width
        self.decoder_depth = decoder_depth
        self.normalize_targets = normalize_targets
        self.encoder_path = encoder_path
        self.masking = masking
        self.seed = seed
        self.patch_size = backbone.total_stride if patch_size is None else patch_size
        self.grid = patch_grid(backbone, self.patch_size)
        self.num_patches = self.grid[0] * self.grid[1]
        self.num_visible = num_visible_patches(self.num_patches, mask_ratio)
        self._train_seed = stream_seed(seed, "train")
        self._evaluate_seed = stream_seed(seed, "evaluate")

        self._decoder_name = (decoder or _PAPER_DECODER) if is_named else None
        if is_named:
            decoder = decoders.make(
                self._decoder_name,
                total_stride=backbone.total_stride,
                channels=backbone.image_shape[-1],
                width=decoder_width,
                depth=decoder_depth,
                dtype=self.dtype_policy,
                name="decoder",
            )
        self.decoder = decoder
        if not self.decoder.built:
            self.decoder.build([tuple(x.shape) for x in backbone.pyramid_outputs.values()])
        self._count_steps()

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
            (B, H / S, W / S, C_last), S being the total stride; zero where hidden, unless masks
            are of the input alone.
        """
        features, region = self._encode(images, self.region_for(hidden), training)
        return region.to_map(features[-1])

    def call(self, images, hidden=None, training=False):
        """Predicts every patch from the visible ones.

        Args:
            images: (B, H, W, C), or a dict {"images": ..., "hidden": ...}, computed by the dense
                path.
            hidden: (B, h, w), 1 = hidden; None draws masks that are the same at every call.
            training: bool, for stochastic depth.

        Returns:
            {"prediction": (B, h, w, P * P * C) in the target's scale, float32, and
            "hidden": (B, h, w)}.
        """
        images, region = self._images_and_region(images, hidden)
        prediction = self._predict(images, region, training)
        return {"prediction": prediction, "hidden": keras.ops.convert_to_tensor(region.hidden)}

    def loss_on(self, images, hidden, training=False):
        """The training loss of images (B, H, W, C) under masks (B, h, w): a float32 scalar."""
        return self._loss(images, self.region_for(hidden), training)

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

    def step_loss(self, data):
        """The loss of one training step; a pure function of the weights, the step and the data."""
        images, hidden = unpack(data)
        region = self._region_in_step(images, hidden, self.draw_hidden)
        return self._loss(images, region, training=True)

    def loss_and_outputs(self, data):
        """(loss, None) of one training step; its metrics ask for nothing else."""
        return self.step_loss(data), None

    def evaluation_outputs(self, data):
        """(errors, numbers of hidden patches) by image, of one step of `evaluate`.

        Masks follow from each image's place in the data.
        """
        images, hidden = unpack(data)
        # The tracker has counted the images of the batches before this one.
        draw = functools.partial(self.draw_fixed, first_image=self.loss_tracker.count)
        region = self._region_in_step(images, hidden, draw)
        return hidden_patch_errors(*self._targets_and_prediction(images, region, training=False))

    def record_evaluation(self, outputs, labels=None, weights=None, images=None):
        """Counts one step of `evaluate`; returns its logs."""
        errors, counts = outputs
        loss = keras.ops.sum(errors) / keras.ops.maximum(keras.ops.sum(counts), 1.0)
        self.loss_tracker.update_state(loss, sample_weight=keras.ops.shape(errors)[0])
        return {"loss": self.loss_tracker.result()}

    def get_config(self):
        frozen = frozen_layers([self.decoder])
        return {
            **({"frozen": frozen} if frozen else {}),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "mask_ratio": self.mask_ratio,
            "decoder_width": self.decoder_width,
            "decoder_depth": self.decoder_depth,
            "normalize_targets": self.normalize_targets,
            "encoder_path": self.encoder_path,
            "seed": self.seed,
            "patch_size": self.patch_size,
            "decoder": self._decoder_config(),
            "masking": self.masking,
            "name": self.name,
            "trainable": self.trainable,
        }

    def _decoder_config(self):
        """None for the paper's decoder, else its name, or what Keras makes of a layer."""
        if self._decoder_name == _PAPER_DECODER:
            return None
        return self._decoder_name or keras.saving.serialize_keras_object(self.decoder)

    @classmethod
    def from_config(cls, config):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("backbone", "decoder")
            if config.get(name) is not None and not isinstance(config[name], str)
        }
        config = {**config, **parts}
        frozen = config.pop("frozen", [])
        fcmae = cls(**config)
        freeze_again([fcmae.decoder], frozen)
        return fcmae

    def _region(self, hidden, num_visible=None):
        if self.masking == "input":
            return MaskedInput(hidden)
        return super()._region(hidden, num_visible)

    def _default_optimizer(self):
        # The paper's. Keras's own "adamw" decays GRN and the mask token as well.
        return adamw(self, 1.5e-4, weight_decay=0.05, beta_2=0.95)

    def _encode(self, images, region, training):
        """The stage outputs, and the region of the last."""
        images = checked_images(images, self.backbone.image_shape)
        features = self.backbone.encode(images, region, training)
        return features, region.at(features[-1])

    def _predict(self, images, region, training):
        features, last = self._encode(images, region, training)
        prediction = self.decoder(features, region=last, training=training)
        prediction = keras.ops.cast(prediction, "float32")
        side = pixels_of_a_position(prediction, self.backbone.image_shape)
        if side == self.patch_size:
            return prediction
        return patchify(unpatchify(prediction, side), self.patch_size)

    def _loss(self, images, region, training):
        return hidden_patch_loss(*self._targets_and_prediction(images, region, training))

    def _targets_and_prediction(self, images, region, training):
        """What a loss compares, and where: (targets, prediction, hidden)."""
        prediction = self._predict(images, region, training)
        targets = patchify(keras.ops.convert_to_tensor(images), self.patch_size)
        if self.normalize_targets:
            targets = normalize_patches(targets)
        return targets, prediction, region.hidden

    def _draw(self, num_images, seed, step=0, first_image=0):
        noise = draw_noise(seed, step, first_image, num_images, self.num_patches)
        return keras.ops.reshape(hide_all_but(self.num_visible, noise), (-1, *self.grid))
