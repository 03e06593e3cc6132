"""Damage to files: of bytes, of JSON, of pickles' opcodes and of what is in a zip file."""

import copy
import functools
import io
import itertools
import json
import pickletools
import struct
import zipfile

_FILLS = (0x00, 0xFF, 0x7F, 0x80)
_EDGE_BYTES = 4096  # at either end of a file: headers and lists of contents
_NUMBERS = (0, 1, 2, 127, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**48, 2**63, 2**64 - 1)
_VALUES = (
    *(None, True, 0, -1, 2, 2**31, 10**9, 2**63, 10**30, 0.5, -1e308, float("nan"), "", "x"),
    *("float32", "atto", [], {}, [0], [None, 3], {"depths": [10**9] * 4, "widths": [1] * 4}),
)
_CODES = ("F64", "F32", "F16", "BF16", "I8", "BOOL", "F8_E4M3", "U64", "F4", "f32", "")


def mutated_bytes(content, rng):
    """A copy with one to four pieces of damage."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _damage(content, rng)
    return bytes(content)


def _damage(content, rng):
    if not content:
        return
    place = _place(content, rng)
    size = min(rng.choice((1, 1, 2, 4, 8, 64, 512)), len(content) - place)
    other = rng.randrange(len(content) - size + 1)
    kind = rng.randrange(9)
    if kind == 0:
        del content[place:]
    elif kind == 1:
        content[place] ^= 1 << rng.randrange(8)
    elif kind == 2:
        content[place : place + size] = rng.randbytes(size)
    elif kind == 3:
        content[place : place + size] = bytes([rng.choice(_FILLS)]) * size
    elif kind == 4:
        content[place:place] = rng.choice((rng.randbytes(size), content[other : other + size]))
    elif kind == 5:
        del content[place : place + size]
    elif kind == 6:  # swap
        moved = content[place : place + size], content[other : other + size]
        content[other : other + size], content[place : place + size] = moved
    elif kind == 7:  # splice
        content[place : place + size] = content[other : other + size]
    else:
        number = rng.choice(_NUMBERS)
        width = rng.choice((2, 4, 8))
        place -= place % width
        content[place : place + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")


def _place(content, rng):
    end = len(content)
    first, last = rng.choice(((0, end), (0, end), (0, _EDGE_BYTES), (end - _EDGE_BYTES, end)))
    places = [rng.randrange(max(first, 0), min(last, end)) for _ in range(rng.choice((1, 9)))]
    # Much of an HDF5 file is empty.
    return next((place for place in places if content[place]), places[0])


def mutated_json(text, rng):
    """JSON with one to three values replaced, moved, doubled or taken away."""
    root = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        holders = list(_holders(root))
        if not holders:
            break
        holder = rng.choice(holders)
        place = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        kind = rng.randrange(5)
        if kind == 0:
            del holder[place]
        elif kind == 1:
            other = rng.choice(holders)
            holder[place] = copy.deepcopy(other)
        elif kind == 2 and isinstance(holder, dict):
            holder[rng.choice(("", "x", "depths", "a/b", "n" * 300))] = holder.pop(place)
        elif kind == 3 and type(holder[place]) is int:
            holder[place] += rng.choice((-1, 1, 4, 8, 2**31, 2**62, -(2**33)))
        else:
            holder[place] = copy.deepcopy(rng.choice(_VALUES))
    return json.dumps(root).encode()


def _holders(root):
    """The dicts and lists in it that are not empty."""
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)) and value:
            yield value
            waiting += value.values() if isinstance(value, dict) else value


def mutated_safetensors(content, rng):
    """Of its header, the JSON, or one tensor's entry, or anything."""
    (size,) = struct.unpack("<Q", content[:8])
    text, numbers = content[8 : 8 + size], content[8 + size :]
    kind = rng.randrange(4)
    if kind == 0:
        return mutated_bytes(content, rng)
    if kind == 1:
        text = mutated_json(text, rng)
    elif kind == 2:
        text = mutated_bytes(text, rng)
    else:
        text = _with_mutated_entry(json.loads(text), numbers, rng)
    return struct.pack("<Q", len(text)) + text + numbers


def _with_mutated_entry(header, numbers, rng):
    keys = [key for key in header if key != "__metadata__"]
    key, other = rng.choice(keys), rng.choice(keys)
    entry = header[key]
    kind = rng.randrange(6)
    if kind == 0:
        entry["dtype"] = rng.choice(_CODES)
    elif kind == 1:
        entry["shape"] = rng.choice(
            (entry["shape"][::-1], [*entry["shape"], 1], [0, 2**62], [2**32, 2**32], [1] * 99, [-1])
        )
    elif kind == 2:
        place = rng.randrange(2)
        entry["data_offsets"][place] += rng.choice((-4, -1, 1, 4, len(numbers), 2**63))
    elif kind == 3:
        header[key], header[other] = header[other], entry
    elif kind == 4:
        header[rng.choice((f"{key}.x", f"module.{key}", ""))] = header.pop(key)
    else:
        twice = f'{{"{key}": {json.dumps(entry)}, '
        return (twice + json.dumps(header)[1:]).encode()
    return json.dumps(header).encode()


def mutated_hdf5(content, rng):
    """With one or two of its addresses at another's place, where it may run in circles, or any."""
    if rng.randrange(2) == 0:
        return mutated_bytes(content, rng)
    places = _addresses(content)
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2))):
        place, other = rng.choice(places), rng.choice(places)
        out[place : place + 8] = content[other : other + 8]
    return bytes(out)


@functools.cache
def _addresses(content):
    """Where there are words that may be places in the file."""
    words = struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8])
    return [8 * index for index, word in enumerate(words) if 0 < word < len(content)]


def mutated_pickle(content, rng):
    """A pickle with opcodes taken away, doubled, exchanged or replaced, or with any damage."""
    if rng.randrange(3) == 0:
        return mutated_bytes(content, rng)
    opcodes = list(_opcodes_of(content))
    for _ in range(rng.choice((1, 1, 2, 5))):
        place, other = rng.randrange(len(opcodes)), rng.randrange(len(opcodes))
        kind = rng.randrange(5)
        if kind == 0 and len(opcodes) > 1:
            del opcodes[place]
        elif kind == 1:
            opcodes.insert(place, opcodes[other])
        elif kind == 2:
            opcodes[place], opcodes[other] = opcodes[other], opcodes[place]
        elif kind == 3:
            opcodes[place] = opcodes[other]
        else:
            opcodes.insert(place, rng.choice(_OPCODES))
    return b"".join(opcodes)


@functools.cache
def _opcodes_of(content):
    starts = [place for _, _, place in pickletools.genops(content)]
    return [content[start:end] for start, end in itertools.pairwise([*starts, len(content)])]


# Each opcode that there is, with an argument such as it may have.
_OPCODES = [
    opcode.code.encode("latin-1") + rest
    for opcode in pickletools.opcodes
    for rest in ((b"",) if opcode.arg is None else (b"\x01", b"\xff" * 8, b"1\n", b"a\nb\n"))
]


def mutated_zip(content, rng, inner):
    """A zip file damaged outside, or with a damaged entry under a checksum that fits.

    Args:
        content: of the zip file.
        rng: a `random.Random`.
        inner: {end of an entry's name: function (content, rng) that damages it}.
    """
    if rng.randrange(3) == 0:
        return mutated_bytes(content, rng)
    ending = rng.choice(list(inner))
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new,
    ):
        for name in old.namelist():
            entry = old.read(name)
            new.writestr(name, inner[ending](entry, rng) if name.endswith(ending) else entry)
    return out.getvalue()
