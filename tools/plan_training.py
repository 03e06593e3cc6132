r"""Plans a pretraining on many devices on paper: time, images a second, memory and traffic.

    python -m tools.plan_training --devices=32 --epochs=800 --images=1281167 --batch_size=4096 \
        --device_tflops=156 --utilisation=.4 --link_gigabytes=12.5

Nothing is run. What a variant computes, keeps and sends is counted from its shapes
(tools.arithmetic). What the hardware does is what you say: --device_tflops is the maker's figure
for one device, --utilisation the share of it that training reaches, and --link_gigabytes what one
device sends in a second. The example has the figures an A100's maker gives for matrix products of
float32 numbers rounded to TF32, and a network of 100 Gbit/s for each device.

The step is FCMAE's on visible patches with the paper's decoder (arXiv 2301.00808, section 3): every
device computes its part of the batch, then sends its gradients, one after the other. Where a
program sends while it still computes, a step is shorter, down to the longer of both.
"""

import json

from absl import flags

from recipes import program
from tools import arithmetic, training_plan

FLAGS = flags.FLAGS

flags.DEFINE_integer("devices", 32, "How many devices, each with all weights.", lower_bound=1)
flags.DEFINE_integer("epochs", 800, "Passes over the images. Paper: 800.", lower_bound=1)
flags.DEFINE_integer("images", 1281167, "In an epoch. ImageNet-1k has 1281167.", lower_bound=1)
flags.DEFINE_integer("batch_size", 4096, "Of all devices together. Paper: 4096.", lower_bound=1)
flags.DEFINE_integer(
    "image_size", 224, f"Pixels a side, a multiple of {arithmetic.PATCH}.", lower_bound=1
)
flags.DEFINE_float("mask_ratio", 0.6, "Share of the patches that are hidden.")
flags.DEFINE_float(
    "device_tflops",
    None,
    "Floating-point operations a second of one device at its best, in 1e12, in --precision.",
    required=True,
)
flags.DEFINE_float("utilisation", 0.4, "Share of --device_tflops that training reaches, up to 1.")
flags.DEFINE_float(
    "link_gigabytes",
    None,
    "What one device sends to others in a second, in 1e9 bytes. Needed for 2 devices or more.",
)
flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_bfloat16"],
    "Of the features that are kept. Weights and gradients are float32 in both.",
)
flags.DEFINE_bool("average_weights", False, "Keep an exponential moving average of the weights.")
flags.DEFINE_float(
    "stored_kilobytes",
    115,
    "Mean size of an image file, in 1000 bytes. ImageNet-1k's archive for training has 148 GB.",
)
flags.DEFINE_float(
    "decode_rate",
    170,
    "Images that one processor core reads, decodes, crops and resizes in a second.",
)
flags.DEFINE_list("variants", None, "Names. Default: all, atto to huge.")
flags.DEFINE_bool("json", False, "Print the plan as one JSON object.")


def main():
    settings = {name: FLAGS[name].value for name in training_plan.SETTINGS}
    training_plan.check(settings)
    rows = [{"variant": name, **training_plan.plan(name, settings)} for name in _variants()]
    if FLAGS.json:
        print(json.dumps({"settings": settings, "variants": rows}))
    else:
        print(training_plan.as_text(rows, settings))


def _variants():
    import keras_convnextv2 as kc

    names = FLAGS.variants or list(kc.VARIANTS)
    unknown = [name for name in names if name not in kc.VARIANTS]
    if unknown:
        raise ValueError(
            f"--variants must be among {', '.join(kc.VARIANTS)}. Received: {', '.join(unknown)}"
        )
    return names


if __name__ == "__main__":
    program.run(main)
