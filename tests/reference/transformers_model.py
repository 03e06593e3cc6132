"""Models of Hugging Face's transformers with random weights, and what they compute."""

import torch
import transformers


def make_reference(variant, num_classes, **options):
    """A reference model of which every weight is random, at scales that keep activations near 1.

    Args:
        variant: a `Variant`.
        num_classes: int.
        **options: further arguments of `ConvNextV2Config`.
    """
    config = transformers.ConvNextV2Config(
        hidden_sizes=list(variant.widths),
        depths=list(variant.depths),
        num_labels=num_classes,
        # As the official code; transformers' own default is 1e-12.
        **{"layer_norm_eps": 1e-6, **options},
    )
    return set_random_weights(transformers.ConvNextV2ForImageClassification(config))


def set_random_weights(model):
    """The model, in evaluation, with random weights; layer scales and GRN are far from 0."""
    model.eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if key.endswith("weight") and "norm" in key:
                weight.copy_(1 + 0.2 * noise)
            elif key.endswith("weight") and "grn" not in key:
                weight.copy_(noise / weight[0].numel() ** 0.5)
            else:
                weight.copy_(0.3 * noise)
    return model


def run_reference(model, images, **options):
    """What a reference model gives for NumPy images (B, H, W, C)."""
    with torch.no_grad():
        return model(torch.tensor(images).permute(0, 3, 1, 2), **options)
