"""What every source of images offers, wherever it reads them from."""

import dataclasses
import os

import numpy as np

from keras_convnextv2.data.framing import as_framing
from keras_convnextv2.data.pixel_range import PixelRange


class ImageSourceError(ValueError):
    """Images that cannot be used. One line: what was found, and what to do.

    Examples:
        >>> from keras_convnextv2.data import ImageSourceError, open_source
        >>> try:
        ...     open_source("nowhere", "train")
        ... except ImageSourceError as error:
        ...     print(error)
        The data folder nowhere does not exist. Check the path.
    """


class NoSuchSplitError(ImageSourceError):
    """A data set that has no such split, where the others may be.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.data import NoSuchSplitError, open_source
        >>> for name in ("fork", "spoon"):
        ...     Path("cutlery", name).mkdir(parents=True)
        ...     for number in range(5):
        ...         Image.new("RGB", (40, 30)).save(f"cutlery/{name}/{number}.png")
        >>> try:
        ...     held_out = open_source("cutlery", "validation")
        ... except NoSuchSplitError:
        ...     _, held_out = open_source("cutlery", "train").split(0.25, seed=0)
        >>> len(held_out)
        2
    """


class UnreadableImageError(ImageSourceError):
    """One image that cannot be read, where the others may be.

    Args:
        message: str, one line: what was found, and what to do.
        name: str, of the image: the path of its file, or its place in one.
        reason: str, why it cannot be read.
    """

    def __init__(self, message, name, reason):
        super().__init__(message)
        self.name = name
        self.reason = reason


