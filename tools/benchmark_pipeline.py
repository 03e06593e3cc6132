r"""Times reading images: this library's batches, a torch DataLoader with the same work, and what
a model in training takes.

    KERAS_BACKEND=torch python -m tools.benchmark_pipeline --data_dir=photographs

Everything is measured in one run, in turn, so that whatever else the machine does meets all of
it. An image is decoded, resized to cover --image_size, cut to the centre, mirrored at random and
normalised. Both read ahead with --workers: threads here, processes in the DataLoader, which is how
each is meant to be used. "training" is the rate at which fine-tuning of --variant takes images that
are in memory already. Needs torch.
"""

import statistics
import sys
import time

import numpy as np
from absl import flags

from recipes import program
from tools.files_for_torch import FilesForTorch

FLAGS = flags.FLAGS

flags.DEFINE_string("data_dir", None, "Folder of images with a folder a class.", required=True)
flags.DEFINE_integer("image_size", 224, "Pixels a side.", lower_bound=32)
flags.DEFINE_integer("batch_size", 32, "Images a batch.", lower_bound=1)
flags.DEFINE_integer("batches", 60, "Of a turn.", lower_bound=2)
flags.DEFINE_integer("turns", 5, "Of each.", lower_bound=1)
flags.DEFINE_integer("workers", 2, "Threads here, processes of the DataLoader.", lower_bound=1)
flags.DEFINE_string("variant", "atto", "Of the model in training.")
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")


def main():
    from keras_convnextv2.data import open_source

    source = open_source(FLAGS.data_dir, "train")
    contenders = {
        "batches of this library": _own(source),
        "torch DataLoader": _data_loader(source),
        "training": _training(source),
    }
    rates = {name: [] for name in contenders}
    for turn in range(FLAGS.turns):
        print(f"turn {turn + 1}/{FLAGS.turns}", file=sys.stderr, flush=True)
        for name, run in contenders.items():
            rates[name].append(run())
    medians = {name: statistics.median(of) for name, of in rates.items()}
    own = medians["batches of this library"]
    result = {
        f"{name}, images/s": f"{median:.0f} ({min(rates[name]):.0f} to {max(rates[name]):.0f})"
        for name, median in medians.items()
    }
    result["ours over the DataLoader"] = own / medians["torch DataLoader"]
    result["ours over training"] = own / medians["training"]
    program.print_result(result, FLAGS.json)


def _rate(iterator, num_batches):
    """Images a second of the batches after the first one."""
    next(iterator)
    started = time.monotonic()
    count = sum(len(next(iterator)[0]) for _ in range(num_batches - 1))
    return count / (time.monotonic() - started)


def _own(source):
    from keras_convnextv2.data import HorizontalFlip, ImageBatches

    batches = ImageBatches(
        source,
        (FLAGS.image_size, FLAGS.image_size),
        FLAGS.batch_size,
        labelled=True,
        shuffle=True,
        drop_remainder=True,
        transforms=[HorizontalFlip()],
        workers=FLAGS.workers,
    )

    def run():
        count = min(FLAGS.batches, len(batches))
        rate = _rate((batches[place] for place in range(count)), count)
        batches.on_epoch_end()
        return rate

    return run


def _data_loader(source):
    import torch

    loader = torch.utils.data.DataLoader(
        FilesForTorch(source, FLAGS.image_size),
        FLAGS.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=FLAGS.workers,
        persistent_workers=True,  # or each turn would start them
    )
    return lambda: _rate(iter(loader), min(FLAGS.batches, len(loader)))


def _training(source):
    import keras

    import keras_convnextv2 as kc
    from keras_convnextv2.training.optimizers import adamw

    shape = (FLAGS.image_size, FLAGS.image_size, source.channels)
    num_classes = len(source.class_names)
    model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(FLAGS.variant, shape), num_classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=adamw(model, 1e-3, 0.05), loss=loss)
    draw = np.random.default_rng(0)
    batch = draw.normal(size=(FLAGS.batch_size, *shape)).astype("float32")
    labels = draw.integers(0, num_classes, FLAGS.batch_size).astype("int32")
    model.train_on_batch(batch, labels)  # compiles

    def run(num_steps=3):
        started = time.monotonic()
        for _ in range(num_steps):
            float(model.train_on_batch(batch, labels, return_dict=True)["loss"])
        return num_steps * FLAGS.batch_size / (time.monotonic() - started)

    return run


if __name__ == "__main__":
    program.run(main)
