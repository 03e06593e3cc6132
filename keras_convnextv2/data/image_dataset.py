"""From a folder or table of images to what `fit` takes, in one call."""

from keras_convnextv2.data.pipeline import ImageBatches
from keras_convnextv2.data.sources import open_source


def image_dataset(
    data_dir,
    image_size,
    batch_size=32,
    *,
    split="train",
    validation_fraction=0.0,
    seed=0,
    workers=2,
    **options,
):
    """Batches of the images of a folder or table, normalised, with labels where there are any.

    The training images come in another order each epoch, all others in their own. Give `fit` both
    `shuffle=False`, since the batches shuffle their images, and `SetEpoch(dataset)` among the
    callbacks.

    Args:
        data_dir: path of a folder or table, as `open_source` takes it.
        image_size: int, the side of a square; (H, W) in pixels; or a framing such as `Cover`.
        batch_size: int.
        split: "train", "validation" or "test".
        validation_fraction: float. Above 0, that share of the training images of each class is the
            validation split, and not trained on.
        seed: int, 0 or more, of the order, the changes, and the images that are held out.
        workers: int, threads that read batches ahead of use.
        options: of `ImageBatches`, such as `transforms`, `sampling` or `label_smoothing`.

    Returns:
        `ImageBatches`, whose `source` has the class names and the normalisation.

    Raises:
        ImageSourceError: as `open_source`.
        ValueError: as `ImageBatches`.

    Examples:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> import keras_convnextv2 as kc
        >>> for name in ("bolt", "nut"):
        ...     Path("parts", name).mkdir(parents=True)
        ...     for number in range(10):
        ...         Image.new("RGB", (40, 30)).save(f"parts/{name}/{number}.png")
        >>> options = {"batch_size": 4, "validation_fraction": 0.25}
        >>> train = kc.data.image_dataset("parts", 32, **options)
        >>> validation = kc.data.image_dataset("parts", 32, split="validation", **options)
        >>> train.num_images, validation.num_images, train.source.class_names
        (12, 4, ('bolt', 'nut'))
        >>> images, labels = train[0]
        >>> images.shape, labels.dtype.name
        ((4, 32, 32, 3), 'int32')
    """
    if validation_fraction and split in ("train", "validation"):
        left, held_out = open_source(data_dir, "train").split(validation_fraction, seed)
        source = left if split == "train" else held_out
    else:
        source = open_source(data_dir, split)
    if isinstance(image_size, int):
        image_size = image_size, image_size
    settings = {"labelled": source.labels is not None, "shuffle": split == "train", **options}
    return ImageBatches(source, image_size, batch_size, seed=seed, workers=workers, **settings)
