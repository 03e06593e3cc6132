"""How strong an operation of RandAugment is at a magnitude, in timm's two scales."""

_FULL = 10.0  # the magnitude at which an argument reaches the end of its range
# Degrees, parts of a pixel a pixel, and shares of the side, at full magnitude.
_FARTHEST = {
    "Rotate": 30.0,
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateX": 0.45,
    "TranslateY": 0.45,
}
_ENHANCED = ("Color", "Contrast", "Brightness", "Sharpness")
_MOST_ADDED = 110


def operation_argument(name, magnitude, sign, increasing):
    """The argument of an operation at a magnitude.

    Args:
        name: str, of an operation.
        magnitude: float, 0 or more; 10 is full strength.
        sign: 1 or -1, of operations that go both ways.
        increasing: bool. True (`inc1`): a larger magnitude changes the image more. False: in the
            scale of the first implementation, where posterize and solarize grow weaker with it, and
            the four that enhance go from 0.1 over 1, which changes nothing, to 1.9.

    Returns:
        float, int, or None for an operation without an argument: degrees (Rotate), pixels a pixel
        (Shear), a share of the side (Translate), bits kept (Posterize), the first level that is
        inverted (Solarize), levels added (SolarizeAdd), or a factor, 1 of which changes nothing.
    """
    level = magnitude / _FULL
    if name in _FARTHEST:
        return sign * level * _FARTHEST[name]
    if name in _ENHANCED:
        return max(0.1, 1 + sign * level * 0.9) if increasing else level * 1.8 + 0.1
    if name == "Posterize":
        bits = int(level * 4)
        return max(0, 4 - bits) if increasing else min(8, bits)
    if name == "Solarize":
        threshold = min(256, int(level * 256))
        return 256 - threshold if increasing else threshold
    if name == "SolarizeAdd":
        return min(128, int(level * _MOST_ADDED))
    return None
