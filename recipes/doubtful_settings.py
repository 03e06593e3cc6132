"""Settings of a fine-tuning that miss what they are given for: refused, or said when it starts."""

from . import training_flags

_MANY_TIMES = 10


def refuse_random_features(settings):
    """Raises ValueError where a part is to be trained on what layers of random weights give."""
    if settings.trainable != "all" and not settings.weights:
        raise ValueError(
            f"--trainable={settings.trainable} leaves the other layers as they are, which without "
            "--weights are random. Name pretrained --weights, or train all. What the features of "
            "random weights tell is measured by recipes.linear_probe."
        )


def remarks(settings, steps_per_epoch, class_weight=None):
    """What to say of settings that are taken all the same, {name: words} for `announce`.

    Args:
        settings: `Settings`.
        steps_per_epoch: int.
        class_weight: optional {class: float}.
    """
    said = {}
    if class_weight and max(class_weight.values()) > _MANY_TIMES * min(class_weight.values()):
        times = max(class_weight.values()) / max(min(class_weight.values()), 1e-9)
        said["class_weights"] = (
            f"an image of one class counts {times:.0f} times as much as one of another. The few "
            "that count much make rare, large steps, by which little may be learned; in a trial "
            "--sampling=balanced did better (docs/results.md)"
        )
    if settings.freeze_epochs and not settings.weights:
        said["freeze_epochs"] = (
            f"{settings.freeze_epochs} in which the head learns on features of random weights, as "
            "there are no --weights"
        )
    num_updates, _ = training_flags.num_updates(
        settings, steps_per_epoch, settings.epochs, settings.warmup_epochs
    )
    momentum = settings.ema_momentum
    if momentum and num_updates * (1 - momentum) < 3:
        said["ema"] = _too_long(momentum, num_updates)
    return said


def _too_long(momentum, num_updates):
    reach = f"{1 / (1 - momentum):,.0f}" if momentum < 1 else "all"
    suited = max(1 - float(f"{10 / num_updates:.1g}"), 0)  # over about a tenth of the run
    return (
        f"the average reaches over about {reach} updates, and there are {num_updates:,}: "
        f"{momentum**num_updates:.0%} of what is measured and saved are still the weights of the "
        f"start. For so many --ema_momentum={suited:g} suits{'' if suited else ', no average'}"
    )
