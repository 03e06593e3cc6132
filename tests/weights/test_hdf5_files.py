"""HDF5 inside `.weights.h5` and `.keras` files: only plain arrays in the file itself are read."""

import io
import zipfile

import h5py
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.weights.hdf5_file import Window, stored_tensors

pytestmark = pytest.mark.one_backend

NAME = "layers/dense/vars/1"  # of the head's bias


def external(file, array, folder):
    (folder / "elsewhere").write_bytes(array.tobytes())
    place = [(str(folder / "elsewhere"), 0, array.nbytes)]
    file.create_dataset(NAME, array.shape, array.dtype, external=place)


def virtual(file, array, folder):
    with h5py.File(folder / "elsewhere", "w") as other:
        other["w"] = array
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[...] = h5py.VirtualSource(folder / "elsewhere", "w", array.shape)
    file.create_virtual_dataset(NAME, layout)


def external_link(file, array, folder):
    with h5py.File(folder / "elsewhere", "w") as other:
        other["w"] = array
    file[NAME] = h5py.ExternalLink(str(folder / "elsewhere"), "w")


def soft_link(file, array, folder):
    file["elsewhere"] = array
    file[NAME] = h5py.SoftLink("/elsewhere")


def hard_link(file, array, folder):
    file["elsewhere"] = array
    file[NAME] = file["elsewhere"]


def group_in_itself(file, array, folder):
    file[NAME] = file["layers"]


def compact(file, array, folder):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(array.shape)
    h5py.h5d.create(file.id, NAME.encode(), h5py.h5t.IEEE_F32LE, space, properties)
    file[NAME][...] = array


def plain(**options):
    return lambda file, array, folder: file.create_dataset(NAME, data=array, **options)


def other(change):
    return lambda file, array, folder: file.create_dataset(NAME, data=change(array))


NOT_PLAIN = "layers/dense/vars/1 is no plain array in the file itself"
NOT_NUMBERS = "layers/dense/vars/1 holds no numbers of a kind known here"
REFUSED = {
    "external": (external, NOT_PLAIN),
    "virtual": (virtual, NOT_PLAIN),
    "compact": (compact, NOT_PLAIN),
    "chunked": (plain(chunks=(1,)), NOT_PLAIN),
    "compressed": (plain(compression="gzip"), NOT_PLAIN),
    "checksums": (plain(fletcher32=True), NOT_PLAIN),
    "growing": (plain(maxshape=(None,)), NOT_PLAIN),
    "external link": (external_link, "layers/dense/vars is no plain array in the file itself"),
    "soft link": (soft_link, "layers/dense/vars/1 is a link to elsewhere"),
    "hard link": (hard_link, "is there under another name too"),
    "group in itself": (group_in_itself, "is there under another name too"),
    "never written": (
        lambda file, array, folder: file.create_dataset(NAME, (3,), "float32"),
        "the 3 numbers of layers/dense/vars/1 are not all in the file",
    ),
    "texts": (other(lambda array: ["a", "b", "c"]), NOT_NUMBERS),
    "bytes": (other(lambda array: np.array([b"a", b"b", b"c"])), NOT_NUMBERS),
    "opaque": (other(lambda array: array.view("V4")), NOT_NUMBERS),
    "complex": (other(lambda array: array.astype("complex64")), NOT_NUMBERS),
    "rows": (other(lambda array: array.view([("x", "f4")])), NOT_NUMBERS),
    "arrays": (
        lambda file, array, folder: file.create_dataset(NAME, (3,), np.dtype(("f4", (2,)))),
        NOT_NUMBERS,
    ),
    "nothing": (other(lambda array: h5py.Empty("f4")), NOT_NUMBERS),
    "integers": (other(lambda array: array.astype("int32")), "head/bias is of dtype int32, not"),
    "not finite": (other(lambda array: array * np.nan), "head/bias holds 3 of 3 values that are"),
}
READ = {
    "big-endian": other(lambda array: array.astype(">f4")),
    "float64": other(lambda array: array.astype("float64")),
    "float16": other(lambda array: array.astype("float16")),
    "bfloat16": other(lambda array: array.astype("bfloat16")),
}


@pytest.fixture
def changed(saved, tmp_path):
    """Writes the small classifier's file with another bias of its head; returns its path."""

    def changed(change, kind):
        path = tmp_path / "file.weights.h5"
        path.write_bytes(saved["model.weights.h5"])
        with h5py.File(path, "r+") as file:
            array = file[NAME][...]
            del file[NAME]
            change(file, array, tmp_path)
        if kind == "hdf5":
            return path
        with (
            zipfile.ZipFile(io.BytesIO(saved["model.keras"])) as old,
            zipfile.ZipFile(tmp_path / "file.keras", "w") as new,
        ):
            new.writestr("config.json", old.read("config.json"))
            new.write(path, "model.weights.h5")
        return tmp_path / "file.keras"

    return changed


