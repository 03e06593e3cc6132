"""The optimizer of the paper."""

from keras_convnextv2.training.kernel_decay_adamw import KernelDecayAdamW
from keras_convnextv2.training.layer_decay import rate_scales


def adamw(
    model,
    learning_rate,
    weight_decay,
    beta_2=0.999,
    *,
    layer_decay=None,
    layer_decay_groups="single",
    clip_norm=None,
    ema_momentum=None,
    accumulation_steps=None,
):
    """AdamW (beta_1 .9) for the trainable weights of `model`, which decays only its kernels.

    The official code decays GRN and the mask token in pretraining, which pulls GRN back to the
    identity. Layers that are to be frozen are frozen before; those that are trained again later
    need an optimizer anew.

    Args:
        model: a built model.
        learning_rate: float or schedule, which is asked at each update.
        weight_decay: float.
        beta_2: float, .999 for fine-tuning and .95 for pretraining (paper tables 8 to 13).
        layer_decay: optional float in (0, 1], the factor on the rate from one layer to the one
            before it; see `training.layer_decay`. The decay of weights, which AdamW multiplies by
            the rate, shrinks with it.
        layer_decay_groups: "single" or "group", what counts as one layer.
        clip_norm: optional float; gradients of a larger norm, that of all together, are scaled to
            it.
        ema_momentum: optional float in [0, 1), of an exponential moving average of the weights:
            what is new has the share 1 - `ema_momentum` at each update. About
            1 / (1 - `ema_momentum`) updates are averaged over: far fewer than the training has.
            `training.averaged_weights` evaluates and saves it; when `fit` ends the model has it.
        accumulation_steps: optional int, batches whose mean gradient is one update. What an epoch
            leaves over is carried into the next.

    Raises:
        ValueError: one of these is out of its range, or `layer_decay` is given and the layers of
            the model are not known.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> from keras_convnextv2.training.optimizers import adamw
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> optimizer = adamw(model, 1e-3, 0.05, layer_decay=0.5)
        >>> optimizer.rate_scale(model.get_layer("head").kernel)
        1.0
        >>> optimizer.rate_scale(model.backbone.get_layer("stage3_block0").expand.kernel)
        0.5
    """
    _check("clip_norm", clip_norm, clip_norm is None or clip_norm > 0, "positive")
    _check("ema_momentum", ema_momentum, ema_momentum is None or 0 <= ema_momentum < 1, "in [0, 1)")
    _check(
        "accumulation_steps",
        accumulation_steps,
        accumulation_steps is None
        or (isinstance(accumulation_steps, int) and accumulation_steps >= 1),
        "an int of at least 1",
    )
    scales = layer_decay
    if layer_decay is not None:
        scales = rate_scales(model, layer_decay, layer_decay_groups)
    averaging = {} if ema_momentum is None else {"use_ema": True, "ema_momentum": ema_momentum}
    optimizer = KernelDecayAdamW(
        learning_rate,
        rate_scales=scales,
        weight_decay=weight_decay,
        beta_1=0.9,
        beta_2=beta_2,
        global_clipnorm=clip_norm,
        gradient_accumulation_steps=None if accumulation_steps == 1 else accumulation_steps,
        **averaging,
    )
    optimizer.build(model.trainable_variables)
    return optimizer


def _check(name, value, is_right, wanted):
    if not is_right:
        raise ValueError(f"`{name}` must be {wanted}. Received: {value!r}")
