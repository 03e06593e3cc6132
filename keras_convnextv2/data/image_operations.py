"""The operations that RandAugment draws from, on Pillow images, each with one argument.

What each argument is, and how strong it gets, stands in `rand_augment_levels`.
"""

COLOUR_OPERATIONS = ("Color",)  # they mix red, green and blue
_SOLARIZE_BELOW = 128  # SolarizeAdd leaves brighter pixels


def apply_operation(name, picture, argument, fill, resampling):
    """Applies an operation to a picture.

    Args:
        name: str, a key of `OPERATIONS`.
        picture: `PIL.Image.Image`, RGB or grey ("L").
        argument: of the operation; None for those without.
        fill: colour of what comes in from outside, ints of 0..255.
        resampling: "BILINEAR" or "BICUBIC", of what moves by parts of pixels.

    Returns:
        `PIL.Image.Image` of the same size and mode.
    """
    from PIL import Image

    operation = OPERATIONS[name]
    if operation in _GEOMETRIC:
        return operation(picture, argument, fill, Image.Resampling[resampling])
    return operation(picture, argument)


def _auto_contrast(picture, _):
    from PIL import ImageOps

    return ImageOps.autocontrast(picture)


def _equalize(picture, _):
    from PIL import ImageOps

    return ImageOps.equalize(picture)


def _invert(picture, _):
    from PIL import ImageOps

    return ImageOps.invert(picture)


def _posterize(picture, bits):
    """Keeps that many of the eight bits; 0 makes it black."""
    from PIL import ImageOps

    if bits < 1:  # which Pillow 13 refuses
        return picture.point(lambda level: 0)
    return ImageOps.posterize(picture, bits)


def _solarize(picture, threshold):
    """Inverts what is as bright as the threshold or brighter."""
    from PIL import ImageOps

    return ImageOps.solarize(picture, threshold)


def _solarize_add(picture, added):
    """Brightens what is darker than half."""
    table = [min(255, level + added) if level < _SOLARIZE_BELOW else level for level in range(256)]
    return picture.point(table * len(picture.getbands()))


def _color(picture, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Color(picture).enhance(factor)


def _contrast(picture, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(picture).enhance(factor)


def _brightness(picture, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(picture).enhance(factor)


def _sharpness(picture, factor):
    from PIL import ImageEnhance

    return ImageEnhance.Sharpness(picture).enhance(factor)


def _rotate(picture, degrees, fill, resample):
    return picture.rotate(degrees, resample, fillcolor=fill)


def _shear_x(picture, factor, fill, resample):
    return _transform(picture, (1, factor, 0, 0, 1, 0), fill, resample)


def _shear_y(picture, factor, fill, resample):
    return _transform(picture, (1, 0, 0, factor, 1, 0), fill, resample)


def _translate_x(picture, share, fill, resample):
    return _transform(picture, (1, 0, share * picture.width, 0, 1, 0), fill, resample)


def _translate_y(picture, share, fill, resample):
    return _transform(picture, (1, 0, 0, 0, 1, share * picture.height), fill, resample)


def _transform(picture, matrix, fill, resample):
    """matrix: (a, b, c, d, e, f); the pixel at (x, y) comes from (ax + by + c, dx + ey + f)."""
    from PIL import Image

    affine = Image.Transform.AFFINE
    return picture.transform(picture.size, affine, matrix, resample, fillcolor=fill)


# In timm's order; a list is drawn from by place.
OPERATIONS = {
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
    "Invert": _invert,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
}
_GEOMETRIC = {_rotate, _shear_x, _shear_y, _translate_x, _translate_y}
