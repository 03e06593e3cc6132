"""The optimizer of the paper."""

import keras


def adamw(model, learning_rate, weight_decay, beta_2=0.999):
    """AdamW (beta_1 .9) that decays only the kernels of `model`.

    Weights of fewer than two dimensions are left out of the decay: biases, the scales and shifts
    of LayerNorm and GRN, and the mask token. The official code decays GRN and the mask token in
    pretraining, which pulls GRN back to the identity.

    Args:
        model: a built model.
        learning_rate: float or schedule.
        weight_decay: float.
        beta_2: float, .999 for fine-tuning and .95 for pretraining (paper tables 8 to 13).
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate, weight_decay=weight_decay, beta_1=0.9, beta_2=beta_2
    )
    optimizer.exclude_from_weight_decay(
        [weight for weight in model.trainable_variables if len(weight.shape) < 2]
    )
    return optimizer
