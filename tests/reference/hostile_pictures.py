"""Small pictures of each format, to be damaged, and what reads them."""

import dataclasses

import numpy as np

from keras_convnextv2.data import Cover, ImageSourceError, PixelRange
from keras_convnextv2.data.folder_source import open_files
from keras_convnextv2.data.pixel_survey import survey_pixels
from tests.data.png_file import write_png
from tests.data.tiff_file import write_tiff
from tests.reference.fuzzing import Subject
from tests.reference.mutations import mutated_bytes

SIZE = (40, 56)
MAX_MEGAPIXELS = 8.0  # of which a decoder may need some hundred megabytes, not a gigabyte
_BANDS = 5


def _pixels(channels=3, dtype="uint8"):
    draw = np.random.default_rng(0)
    steps = draw.integers(0, 256, (5, 7, channels)).repeat(8, 0).repeat(8, 1)
    return (steps * (257 if dtype == "uint16" else 1)).astype(dtype)


def _write_by_pillow(folder, *each):
    from PIL import Image

    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(_pixels())
    for name, options in each:
        known = {**options, "exif": exif} if options.get("exif") else options
        picture = image.convert("P") if "transparency" in options else image
        picture.save(folder / name, **known)
    return [folder / name for name, _ in each]


def _jpeg(folder):
    return _write_by_pillow(
        folder,
        ("a.jpg", {}),
        ("turned.jpg", {"exif": True}),
        ("progressive.jpg", {"progressive": True, "optimize": True}),
    )


def _png(folder):
    write_png(folder / "deep.png", _pixels(dtype="uint16"), significant_bits=12)
    write_png(folder / "grey.png", _pixels(2, "uint16"))
    plain = _write_by_pillow(
        folder, ("a.png", {}), ("turned.png", {"exif": True}), ("p.png", {"transparency": 3})
    )
    return [*plain, folder / "deep.png", folder / "grey.png"]


def _webp(folder):
    return _write_by_pillow(
        folder, ("a.webp", {}), ("exact.webp", {"lossless": True}), ("turned.webp", {"exif": True})
    )


def _gif(folder):
    from PIL import Image

    frames = [Image.fromarray(_pixels()[shift:]) for shift in (0, 0, 0)]
    frames[1] = frames[1].rotate(180)
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    return [*_write_by_pillow(folder, ("a.gif", {})), folder / "moving.gif"]


def _tiff(folder):
    write_tiff(folder / "deep.tif", _pixels(dtype="uint16"), order=">")
    write_tiff(folder / "packed.tif", _pixels(1, "uint16")[..., 0] >> 4, bits=12)
    write_tiff(folder / "floats.tif", _pixels(1).astype("float32")[..., 0], compressed=True)
    write_tiff(folder / "bands.tif", _pixels(_BANDS, "uint16"), planar=True, compressed=True)
    plain = _write_by_pillow(
        folder,
        ("a.tif", {}),
        ("lzw.tif", {"compression": "tiff_lzw"}),
        ("jpeg.tif", {"compression": "jpeg"}),
    )
    return [*plain, *(folder / f"{name}.tif" for name in ("deep", "packed", "floats", "bands"))]


def _newer(folder):
    import pillow_heif
    from PIL import Image

    image = Image.fromarray(_pixels())
    pillow_heif.from_pillow(image).save(folder / "a.heic", quality=50)
    image.save(folder / "a.bmp")
    image.save(folder / "a.avif", quality=50)
    return [folder / "a.heic", folder / "a.bmp", folder / "a.avif"]


def _damaged(content, rng, path):
    """Some of all are bytes of nothing, or begin as a picture of some kind does."""
    kind = rng.randrange(20)
    if kind == 0:
        return rng.randbytes(rng.choice((0, 1, 8, 30, 400)))
    if kind == 1:
        return content[: rng.choice((8, 16, 26, 40))] + rng.randbytes(400)
    return mutated_bytes(content, rng)


def read_picture(path):
    """What a training and the look at a folder's pixels read of a file."""
    channels = _BANDS if path.stem == "bands" else 3
    source = open_files([str(path)], channels, PixelRange(0, 65535))
    source = dataclasses.replace(source, max_megapixels=MAX_MEGAPIXELS)
    image = source.read_one(0, Cover((24, 24)))
    assert image.shape == (24, 24, channels) and image.dtype == "uint8"
    survey_pixels([str(path)])


SUBJECTS = {
    kind: Subject(make, _damaged, read_picture, ImageSourceError, warns=True)
    for kind, make in (
        ("jpeg", _jpeg),
        ("png", _png),
        ("webp", _webp),
        ("gif", _gif),
        ("tiff", _tiff),
        ("newer", _newer),
    )
}
