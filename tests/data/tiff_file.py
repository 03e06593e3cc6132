"""Writes TIFF files as cameras and satellites do, field by field: Pillow writes few of them."""

import struct
import zlib

import numpy as np

_CODES = {2: "s", 3: "H", 4: "I", 12: "d"}  # by TIFF's numbers of types
_TYPES = {281: 4, 280: 4, 340: 12, 341: 12}  # others are SHORT
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def write_tiff(path, array, order="<", planar=False, compressed=False, bits=None, fields=None):
    """Writes (H, W) or (H, W, C) of any dtype as a TIFF of one strip a plane.

    Args:
        path: of the file.
        array: the values.
        order: "<" or ">", of the bytes.
        planar: bool, each band by itself.
        compressed: bool, by deflate.
        bits: optional int, 12 packs two values into three bytes.
        fields: optional {number: int, float, bytes or tuple}, more fields or other ones.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = array if array.ndim == 3 else array[..., None]
    height, width, bands = pixels.shape
    planes = [pixels[..., band] for band in range(bands)] if planar else [pixels]
    stored = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    if bits == 12:
        stored = [_packed(plane) for plane in planes]
    if compressed:
        stored = list(map(zlib.compress, stored))
    entries = {
        256: width,
        257: height,
        258: (bits or 8 * array.dtype.itemsize,) * bands,
        259: 8 if compressed else 1,
        262: 1,
        277: bands,
        278: height,
        284: 2 if planar else 1,
        339: (_SAMPLE_FORMATS[array.dtype.kind],) * bands,
        **({338: (0,) * (bands - 1)} if bands > 1 else {}),
        **(fields or {}),
        273: tuple(0 for _ in stored),
        279: tuple(map(len, stored)),
    }
    entries = {number: value for number, value in sorted(entries.items()) if value is not None}
    start = 8 + 2 + 12 * len(entries) + 4
    sizes = {number: len(_content(number, value, order)) for number, value in entries.items()}
    offset = start + sum(size + size % 2 for size in sizes.values() if size > 4)
    offsets = [offset + sum(map(len, stored[:place])) for place in range(len(stored))]
    entries[273] = tuple(offsets)
    directory, beyond = b"", b""
    for number, value in entries.items():
        content = _content(number, value, order)
        kind = _kind(number, value)
        count = len(content) // struct.calcsize(order + _CODES[kind])
        directory += struct.pack(order + "HHI", number, kind, count)
        if len(content) <= 4:
            directory += content.ljust(4, b"\0")
        else:
            directory += struct.pack(order + "I", start + len(beyond))
            beyond += content + b"\0" * (len(content) % 2)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", 8) + struct.pack(order + "H", len(entries))
    path.write_bytes(head + directory + struct.pack(order + "I", 0) + beyond + b"".join(stored))


def _kind(number, value):
    if isinstance(value, bytes):
        return 2
    return 4 if number in (273, 279) else _TYPES.get(number, 3)


def _content(number, value, order):
    if isinstance(value, bytes):
        return value
    values = value if isinstance(value, tuple) else (value,)
    return struct.pack(f"{order}{len(values)}{_CODES[_kind(number, value)]}", *values)


def _packed(plane):
    """Rows of 12-bit values, two in three bytes; the width is even."""
    first, second = plane[:, 0::2, 0].astype(int), plane[:, 1::2, 0].astype(int)
    triples = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    return triples.astype("uint8").tobytes()