class ImageSourceWarning(UserWarning):
    """Images that can be used, though perhaps not as they were meant.

    Examples:
        >>> import warnings
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from keras_convnextv2.data import ImageSourceWarning, open_source
        >>> for name in ("ant", "bee"):
        ...     Path("insects", name).mkdir(parents=True)
        ...     Image.new("RGB", (40, 30)).save(f"insects/{name}/1.png")
        ...     _ = Path("insects", name, "1.txt").write_text("a note")
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     source = open_source("insects", "train")
        >>> [issubclass(warning.category, ImageSourceWarning) for warning in caught]
        [True]
        >>> source.notes
        ('insects: passed over 2 files of other kinds (2 .txt).',)
    """


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSource:
    """N images with their labels, read on demand. Made by `open_source`.

    Attributes:
        records: array (N, ...), one entry an image; what it holds is the subclass's own.
        labels: int32 (N,), or float32 (N, num_classes) of 0 and 1 where an image may have several,
            or None.
        class_names: tuple of str, empty without labels.
        channels: int, of an image.
        mean, std: tuples of float, one a channel, for images in 0..1.
        native_size: (H, W) where all images are stored in one known size, else None.
        description: str, one line for logs.
        pixel_range: `PixelRange` of what has more than 8 bits, or None where nothing has.
        notes: tuple of str, one line each: what of the folder is not read, and why.

    Examples:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from keras_convnextv2.data import ImageSource, open_source
        >>> Path("stored").mkdir()
        >>> images = np.zeros((3, 32, 32, 1), "uint8")
        >>> np.savez("stored/train.npz", images=images, mean=[0.5], std=[0.25])
        >>> source = open_source("stored", "train")
        >>> source.read([0, 2], image_size=(16, 24)).shape
        (2, 16, 24, 1)
        >>> isinstance(source, ImageSource)
        True
    """

    records: np.ndarray
    labels: np.ndarray | None
    class_names: tuple
    channels: int
    mean: tuple
    std: tuple
    native_size: tuple | None
    description: str
    pixel_range: PixelRange | None = None
    notes: tuple = ()

    def __len__(self):
        return len(self.records)

    def read(self, indices, image_size):
        """Images in the order of `indices`.

        Args:
            indices: n ints.
            image_size: (H, W) in pixels, which an image is resized to cover, and cut to evenly at
                its sides; or a framing, as `read_one` takes it.

        Returns:
            uint8 (n, H, W, channels).

        Raises:
            ImageSourceError: a file cannot be read.
        """
        framing = as_framing(image_size)
        images = np.empty((len(indices), *framing.image_size, self.channels), "uint8")
        for place, index in enumerate(indices):
            images[place] = self.read_one(index, framing)
        return images

    def name_of(self, index):
        """What an image is called, a str: the path of its file, or "image 7"."""
        record = self.records[index]
        is_path = isinstance(record, str | os.PathLike)
        return os.fspath(record) if is_path else f"image {index}"

    def read_one(self, index, framing, rng=None):
        """One image, of which a framing chooses the part.

        Args:
            index: int.
            framing: what `framing` describes, or (H, W) in pixels for `Cover`.
            rng: `numpy.random.Generator`, for a framing that draws its box.

        Returns:
            uint8 (H, W, channels), a new array.

        Raises:
            ImageSourceError: the file cannot be read.
        """
        return self._read_one(self.records[index], as_framing(framing), rng)

    def labels_per_class(self, count, seed):
        """A source of `count` random images of each class.

        Which ones follows from the seed only; a larger `count` keeps them and adds others.

        Raises:
            ImageSourceError: without labels, or where a class has fewer images.
        """
        if self.labels is None:
            raise ImageSourceError(
                f"{self.description}: there are no labels to take {count} a class of. Give a "
                "folder with one folder a class, or do not limit the labels."
            )
        if count < 1:
            raise ImageSourceError(f"The labels a class must be 1 or more. Received: {count!r}")
        if self.labels.ndim > 1:
            raise ImageSourceError(
                f"{self.description}: an image may have several labels, so {count} a class cannot "
                "be taken. Do not limit the labels."
            )
        chosen = []
        for label, name in enumerate(self.class_names):
            of_class = np.flatnonzero(self.labels == label)
            if len(of_class) < count:
                raise ImageSourceError(
                    f"{self.description}: class {name!r} has {len(of_class)} images, but {count} a "
                    "class were asked for. Ask for fewer, or add images."
                )
            generator = np.random.default_rng([seed, label])
            chosen.append(generator.permutation(of_class)[:count])
        return self.taken(np.concatenate(chosen), f"of these {count} a class by seed {seed}")

    def split(self, fraction, seed):
        """Holds out a share of the images, of each class the same share.

        At least one image of a class is held out and one is left, where it has two or more. Images
        with several labels, or without any, are drawn from all alike. Which ones follows from the
        seed only; a larger fraction holds out the same and others.

        Args:
            fraction: float, more than 0 and less than 1, the share that is held out.
            seed: int, 0 or more.

        Returns:
            (source of the images that are left, source of those that are held out).

        Raises:
            ImageSourceError: a fraction that is none, or too few images.
        """
        if not 0 < fraction < 1:
            raise ImageSourceError(
                f"The share that is held out must be between 0 and 1. Received: {fraction!r}"
            )
        groups = [np.arange(len(self))]
        if self.labels is not None and self.labels.ndim == 1:
            groups = [np.flatnonzero(self.labels == k) for k in range(len(self.class_names))]
        left, held_out = [], []
        for number, group in enumerate(groups):
            count = min(max(round(fraction * len(group)), 1), max(len(group) - 1, 0))
            shuffled = np.random.default_rng([seed, number]).permutation(group)
            held_out.append(shuffled[:count])
            left.append(shuffled[count:])
        if not sum(map(len, held_out)):
            raise ImageSourceError(
                f"{self.description}: no class has two images, so none can be held out. Add images."
            )
        share = f"{fraction:g} of them held out by seed {seed}"
        return (
            self.taken(np.concatenate(left), f"{share}: the {sum(map(len, left)):,} others"),
            self.taken(np.concatenate(held_out), f"{share}: these {sum(map(len, held_out)):,}"),
        )

    def taken(self, indices, words):
        """A source of some of the images, in the order of this one.

        Args:
            indices: n ints.
            words: str, what of these they are, for the description.
        """
        indices = np.sort(indices)
        return dataclasses.replace(
            self,
            records=self.records[indices],
            labels=None if self.labels is None else self.labels[indices],
            description=f"{self.description}, {words}",
        )

    def _read_one(self, record, framing, rng):
        """uint8 (H, W, channels)."""
        raise NotImplementedError


def spread(num_images, count):
    """The places of `count` of so many images, or of all there are, evenly from first to last."""
    return np.linspace(0, num_images - 1, min(count, num_images)).astype(int)


def count_images(num_images, class_names):
    """The start of a description: "1,000 images in 10 classes"."""
    classes = "class" if len(class_names) == 1 else "classes"
    kind = f"in {len(class_names):,} {classes}" if class_names else "without labels"
    return f"{num_images:,} images {kind}"


def name_some(values, limit=5):
    """The first few of a list, for an error of one line: "'cat', 'dog' and 7 more"."""
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    more = f" and {len(values) - limit} more" if len(values) > limit else ""
    return (", ".join(repr(value) for value in values[:limit]) or "none") + more
