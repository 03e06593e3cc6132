"""Models to probe, and the labelled images that they are probed with."""

import dataclasses
import sys

import numpy as np
from absl import flags

from recipes import image_sizes, images, model_flags, normalisation, pixel_range, saved_models
from recipes.printable import printable
from tools.named_weights import named

FLAGS = flags.FLAGS


def define_flags():
    """--train_images, --test_images and --label_fractions."""
    flags.DEFINE_integer(
        "train_images", 5000, "Labelled training images at most, of each class alike.", 2
    )
    flags.DEFINE_integer("test_images", 2500, "Test images at most, of each class alike.", 2)
    flags.DEFINE_list(
        "label_fractions",
        ["1", "0.1", "0.01"],
        "Shares of the training images whose labels a probe gets; one a class at least.",
    )
    flags.DEFINE_integer("label_draws", 3, "Draws of each share that is less than 1.", 1)
    flags.DEFINE_list(
        "names", None, "What the models are called, one a model. Default: the ends of their paths."
    )
    flags.DEFINE_integer("seed", 0, "Of the images and of all draws.", lower_bound=0)


@dataclasses.dataclass
class Probed:
    """A model, and the images of both splits for it.

    Attributes:
        name: str, what it is called.
        weights: str, where it is from.
        model: a backbone, a classifier or an FCMAE.
        train, test: `ImageSource`, with labels.
        settings: `Settings` with `size`.
    """

    name: str
    weights: str
    model: object
    train: object
    test: object
    settings: object

    def batches(self, split, count=None):
        """Batches of the images of "train" or "test", without labels; of `count` at most, of each
        class alike."""
        source = limited(getattr(self, split), count) if count else getattr(self, split)
        return images.evaluation_batches(source, self.settings, labelled=False)

    @property
    def is_classifier(self):
        import keras_convnextv2 as kc

        return isinstance(self.model, kc.ConvNeXtV2Classifier)

    @property
    def has_head(self):
        """Whether it is a classifier of the classes of the images."""
        if not self.is_classifier:
            return False
        known = self.model.class_names
        if known is not None:
            return known == tuple(self.test.class_names)
        return self.model.num_classes == len(self.test.class_names)

    def about(self):
        backbone = saved_models.backbone_of(self.model)
        return {
            "weights": self.weights,
            "kind": "classifier" if self.is_classifier else "pretrained",
            "response": backbone.variant.block.response,
            "train_images": len(self.train),
            "test_images": len(self.test),
            "image_size": list(self.settings.size),
            "evaluation_crop": self.settings.evaluation_crop or 0,
        }


def each(weights, settings):
    """Yields a `Probed` for each of `weights`, one after the other.

    Args:
        weights: list of str, as of `saved_models.load`.
        settings: `Settings` of the flags.

    Raises:
        ValueError: no weights, other numbers of names, images that are not labelled.
    """
    for name, source in named(weights, FLAGS.names).items():
        yield opened(name, source, settings)


def opened(name, weights, settings):
    model = saved_models.load(weights, model_flags.given_image_size())
    backbone = saved_models.backbone_of(model)
    known = pixel_range.known(backbone.pixel_range, weights)
    train = images.open_images("train", known)
    test = images.open_images("test", train.pixel_range)
    for split in (train, test):
        if split.labels is None or split.labels.ndim != 1 or len(split.class_names) < 2:
            raise ValueError(
                "Images with one label each, of two classes or more, are needed: "
                f"{split.description}. Name a folder that holds a folder a class."
            )
    images.check_channels(train, backbone.image_shape[-1])
    normalisation.settle(backbone, weights, train)
    settings = image_sizes.as_weights_ask(settings, weights, backbone)
    mean, std = backbone.normalisation
    splits = (
        dataclasses.replace(limited(split, count), mean=mean, std=std)
        for split, count in ((train, FLAGS.train_images), (test, FLAGS.test_images))
    )
    probed = Probed(name, weights, model, *splits, settings)
    if probed.is_classifier and not probed.has_head:
        words = f"{name} is a classifier of other classes: it is measured by probes alone."
        print(printable(words), file=sys.stderr)
    return probed


def limited(source, count):
    """At most about `count` of a source's images, of each class the same share."""
    from keras_convnextv2.analysis import label_fraction

    if len(source) <= count:
        return source
    places = label_fraction(source.labels, count / len(source), FLAGS.seed)
    return source.taken(places, f"{len(places):,} of them by seed {FLAGS.seed}")


def label_fractions():
    """{"10%": 0.1, ...} of --label_fractions."""
    return fractions("label_fractions")


def fractions(flag):
    """{"10%": 0.1, ...} of a flag that lists shares."""
    try:
        found = [float(word) for word in FLAGS[flag].value]
    except ValueError:
        found = []
    if not found or not all(0 < fraction <= 1 for fraction in found):
        raise ValueError(
            f"--{flag} is numbers above 0 and at most 1, such as 0.1,1. Received: "
            f"{','.join(FLAGS[flag].value)!r}"
        )
    return {f"{100 * fraction:g}%": fraction for fraction in dict.fromkeys(found)}


def labelled_pairs(features, labels):
    """{share: [(features, labels), ...]} of --label_fractions, a pair a draw."""
    from keras_convnextv2.analysis import label_fraction

    labels, found = np.asarray(labels), {}
    for name, fraction in label_fractions().items():
        draws = 1 if fraction == 1 else FLAGS.label_draws
        chosen = [label_fraction(labels, fraction, FLAGS.seed + draw) for draw in range(draws)]
        found[name] = [(features[places], labels[places]) for places in chosen]
    return found


def probed_accuracies(features, labels, test_features, test_labels):
    """{share: [accuracy of the tuned ridge, one a draw of labels]}."""
    from keras_convnextv2.analysis import tuned_ridge_probe

    test = test_features, np.asarray(test_labels)
    return {
        share: [tuned_ridge_probe(pair, test).mean() for pair in pairs]
        for share, pairs in labelled_pairs(features, labels).items()
    }