@pytest.mark.parametrize("kind", ["hdf5", "keras"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_dataset_of_another_kind_is_refused(name, kind, changed):
    change, message = REFUSED[name]
    path = changed(change, kind)
    with pytest.raises(kc.WeightsError, match=rf"file\.(keras|weights\.h5).*{message}"):
        kc.from_preset(path)


@pytest.mark.parametrize("kind", ["hdf5", "keras"])
@pytest.mark.parametrize("name", READ)
def test_floats_of_any_kind_are_read(name, kind, changed):
    bias = []

    def change(file, array, folder):
        READ[name](file, array, folder)
        bias.append(array)

    model = kc.from_preset(changed(change, kind))
    expected = bias[0]
    if name in ("float16", "bfloat16"):
        expected = expected.astype(name).astype("float32")
    np.testing.assert_array_equal(model.get_layer("head").bias.numpy(), expected)


def test_every_array_is_what_the_hdf5_library_reads(tmp_path, rng):
    numbers = 9 * rng.normal(size=(3, 4, 5))
    kinds = ("float64", ">f4", "float16", "bfloat16", "int64", ">i2", "uint8", "uint32", "int8")
    with h5py.File(tmp_path / "file.h5", "w") as file:
        for kind in kinds:
            file[f"kinds/{kind}"] = numbers.astype(kind)
        file["kinds/scalar"] = 2.5
        file["kinds/empty"] = numbers[:0]
        for index in range(700):  # so many that the table of names is a tree of some levels
            file[f"many/{'x' * (index % 90)}{index}"] = rng.normal(size=index % 3)
        for index in range(40):  # so many that the group's header goes on elsewhere
            file.attrs[f"attribute {index}"] = "text" * index
            file[f"kinds/{kinds[0]}"].attrs[str(index)] = index
        expected = {}
        file.visititems(
            lambda name, item: expected.update({name: item[()]}) if "/" in name else None
        )
    tensors = stored_tensors(
        tmp_path / "file.h5", Window(tmp_path / "file.h5", 0, (tmp_path / "file.h5").stat().st_size)
    )
    assert len(tensors) == 711
    assert tensors.keys() == expected.keys()
    for name, array in expected.items():
        read = tensors[name].load()
        if tensors[name].dtype == "bfloat16":
            array = array.view("bfloat16")
        assert read.dtype == array.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(read, array, err_msg=name)


def moved(name):
    """Renames the group of the first block."""
    return lambda file, array, folder: file.move(
        "layers/conv_ne_xt_v2_backbone/layers/conv_ne_xt_v2_block", name
    )


@pytest.mark.parametrize(
    "name",
    [
        "layers/conv_ne_xt_v2_backbone/layers/conv_ne_xt_v2_block_" + "9" * 5000,
        "layers/conv_ne_xt_v2_backbone/layers/conv_ne_xt_v2_block_01",
        "(a+)+$/layers/conv_ne_xt_v2_block",  # a pattern that takes time without end
        "((/layers/conv_ne_xt_v2_block",  # and one that is none
        b"\xff\xfe",  # no UTF-8
    ],
)
def test_names_that_mean_no_layer_are_refused(name, changed):
    path = changed(moved(name), "hdf5")
    with pytest.raises(
        kc.WeightsError, match="does not tell its depths|no ConvNeXt V2 in|is damaged"
    ):
        kc.from_preset(path)


@pytest.mark.parametrize("shape", [(0,), (), (2, 1), (2**31, 0)])
def test_a_width_that_is_none_is_refused(shape, changed):
    def change(file, array, folder):
        file[NAME] = array
        name = "layers/conv_ne_xt_v2_backbone/layers/conv_ne_xt_v2_block/depthwise/vars/1"
        del file[name]
        file[name] = np.zeros(shape, "float32")

    path = changed(change, "hdf5")
    with pytest.raises(kc.WeightsError, match="does not tell its depths: blocks of widths"):
        kc.from_preset(path)


def test_a_table_of_names_in_itself_is_refused(saved, tmp_path):
    content = bytearray(saved["model.weights.h5"])
    tree = content.index(b"TREE")
    content[tree + 32 : tree + 40] = tree.to_bytes(8, "little")  # its first child
    (tmp_path / "file.h5").write_bytes(content)
    with pytest.raises(kc.WeightsError, match="lists of names are longer than any model's"):
        kc.from_preset(tmp_path / "file.h5")


@pytest.mark.parametrize("version", [2, 3])
def test_a_newer_version_of_hdf5_is_refused_with_the_way_out(version, saved, tmp_path):
    libver = {2: "v108", 3: "v110"}[version]
    with (
        h5py.File(io.BytesIO(saved["model.weights.h5"])) as old,
        h5py.File(tmp_path / "file.h5", "w", libver=libver) as new,
    ):
        new["w"] = old[NAME][...]
    with pytest.raises(kc.WeightsError, match=f"version {version} .* load it with Keras and save"):
        kc.from_preset(tmp_path / "file.h5")


@pytest.mark.parametrize("size", [8, 9, 64, 2000, 20000, -1])
def test_a_file_that_is_cut_short_is_refused(size, saved, tmp_path):
    (tmp_path / "file.h5").write_bytes(saved["model.weights.h5"][:size])
    with pytest.raises(kc.WeightsError, match="is damaged or no weights file of Keras"):
        kc.from_preset(tmp_path / "file.h5")
