"""Packs a folder or table of images into a few large files, which --data_dir of the recipes takes.

    python -m tools.pack_images --data_dir=photographs --output_dir=packed

The files stay as they are stored, byte by byte; labels, class names and splits are kept. Takes
about as long as to copy the folder. Needs the package array-record, of the extra array_record.
"""

import sys

from absl import flags

from recipes import program

FLAGS = flags.FLAGS

flags.DEFINE_string("data_dir", None, "A folder of images, or a table of them.", required=True)
flags.DEFINE_string("output_dir", None, "A new folder.", required=True)
flags.DEFINE_float("megabytes", 256, "Million bytes of a file, about.", lower_bound=1e-6)


def main():
    from keras_convnextv2.data import NoSuchSplitError, open_source, pack_images

    sources, missing = {}, []
    for split in ("train", "validation", "test"):
        try:
            sources[split] = open_source(FLAGS.data_dir, split)
        except NoSuchSplitError as error:
            missing.append(error)
    if not sources:
        raise missing[0]
    pack_images(sources, FLAGS.output_dir, megabytes=FLAGS.megabytes, progress=_show)
    for split, source in sources.items():
        print(f"{split}: {len(source):,} images")


def _show(split, done, in_all):
    if done % 1000 == 0 or done == in_all:
        print(f"\r{split}: {done:,} of {in_all:,} images", end="", file=sys.stderr)
        if done == in_all:
            print(file=sys.stderr)


if __name__ == "__main__":
    program.run(main)
