"""Writes augmentation.npz beside this file: a small picture after each operation of RandAugment.

In NumPy with float64, without Pillow and without this package: levels by histograms, blends by
their formula, what moves by sampling the cubic through 4x4 pixels, or the planes through 2x2, whose
edge is repeated; a pixel whose origin lies outside of the picture is of the fill's colour.

    python tests/golden/make_augmentation_golden.py
"""

from pathlib import Path

import numpy as np

SIZE = (17, 21)  # height, width; enough pixels that an equalized histogram is not the old one
FILL = (124, 116, 104)
# Arguments of magnitude 9 under `inc1`; degrees, pixels a pixel, shares of the side.
OPERATIONS = {
    "AutoContrast": None,
    "Equalize": None,
    "Invert": None,
    "Rotate": 27.0,
    "Posterize": 1,
    "Solarize": 26,
    "SolarizeAdd": 99,
    "Color": 1.81,
    "Contrast": 0.19,
    "Brightness": 1.81,
    "Sharpness": 1.81,
    "ShearX": 0.27,
    "ShearY": -0.27,
    "TranslateX": 0.405,
    "TranslateY": -0.405,
}


def make_picture():
    """Soft shades with a disc and some noise, darker than light; uint8 (H, W, 3)."""
    generator = np.random.default_rng(1909_13719)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = (rows - 6) ** 2 + (columns - 13) ** 2 < 20
    shades = np.stack([40 + 7 * columns, 30 + 9 * rows, 150 - 4 * columns - 2 * rows], axis=-1)
    shades = (
        shades + disc[..., None] * np.array([70, -20, 60]) + generator.integers(-9, 10, (*SIZE, 3))
    )
    return np.clip(shades, 20, 235).astype("uint8")


def auto_contrast(x):
    low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    return (x - low) * 255 / (high - low)


def equalize(x):
    equalized = np.empty_like(x)
    for channel in range(x.shape[-1]):
        counts = np.bincount(x[..., channel].astype(int).ravel(), minlength=256)
        step = (counts.sum() - counts[np.nonzero(counts)[0][-1]]) // 255
        darker = np.cumsum(counts) - counts
        table = (step // 2 + darker) // step
        equalized[..., channel] = table[x[..., channel].astype(int)]
    return equalized


def grey(x):
    return np.round(x @ [0.299, 0.587, 0.114])[..., None]


def smooth(x):
    """Weights 1, and 5 in the middle, of 3x3; the rim stays."""
    total = 4 * x
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            total = total + np.roll(x, (down, right), axis=(0, 1))
    smoothed = x.copy()
    smoothed[1:-1, 1:-1] = total[1:-1, 1:-1] / 13
    return smoothed


def blend(degenerate, x, factor):
    return degenerate + factor * (x - degenerate)


def cubic_weights(part):
    """(4,) of the pixels at -1, 0, 1, 2: the cubic whose slope at a pixel is the difference of its
    neighbours (a = -1)."""
    t = part
    return np.array([-t * (1 - t) ** 2, 1 - 2 * t**2 + t**3, t + t**2 - t**3, -(t**2) * (1 - t)])


def linear_weights(part):
    return np.array([0, 1 - part, part, 0])


def move(x, origin_of, weights_of=cubic_weights):
    """origin_of: function of the centre of a pixel, (x, y), that gives where it comes from."""
    height, width = x.shape[:2]
    moved = np.empty_like(x)
    for row in range(height):
        for column in range(width):
            from_x, from_y = origin_of(column + 0.5, row + 0.5)
            if not (0 <= from_x < width and 0 <= from_y < height):
                moved[row, column] = FILL
                continue
            left, top = int(np.floor(from_x - 0.5)), int(np.floor(from_y - 0.5))
            columns = np.clip(np.arange(left - 1, left + 3), 0, width - 1)
            rows = np.clip(np.arange(top - 1, top + 3), 0, height - 1)
            weights_x = weights_of(from_x - 0.5 - left)
            weights_y = weights_of(from_y - 0.5 - top)
            moved[row, column] = np.einsum(
                "y,yxc,x->c", weights_y, x[np.ix_(rows, columns)], weights_x
            )
    return moved


def turned(degrees):
    """Counter-clockwise about the middle; rows run downwards."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    middle_x, middle_y = SIZE[1] / 2, SIZE[0] / 2

    def origin_of(x, y):
        right, down = x - middle_x, y - middle_y
        return middle_x + cosine * right - sine * down, middle_y + sine * right + cosine * down

    return origin_of


def apply(name, x, argument, weights_of=cubic_weights):
    """x: float64 (H, W, 3). Returns float64, before rounding."""
    match name:
        case "AutoContrast":
            return auto_contrast(x)
        case "Equalize":
            return equalize(x)
        case "Invert":
            return 255 - x
        case "Posterize":
            step = 2 ** (8 - argument)
            return x // step * step
        case "Solarize":
            return np.where(x < argument, x, 255 - x)
        case "SolarizeAdd":
            return np.where(x < 128, x + argument, x)
        case "Color":
            return blend(grey(x), x, argument)
        case "Contrast":
            return blend(np.round(grey(x).mean()), x, argument)
        case "Brightness":
            return blend(0, x, argument)
        case "Sharpness":
            return blend(smooth(x), x, argument)
        case "Rotate":
            return move(x, turned(argument), weights_of)
        case "ShearX":
            return move(x, lambda right, down: (right + argument * down, down), weights_of)
        case "ShearY":
            return move(x, lambda right, down: (right, down + argument * right), weights_of)
        case "TranslateX":
            return move(x, lambda right, down: (right + argument * SIZE[1], down), weights_of)
        case "TranslateY":
            return move(x, lambda right, down: (right, down + argument * SIZE[0]), weights_of)


def main():
    picture = make_picture()
    arrays = {"picture": picture}

    def add(name, values):
        arrays[name] = np.clip(np.round(values), 0, 255).astype("uint8")

    for name, argument in OPERATIONS.items():
        add(name, apply(name, picture.astype("float64"), argument))
    add("Rotate, bilinear", apply("Rotate", picture.astype("float64"), 27.0, linear_weights))
    np.savez_compressed(Path(__file__).with_name("augmentation.npz"), **arrays)


if __name__ == "__main__":
    main()
