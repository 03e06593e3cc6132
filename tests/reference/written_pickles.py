"""PyTorch files around pickles that are written opcode by opcode."""

import pickle
import struct
import zipfile

PROTOCOL = b"\x80\x02"
STORAGES = {"0": bytes(range(64))}


def named(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


def plain(value):
    """The opcodes of a value of Python's own types."""
    return pickle.dumps(value, 2)[2:-1]


def storage(key="0", dtype="FloatStorage", num_values=16, kind="storage", rest=b""):
    opcodes = (plain(kind), named("torch", dtype), plain(key), plain("cpu"), plain(num_values))
    return b"(" + b"".join(opcodes) + rest + b"tQ"


def tensor(shape=(4,), strides=(1,), offset=0, **options):
    sizes = plain(offset) + plain(shape) + plain(strides)
    hooks = named("collections", "OrderedDict") + b")R"
    start = named("torch._utils", "_rebuild_tensor_v2") + b"("
    return start + storage(**options) + sizes + plain(False) + hooks + b"tR"


def state(*tensors):
    """A whole pickle of {"0": tensor, "1": tensor, ...}."""
    items = b"".join(plain(str(index)) + item for index, item in enumerate(tensors))
    return PROTOCOL + b"}(" + items + b"u."


def write_zip(path, content, storages=STORAGES, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        for key, numbers in storages.items():
            archive.writestr(f"archive/data/{key}", numbers)


def write_legacy(path, content, storages=STORAGES, keys=None, system=None):
    """Of float32 storages, in the format before PyTorch 1.6."""
    first = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    system = system or pickle.dumps({"little_endian": True}, 2)
    keys = keys or pickle.dumps(list(storages), 2)
    numbers = [struct.pack("<q", len(part) // 4) + part for part in storages.values()]
    path.write_bytes(b"".join([first, system, content, keys, *numbers]))


WRITERS = {"zip": write_zip, "legacy": write_legacy}
