"""Fine-tuning with other blocks than the weights were pretrained with."""

import sys

from absl import flags

FLAGS = flags.FLAGS

flags.DEFINE_bool(
    "allow_other_blocks",
    False,
    "Where --response or --layer_scale ask for other blocks than --weights has, take over the "
    "weights that both have; those of the blocks' own parts begin as in training from scratch.",
)


def in_both(source, target):
    """Names of the weights that two backbones share, whose blocks may differ.

    What stands after GELU is shared where both have the same by name, a layer scale where both have
    one. Where the blocks differ, a line on standard error says how many weights are not shared.

    Args:
        source: the pretrained backbone.
        target: the one to train.

    Returns:
        List of str, as in `named_weights`.
    """
    from keras_convnextv2.weights.model_weights import named_weights

    own, wanted = source.variant.block, target.variant.block
    differ = {"response_norm"} if own.response != wanted.response else set()
    before, after = (list(named_weights(model)) for model in (source, target))
    names = [name for name in before if name in after and not differ & set(name.split("/"))]
    if own != wanted:
        print(
            f"--weights has {own}, this model {wanted}: {len(names)} weights are taken over, "
            f"{len(before) - len(names)} left out, {len(after) - len(names)} begin anew.",
            file=sys.stderr,
        )
    return names
