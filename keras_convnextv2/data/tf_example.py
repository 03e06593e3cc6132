"""Records as `tf.train.Example`, which TensorFlow Datasets and others write: without TensorFlow.

A protocol buffer of three nested messages; a field is its number and kind in one varint, and then a
varint or a length and so many bytes (https://protobuf.dev/programming-guides/encoding).
"""

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_BYTES_LIST, _FLOAT_LIST, _INT_LIST = 1, 2, 3


def write_example(features):
    """The bytes of a record.

    Args:
        features: {key: list of bytes, or of ints of 0 or more}.
    """
    entries = []
    for key, values in features.items():
        if all(isinstance(value, bytes) for value in values):
            kind, content = _BYTES_LIST, b"".join(_field(1, value) for value in values)
        else:
            kind, content = _INT_LIST, _field(1, b"".join(_varint(value) for value in values))
        entry = _field(1, key.encode()) + _field(2, _field(kind, content))
        entries.append(_field(1, entry))
    return _field(1, b"".join(entries))


def read_example(record, keys=None):
    """{key: list of bytes or of ints} of a record; features of floats are left out.

    Args:
        record: bytes, or a memoryview of them.
        keys: of the features that are wanted; the others are not read. None: all.

    Raises:
        ValueError: it is no such record.
    """
    features = {}
    try:
        for message in _values(memoryview(record), 1):
            for entry in _values(message, 1):
                (key,), (feature,) = _values(entry, 1), _values(entry, 2)
                name = bytes(key).decode()
                if keys is not None and name not in keys:
                    continue
                for kind, content in _fields(feature):
                    if kind == _BYTES_LIST:
                        features[name] = [bytes(value) for value in _values(content, 1)]
                    elif kind == _INT_LIST:
                        features[name] = _ints(content)
    except (IndexError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no record of features ({error})") from error
    return features


def _field(number, content):
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value):
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _values(message, number):
    return [value for found, value in _fields(message) if found == number]


def _ints(message):
    values = []
    for number, value in _fields(message):
        if number != 1:
            continue
        if isinstance(value, int):
            values.append(value)
            continue
        place = 0  # packed: one varint behind the other
        while place < len(value):
            one, place = _read_varint(value, place)
            values.append(one)
    return [value - (1 << 64) if value >> 63 else value for value in values]


def _fields(message):
    """(number, int or memoryview) of each field."""
    place = 0
    while place < len(message):
        tag, place = _read_varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _read_varint(message, place)
        elif kind in (_BYTES, _EIGHT_BYTES, _FOUR_BYTES):
            length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind)
            if length is None:
                length, place = _read_varint(message, place)
            value, place = message[place : place + length], place + length
            if place > len(message):
                raise IndexError("a field is cut off")
        else:
            raise IndexError(f"a field of the kind {kind}")
        yield number, value


def _read_varint(message, place):
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise IndexError("a number of more than 64 bits")
