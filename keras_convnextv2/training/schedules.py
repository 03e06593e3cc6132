"""Learning-rate schedules, set at every step."""

import keras


def warmup_cosine(peak, num_steps, num_warmup_steps=0, minimum=0.0):
    """Linear warm-up from 0 to `peak`, then half a cosine down to `minimum` at the last step.

    Args:
        peak: float, the highest learning rate.
        num_steps: int, all steps, those of the warm-up included.
        num_warmup_steps: int, less than `num_steps`.
        minimum: float, the last learning rate.
    """
    if not 0 <= num_warmup_steps < num_steps:
        raise ValueError(
            "The warm-up must be shorter than the training. Received: "
            f"{num_warmup_steps} warm-up steps of {num_steps} steps"
        )
    if num_warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(peak, num_steps, alpha=minimum / peak)
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        num_steps - num_warmup_steps,
        alpha=minimum / peak,
        warmup_target=peak,
        warmup_steps=num_warmup_steps,
    )
