"""Learning-rate schedules, set at every update."""

import math

import keras


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to `peak`, then half a cosine down to `minimum`, which stays.

    Keras's `CosineDecay` computes the same; with a warm-up it asks torch's device for the step, and
    waits for it, each time.

    Args:
        peak: float, the highest learning rate.
        num_steps: int, all updates, those of the warm-up included.
        num_warmup_steps: int, less than `num_steps`.
        minimum: float, the last learning rate.

    Raises:
        ValueError: the warm-up is negative, or not shorter than the training.

    Examples:
        >>> from keras_convnextv2.training.schedules import WarmupCosine
        >>> schedule = WarmupCosine(0.5, num_steps=10, num_warmup_steps=2)
        >>> [round(float(schedule(step)), 3) for step in (0, 1, 2, 6, 10)]
        [0.0, 0.25, 0.5, 0.25, 0.0]
    """

    def __init__(self, peak, num_steps, num_warmup_steps=0, minimum=0.0):
        if not 0 <= num_warmup_steps < num_steps:
            raise ValueError(
                "The warm-up must be shorter than the training. Received: "
                f"{num_warmup_steps} warm-up steps of {num_steps} steps"
            )
        self.peak = peak
        self.num_steps = num_steps
        self.num_warmup_steps = num_warmup_steps
        self.minimum = minimum

    def __call__(self, step):
        ops, num_warmup_steps = keras.ops, self.num_warmup_steps
        step = ops.cast(step, "float32")
        share = (step - num_warmup_steps) / (self.num_steps - num_warmup_steps)
        cosine = ops.cos(math.pi * ops.clip(share, 0.0, 1.0))
        rate = self.minimum + (self.peak - self.minimum) * 0.5 * (1.0 + cosine)
        if not num_warmup_steps:
            return rate
        return ops.where(step < num_warmup_steps, self.peak * step / num_warmup_steps, rate)

    def get_config(self):
        return {
            "peak": self.peak,
            "num_steps": self.num_steps,
            "num_warmup_steps": self.num_warmup_steps,
            "minimum": self.minimum,
        }


def warmup_cosine(peak, num_steps, num_warmup_steps=0, minimum=0.0):
    """A `WarmupCosine` of these arguments."""
    return WarmupCosine(peak, num_steps, num_warmup_steps, minimum)
