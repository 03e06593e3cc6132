"""Reconstructions over epochs: what is kept of them, and the animation."""

import numpy as np
import PIL.Image
import pytest

from keras_convnextv2.analysis.reconstruction_frames import (
    WriteReconstructions,
    frames_in,
    save_reconstruction_animation,
)
from keras_convnextv2.analysis.reconstructions import draw_reconstructions

pytestmark = pytest.mark.one_backend


def drawn(rng, count=3, height=16, width=24):
    names = ("original", "masked", "reconstruction", "pasted")
    shape = (count, height, width, 3)
    return {name: rng.integers(0, 256, shape, dtype="uint8") for name in names}


def pixels_of(path):
    return np.asarray(PIL.Image.open(path))


def test_a_pixel_of_an_image_is_a_pixel_of_the_file(make_fcmae, tmp_path, rng):
    fcmae = make_fcmae()
    fcmae.compile()
    images = rng.normal(size=(6, 16, 24, 3)).astype("float32")
    shown = (images[:3], np.full(3, 0.5), np.full(3, 0.25))
    before = draw_reconstructions(fcmae, *shown)
    writing = WriteReconstructions(tmp_path, lambda: draw_reconstructions(fcmae, *shown), every=2)
    fcmae.fit(images, batch_size=3, epochs=5, verbose=0, callbacks=[writing])
    # Before the first step, every second epoch, and the last.
    assert list(frames_in(tmp_path)) == [0, 2, 4, 5]
    assert {path.name for path in tmp_path.iterdir()} == {
        *("original.png", "masked.png"),
        *("epoch-0000.png", "epoch-0002.png", "epoch-0004.png", "epoch-0005.png"),
    }
    after = draw_reconstructions(fcmae, *shown)
    originals = pixels_of(tmp_path / "original.png")
    assert originals.shape == (16, 3 * 24 + 2 * 2, 3)  # two pixels between images
    for place in range(3):
        columns = slice(place * 26, place * 26 + 24)
        np.testing.assert_array_equal(originals[:, columns], before["original"][place])
        for epoch, rows in ((0, before), (5, after)):
            frame = pixels_of(tmp_path / f"epoch-{epoch:04}.png")[:, columns]
            np.testing.assert_array_equal(frame[:16], rows["reconstruction"][place])
            np.testing.assert_array_equal(frame[16:], rows["pasted"][place])
    assert (before["pasted"] != after["pasted"]).any()


def test_what_a_training_does_again_is_removed_and_other_files_stay(tmp_path, rng):
    rows = drawn(rng)
    for name in ("epoch-0002.png", "epoch-0004.png", "epoch-0006.png", "epoch-x.png", "mine.txt"):
        (tmp_path / name).write_bytes(b"of before")
    writing = WriteReconstructions(tmp_path, lambda: rows, every=2)
    writing.set_model(_model(iterations=40))
    writing.set_params({"epochs": 8})
    writing.on_train_begin()
    writing.on_epoch_begin(4)  # four epochs are done
    assert list(frames_in(tmp_path)) == [2, 4]
    for epoch in (4, 5):
        writing.on_epoch_begin(epoch)
        writing.on_epoch_end(epoch)
    assert list(frames_in(tmp_path)) == [2, 4, 6]
    assert (tmp_path / "epoch-0004.png").read_bytes() == b"of before"
    assert (tmp_path / "epoch-x.png").exists() and (tmp_path / "mine.txt").exists()


def test_of_large_images_fewer_are_kept(tmp_path, rng):
    writing = WriteReconstructions(tmp_path, lambda: drawn(rng, 8, 224, 224))
    writing.set_model(_model(iterations=0))
    writing.on_epoch_begin(0)
    assert PIL.Image.open(tmp_path / "epoch-0000.png").size == (5 * 224 + 4 * 2, 2 * 224)


class _model:
    def __init__(self, iterations):
        self.optimizer = self
        self.iterations = np.int64(iterations)


@pytest.mark.parametrize("every", [0, 1.5])
def test_every_is_a_positive_int(every):
    with pytest.raises(ValueError, match=f"`every`.*Received: {every}"):
        WriteReconstructions("folder", dict, every)


def test_the_animation_has_a_frame_an_epoch_at_true_scale(tmp_path):
    # Few colours: the palette holds them all, so the pixels must come back as they are.
    colours = np.array([[255, 0, 0], [0, 160, 0], [0, 0, 255], [90, 90, 90]], "uint8")
    pixels = colours[np.arange(40 * 150).reshape(40, 150) % 4]
    frames = {epoch: PIL.Image.fromarray(np.roll(pixels, epoch, axis=1)) for epoch in (0, 3, 12)}
    path = tmp_path / "animation.gif"
    assert save_reconstruction_animation(path, frames) == (150, 56)
    animation = PIL.Image.open(path)
    assert (animation.n_frames, animation.size) == (3, (150, 56))
    captions = []
    for number, (epoch, frame) in enumerate(frames.items()):
        animation.seek(number)
        found = np.asarray(animation.convert("RGB")).astype(int)
        assert np.abs(found[16:] - np.asarray(frame)).max() <= 4, epoch  # the palette's rounding
        captions.append(found[:16].tobytes())
    assert len(set(captions)) == 3  # which say the epoch
    with pytest.raises(ValueError, match="one size"):
        save_reconstruction_animation(path, {1: frames[0], 2: frames[0].resize((4, 4))})
    with pytest.raises(ValueError, match="one size"):
        save_reconstruction_animation(path, {})
