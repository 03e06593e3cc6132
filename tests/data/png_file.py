"""Writes PNG files of 16 bits a sample, which Pillow writes in grey alone."""

import struct
import zlib

_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of samples


def write_png(path, array, significant_bits=None):
    """Writes uint16 (H, W) or (H, W, C): grey, grey and alpha, RGB or RGBA.

    Args:
        path: of the file.
        array: the values.
        significant_bits: optional int, for the field sBIT.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = array if array.ndim == 3 else array[..., None]
    height, width, samples = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOURS[samples], 0, 0, 0)
    field = b"" if significant_bits is None else bytes([significant_bits] * samples)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + (_chunk(b"sBIT", field) if field else b"")
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _chunk(name, content):
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
