"""Makes recipes/fashion_mnist/{train,test}.npz from the published Fashion-MNIST files.

    python -m tools.embed_fashion_mnist --source_dir=DIR

DIR holds the four IDX files of https://github.com/zalandoresearch/fashion-mnist, gzipped as
published; Debian's package dataset-fashion-mnist puts them in /usr/share/datasets/fashion-mnist.
Takes a few seconds; the same input gives the same arrays.
"""

import gzip
import struct
from pathlib import Path

import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_string("source_dir", None, "Folder of the four IDX files.", required=True)
flags.DEFINE_string(
    "output_dir",
    str(Path(__file__).resolve().parents[1] / "recipes" / "fashion_mnist"),
    "Where train.npz and test.npz go.",
)

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TRAIN_IMAGES_PER_CLASS = 1000
TEST_IMAGES_PER_CLASS = 200
PADDING = 2  # 28x28 becomes 32x32, which a total stride of 8, 16 or 32 divides


def read_idx(path):
    """uint8 array of a gzipped IDX file: 0, 0, type 8, rank, then each size as uint32."""
    content = gzip.decompress(Path(path).read_bytes())
    zero, kind, rank = struct.unpack(">HBB", content[:4])
    if (zero, kind) != (0, 8):
        raise ValueError(f"{path} is not an IDX file of bytes: it starts with {content[:4]!r}")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def first_of_each_class(images, labels, count):
    """The first `count` images of each class, padded: (N, 32, 32, 1), and labels (N,)."""
    chosen = np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(len(CLASS_NAMES))])
    chosen.sort()  # the order of the published files
    margin = (PADDING, PADDING)
    return np.pad(images[chosen], ((0, 0), margin, margin))[..., None], labels[chosen]


def main(_):
    source = Path(FLAGS.source_dir)
    output = Path(FLAGS.output_dir)
    train = first_of_each_class(
        read_idx(source / "train-images-idx3-ubyte.gz"),
        read_idx(source / "train-labels-idx1-ubyte.gz"),
        TRAIN_IMAGES_PER_CLASS,
    )
    test = first_of_each_class(
        read_idx(source / "t10k-images-idx3-ubyte.gz"),
        read_idx(source / "t10k-labels-idx1-ubyte.gz"),
        TEST_IMAGES_PER_CLASS,
    )
    pixels = train[0].astype("float64") / 255
    for name, (images, labels) in {"train": train, "test": test}.items():
        path = output / f"{name}.npz"
        np.savez_compressed(
            path,
            images=images,
            labels=labels,
            class_names=np.array(CLASS_NAMES),
            mean=np.array([pixels.mean()], "float32"),
            std=np.array([pixels.std()], "float32"),
        )
        print(f"{path}: {len(images)} images, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    app.run(main)
