"""Reconstructions of the same images over a pretraining: a PNG an epoch, and an animation."""

import re
from pathlib import Path

import keras
import numpy as np

from keras_convnextv2.whole_files import whole_file

_NAME = re.compile(r"epoch-(\d{4,9})\.png")
_ONCE = ("original", "masked")
_EACH = ("reconstruction", "pasted")
_GAP = 2  # pixels between images
_MOST_PIXELS = 1 << 18  # of the images of a row: 8 of 181 x 181, 5 of 224 x 224
_CAPTION_HEIGHT = 16
_LEAST_WIDTH = 128  # that a caption needs
_MILLISECONDS, _OF_THE_LAST = 600, 2400


class WriteReconstructions(keras.callbacks.Callback):
    """Writes reconstructions of the same images as PNGs, before the first step and after epochs.

    A pixel of an image is a pixel of the file, nothing is resampled. `original.png` and
    `masked.png` hold the images side by side; `epoch-0005.png` holds the prediction of every patch
    after epoch 5, and below it the prediction of the hidden ones beside the visible ones. Of large
    images fewer are written, so that a file has at most half a million pixels.

    A training that goes on from an earlier epoch removes the files of later ones first.

    Args:
        folder: where the files go; made where it is missing.
        pictures: function without arguments that gives what `draw_reconstructions` does, of the
            same images under the same masks each time.
        every: int, epochs from one file to the next. The last epoch always has one.

    Raises:
        ValueError: `every` is no positive int.
        OSError: in training, a file cannot be written.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.analysis import WriteReconstructions
        >>> from keras_convnextv2.analysis.reconstructions import draw_reconstructions
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> fcmae = kc.FCMAE(kc.ConvNeXtV2Backbone(small, (32, 32, 3), stem_stride=1))
        >>> fcmae.compile()
        >>> images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
        >>> draw = lambda: draw_reconstructions(fcmae, images[:2], [0.5] * 3, [0.25] * 3)
        >>> writing = WriteReconstructions("reconstructions", draw)
        >>> _ = fcmae.fit(images, batch_size=4, verbose=0, callbacks=[writing])
        >>> sorted(path.name for path in Path("reconstructions").iterdir())
        ['epoch-0000.png', 'epoch-0001.png', 'masked.png', 'original.png']
    """

    def __init__(self, folder, pictures, every=1):
        super().__init__()
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"`every` must be a positive int, of epochs. Received: {every!r}")
        self.folder = Path(folder)
        self.pictures = pictures
        self.every = every
        self._has_begun = False

    def on_train_begin(self, logs=None):
        self._has_begun = False

    def on_epoch_begin(self, epoch, logs=None):
        if self._has_begun:
            return
        self._has_begun = True
        for later, path in frames_in(self.folder).items():
            if later > epoch:
                path.unlink()
        if int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) == 0:
            self._write(0)

    def on_epoch_end(self, epoch, logs=None):
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if is_last or (epoch + 1) % self.every == 0:
            self._write(epoch + 1)

    def _write(self, epoch):
        rows = self.pictures()
        images = rows["original"]
        most = max(_MOST_PIXELS // (images.shape[1] * images.shape[2]), 1)
        rows = {name: _side_by_side(images[:most]) for name, images in rows.items()}
        for name in _ONCE:
            if not (self.folder / f"{name}.png").exists():
                _save(self.folder / f"{name}.png", rows[name])
        both = np.concatenate([rows[name] for name in _EACH])
        _save(self.folder / f"epoch-{epoch:04}.png", both)


def frames_in(folder):
    """{epoch: Path} of the files of `WriteReconstructions` in a folder, in the order of epochs.

    Args:
        folder: str or Path; where it is missing there are none.
    """
    folder = Path(folder)
    names = (_NAME.fullmatch(path.name) for path in folder.glob("epoch-*.png"))
    found = {int(name[1]): folder / name[0] for name in names if name}
    return dict(sorted(found.items()))


def save_reconstruction_animation(file, frames):
    """Writes a GIF of reconstructions over epochs, each under the epoch it is of.

    All frames share a palette of 255 colours; their pixels are neither resampled nor dithered.

    Args:
        file: path, or a binary file to write to.
        frames: {epoch: PIL.Image.Image} of one size, in order, as the files of `frames_in` hold.

    Returns:
        (width, height) in pixels.

    Raises:
        ValueError: there is no frame, or they differ in size.

    Examples:
        >>> import PIL.Image
        >>> from keras_convnextv2.analysis import save_reconstruction_animation
        >>> frames = {0: PIL.Image.new("RGB", (200, 64)), 5: PIL.Image.new("RGB", (200, 64), "red")}
        >>> save_reconstruction_animation("reconstructions.gif", frames)
        (200, 80)
        >>> PIL.Image.open("reconstructions.gif").n_frames
        2
    """
    sizes = {frame.size for frame in frames.values()}
    if len(sizes) != 1:
        raise ValueError(f"Frames of one size are needed. Received: {sorted(sizes)}")
    frames = [_captioned(frame, epoch) for epoch, frame in frames.items()]
    palette = _shared_palette(frames)
    # Without dithering: its noise would move where nothing else does.
    first, *others = (frame.quantize(palette=palette, dither=0) for frame in frames)
    first.save(
        file,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[_MILLISECONDS] * len(others) + [_OF_THE_LAST],
        loop=0,
    )
    return first.size


def _captioned(frame, epoch):
    """A frame in RGB below a line that says which epoch it is of."""
    import PIL.Image
    import PIL.ImageDraw

    width, height = frame.size
    size = (max(width, _LEAST_WIDTH), height + _CAPTION_HEIGHT)
    captioned = PIL.Image.new("RGB", size, "white")
    captioned.paste(frame.convert("RGB"), (0, _CAPTION_HEIGHT))
    words = f"epoch {epoch}" if epoch else "before the first step"
    PIL.ImageDraw.Draw(captioned).text((3, 2), words, fill="black")
    return captioned


def _shared_palette(frames):
    """An image whose palette suits the first, the middle and the last frame."""
    import PIL.Image

    chosen = [frames[0], frames[len(frames) // 2], frames[-1]]
    pixels = np.concatenate([np.asarray(frame) for frame in chosen])
    return PIL.Image.fromarray(pixels).quantize(255)


def _side_by_side(images):
    """(N, H, W, 3) -> (H, N * W and gaps, 3), the gaps white."""
    images = np.pad(images, ((0, 0), (0, 0), (0, _GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(images), axis=1)[:, :-_GAP]


def _save(path, pixels):
    import PIL.Image

    with whole_file(path) as unfinished:
        PIL.Image.fromarray(pixels).save(unfinished, format="PNG")
