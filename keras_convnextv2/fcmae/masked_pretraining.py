import keras

from keras_convnextv2.fcmae.inputs import NO_SAMPLE_WEIGHTS, checked_hidden, split_dict, unpack
from keras_convnextv2.fcmae.masking import count_visible
from keras_convnextv2.insides import keep_variables
from keras_convnextv2.layers.regions import MaskedMap, VisibleStrip
from keras_convnextv2.models.compile_config import portable_compile_config
from keras_convnextv2.training import resuming, steps
from keras_convnextv2.training.callback_list import batches_of_epoch, watched
from keras_convnextv2.training.distribution import engines
from keras_convnextv2.training.distribution.fitting import shared_evaluation, shared_fit
from keras_convnextv2.training.gradient_norm import GradientNorm
from keras_convnextv2.training.raw_pixels import look_at_images


@keep_variables
class MaskedPretraining(keras.Model):
    """What trains a backbone on the visible patches of images, whatever it predicts.

    A subclass has `backbone`, `encoder_path`, `grid` and `num_visible`; `draw_hidden(batch_size)`,
    the masks of a training step, and `draw_fixed(num_images, first_image=0)`, those that follow
    from an image's place; what `training.steps` asks for and is not here (`loss_and_outputs`,
    `evaluation_outputs`, `record_evaluation`); `_loss_in_words` and `_default_optimizer()`. It
    calls `_count_steps()` last when it is made.
    """

    _loss_in_words = ""

    def _count_steps(self):
        """Makes what counts steps and their figures."""
        # Own count of training steps: an optimizer that accumulates gradients counts fewer.
        self.step = self._add_counter("step")
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.gradient_norm_tracker = GradientNorm()
        self.built = True

    def _add_counter(self, name):
        """A count that is kept with the weights, the same on all devices."""
        return self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    @property
    def metrics(self):
        return [self.loss_tracker, self.gradient_norm_tracker]

    def compile(self, optimizer=None, **options):
        """As `keras.Model.compile`, without losses and metrics, which the model brings."""
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            value = options.pop(name, None)
            if value is not None:
                own = ", ".join(metric.name for metric in self.metrics)
                raise ValueError(
                    f"{type(self).__name__} brings its own loss ({self._loss_in_words}) and "
                    f"metrics ({own}). Received: {name}={value!r}"
                )
        if optimizer is None:
            optimizer = self._default_optimizer()
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
        num_batches = batches_of_epoch(x, batch_size, kwargs)
        callbacks = watched(callbacks, self, verbose, epochs, num_batches)
        if getattr(self, "optimizer", None) is not None and not self.optimizer.built:
            # Not in the first step: where that raises, TensorFlow could make no variables later.
            self.optimizer.build(self.trainable_variables)
        x = look_at_images(self, x)
        with steps.keep_weights(self):
            arguments = (x, y, batch_size, epochs, verbose, callbacks)
            return resuming.fit(self, shared_fit(self, super().fit), *arguments, **kwargs)

    def evaluate(self, x=None, *arguments, sample_weight=None, **options):
        """As `keras.Model.evaluate`."""
        if sample_weight is not None:
            raise ValueError(NO_SAMPLE_WEIGHTS)
        x = look_at_images(self, x, options)
        with steps.keep_weights(self), shared_evaluation(self, x, options) as (x, options):
            return super().evaluate(x, *arguments, **options)

    def predict(self, x, *arguments, **options):
        """As `keras.Model.predict`."""
        x = look_at_images(self, x)
        with steps.keep_weights(self):
            return super().predict(x, *arguments, **options)

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; on several devices each process computes all of it."""
        return engines.current().outputs_of(self, super().predict_on_batch, x)

    def train_step(self, *arguments):
        return steps.train_step(self, *arguments)

    def test_step(self, *arguments):
        return steps.test_step(self, *arguments)

    def loss_weight(self, data):
        """What a part of a batch counts in the loss of all: its images, or its hidden patches."""
        images, hidden = unpack(data)
        if hidden is None:
            return keras.ops.shape(images)[0]
        return keras.ops.sum(keras.ops.cast(keras.ops.not_equal(hidden, 0), "float32"))

    def record_step(self, num_images, outputs, loss, gradients):
        """Counts one training step, before its (scaled) gradients are applied; returns its logs."""
        self.step.assign_add(1)
        self.loss_tracker.update_state(loss, sample_weight=num_images)
        self.gradient_norm_tracker.count_step(gradients, self.optimizer)
        return {metric.name: metric.result() for metric in self.metrics}

    def region_for(self, hidden):
        """The region of masks from outside (B, h, w), checked; outside a compiled step.

        In a compiled function, where the values of masks are not known, it is that of the dense
        path.

        Raises:
            ValueError: masks of another shape, or on the visible path of different numbers.
        """
        hidden = checked_hidden(hidden, self.grid)
        num_visible = None
        if self.encoder_path == "visible":
            num_visible = count_visible(hidden)
        return self._region(hidden, num_visible)

    def _images_and_region(self, images, hidden):
        """(images, region) of what a call was given."""
        if not isinstance(images, dict):
            is_given = hidden is not None
            region = self.region_for(hidden) if is_given else self._region_in_step(images, None)
            return images, region
        if hidden is not None:
            raise ValueError("Give masks in the dict or as `hidden`, not both.")
        images, hidden = split_dict(images)
        return images, self._region_in_step(images, hidden)

    def _region_in_step(self, images, hidden, draw=None):
        """The region of masks from outside, by the dense path, or of those that are drawn."""
        if hidden is not None:
            return self._region(checked_hidden(hidden, self.grid))
        hidden = (draw or self.draw_fixed)(keras.ops.shape(images)[0])
        return self._region(hidden, self.num_visible if self.encoder_path == "visible" else None)

    def _region(self, hidden, num_visible=None):
        """The region of masks, of visible patches alone where their number is given."""
        return MaskedMap(hidden) if num_visible is None else VisibleStrip(hidden, num_visible)
