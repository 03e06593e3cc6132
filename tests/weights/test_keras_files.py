"""What Keras saves: our models come back, and what could do harm is refused."""

import io
import json
import struct
import zipfile

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.weights.model_weights import named_weights
from tests.reference.random_weights import randomize

IMAGES = np.random.default_rng(4).normal(size=(2, 16, 24, 3)).astype("float32")
EQUAL_WIDTHS = kc.Variant((1, 2, 1, 1), (4, 4, 8, 8))
OPTIONS = {
    "plain": {},
    "stochastic depth": {"drop_path_rate": 0.4},
    "bfloat16": {"dtype": "bfloat16"},
    "mixed": {"dtype": "mixed_bfloat16"},
    "equal widths": {"variant": EQUAL_WIDTHS},
}


def make_model(make_fcmae, kind, seed, **options):
    fcmae = make_fcmae(weights_seed=seed, **options)
    if kind == "fcmae":
        return fcmae
    if kind == "backbone":
        return fcmae.backbone
    classifier = kc.ConvNeXtV2Classifier(
        fcmae.backbone, 3, activation="softmax", class_names=("a", "b", "c")
    )
    randomize(classifier, np.random.default_rng(seed))
    return classifier


def arrays(model):
    return {name: keras.ops.convert_to_numpy(w) for name, w in named_weights(model).items()}


def assert_same_weights(model, expected):
    for name, array in arrays(model).items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["model.keras", "model.pt"])
def test_a_file_that_was_cut_is_named_with_what_to_do(name, tmp_path, make_fcmae):
    path, backbone = tmp_path / name, make_fcmae().backbone
    if name == "model.keras":
        backbone.save(path)
    else:
        kc.save_weights(backbone, path, format="official")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(kc.WeightsError, match=f"{name} is damaged: .* does not end as one.* came"):
        kc.from_preset(path)


@pytest.mark.one_backend
def test_an_archive_whose_end_tells_of_other_disks_is_damaged(tmp_path, make_fcmae):
    path = tmp_path / "model.pt"
    kc.save_weights(make_fcmae().backbone, path, format="official")
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    # Signature, disk of the list's end, its place, number of disks: of a zip file beyond 4 GB.
    told = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2)
    path.write_bytes(content[:end] + told + content[end:])
    with pytest.raises(kc.WeightsError, match="model.pt is damaged"):
        kc.from_preset(path)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *(pytest.param("backbone", name, marks=pytest.mark.one_backend) for name in OPTIONS),
        ("classifier", "plain"),
        ("fcmae", "bfloat16"),
    ],
)
def test_what_is_saved_comes_back(kind, options, tmp_path, make_fcmae):
    model = make_model(make_fcmae, kind, 0, **OPTIONS[options])
    other = make_model(make_fcmae, kind, 1, **OPTIONS[options])
    expected, unlike = arrays(model), arrays(other)
    assert not np.array_equal(expected["stem/conv/kernel"], unlike["stem/conv/kernel"])
    getattr(model, "backbone", model).licence = "cc-by-nc-4.0"
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")

    built = kc.from_preset(tmp_path / "model.keras")
    assert_same_weights(built, expected)
    backbone, built_backbone = (getattr(m, "backbone", m) for m in (model, built))
    assert built_backbone.licence == "cc-by-nc-4.0"
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert getattr(reloaded, "backbone", reloaded).licence == "cc-by-nc-4.0"
    assert {**built_backbone.get_config(), "name": None} == {
        **backbone.get_config(),
        "name": None,
    }
    if kind == "classifier":
        assert built.class_names == ("a", "b", "c")
        assert built.activation is keras.activations.softmax

    names = ["model.keras", "model.weights.h5"]
    for name in names if options != "equal widths" else names[:1]:
        kc.load_weights(other, tmp_path / name)
        assert_same_weights(other, expected)
        for weight in other.trainable_weights:
            weight.assign(0 * weight)


@pytest.mark.one_backend
def test_a_weights_file_that_does_not_tell_its_depths_is_refused_with_the_way_out(
    tmp_path, make_fcmae
):
    model = make_model(make_fcmae, "backbone", 0, variant=EQUAL_WIDTHS)
    model.save_weights(tmp_path / "model.weights.h5")
    message = r"does not tell its depths: blocks of widths \[4, 8\] .*load_weights\(model, path\)"
    with pytest.raises(kc.WeightsError, match=message):
        kc.from_preset(tmp_path / "model.weights.h5")
    copy = make_model(make_fcmae, "backbone", 1, variant=EQUAL_WIDTHS)
    kc.load_weights(copy, tmp_path / "model.weights.h5")
    for before, after in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.slow
@pytest.mark.one_backend
def test_a_model_that_was_trained_comes_back_without_its_optimizer(tmp_path, make_fcmae):
    fcmae = make_model(make_fcmae, "fcmae", 0, drop_path_rate=0.1)
    fcmae.compile(optimizer=keras.optimizers.AdamW(0.01))
    fcmae.fit(IMAGES, verbose=0)
    expected = arrays(fcmae)
    fcmae.save(tmp_path / "model.keras")
    fcmae.save_weights(tmp_path / "model.weights.h5")
    for name in ("model.keras", "model.weights.h5"):
        other = make_model(make_fcmae, "fcmae", 1)
        report = kc.load_weights(other, tmp_path / name)
        assert report.num_loaded == len(expected)
        assert_same_weights(other, expected)
        assert_same_weights(kc.from_preset(tmp_path / name), expected)


@pytest.fixture
def refuse(tmp_path):
    """Demands that `from_preset` refuses a `.keras` file of this content with this message."""

    def refuse(content, message):
        (tmp_path / "file.keras").write_bytes(content)
        with pytest.raises(kc.WeightsError, match=message):
            kc.from_preset(tmp_path / "file.keras")

    return refuse


def entries_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries, compression=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.one_backend
def test_zipped_anew_it_loads(saved, tmp_path):
    (tmp_path / "file.keras").write_bytes(zipped(entries_of(saved["model.keras"])))
    assert kc.from_preset(tmp_path / "file.keras").class_names == ("a", "b", "c")


def with_config(saved, change):
    entries = entries_of(saved["model.keras"])
    config = json.loads(entries["config.json"])
    change(config)
    return zipped({**entries, "config.json": json.dumps(config)})


BILLIONS = [10**9] * 4


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("variant", {"depths": BILLIONS, "widths": [2, 3, 4, 5]}, "fewer blocks than its config"),
        ("variant", {"depths": [1, 1, 1, -3], "widths": BILLIONS}, "must be 4 positive ints"),
        ("variant", {"depths": "1111", "widths": [2, 3, 4, 5]}, "must be 4 positive ints"),
        ("variant", "gigantic", "must be one of atto"),
        ("variant", 7, "must be one of atto"),
        ("variant", ["atto"], "must be one of atto"),
        ("variant", None, "must be one of atto"),
        ("image_shape", [10**9, 10**9, 3], r"its image_shape is \[1000000000, "),
        ("image_shape", [0, 16, 3], "its image_shape is"),
        ("image_shape", [16.0, 16, 3], "its image_shape is"),
        ("image_shape", [8, 16], "its image_shape is"),
        ("image_shape", "8x16", "its image_shape is"),
        ("image_shape", {"0": 8}, "its image_shape is"),
        ("image_shape", None, "its image_shape is None"),
        ("image_shape", [4, 16, 3], "at least as large as the total stride, 8"),
        ("drop_path_rate", 1, "its drop_path_rate is 1"),
        ("drop_path_rate", None, "its drop_path_rate is None"),
        ("drop_path_rate", float("nan"), "its drop_path_rate is nan"),
        ("drop_path_rate", "0.1", "its drop_path_rate is '0.1'"),
        ("seed", [1], r"its seed is \[1\]"),
        ("dtype", "int8_from_float32", "its dtype is 'int8_from_float32'"),
        ("dtype", {"config": {"name": ["float32"]}}, "its dtype is"),
        ("dtype", {"config": None}, "damaged"),
    ],
)
def test_arguments_that_no_backbone_has_are_refused(name, value, message, saved, refuse):
    def change(config):
        config["config"]["backbone"]["config"][name] = value

    refuse(with_config(saved, change), message)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"[]", "damaged"),
        (b"{}", "holds a model None"),
        (b'{"a":' * 100_000, "damaged"),
        (b'{"registered_name": %s}' % (b"9" * 5000), "damaged"),
        (b'{"registered_name": "keras_convnextv2>ConvNeXtV2Classifier"}', "damaged"),
        (b'{"registered_name": "keras_convnextv2>FCMAE", "config": {"backbone": 3}}', "damaged"),
        (b" " * (5 * 2**20), "config.json has 5242880 bytes, too many to be true"),
    ],
)
def test_a_config_of_another_form_is_refused(text, message, saved, refuse):
    refuse(zipped({**entries_of(saved["model.keras"]), "config.json": text}), message)


@pytest.mark.one_backend
def test_another_model_is_refused(tmp_path, refuse):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.save(tmp_path / "other.keras")
    refuse((tmp_path / "other.keras").read_bytes(), "holds a model .*, not one of ConvNeXtV2Back")


def run_code(path):
    """What Keras writes for a Lambda layer that leaves a file behind when it is called."""
    layer = keras.layers.Lambda(lambda x: open(path, "w"))  # noqa: SIM115
    return keras.saving.serialize_keras_object(layer)


@pytest.mark.one_backend
def test_code_in_a_config_is_not_run(saved, refuse, tmp_path):
    code = run_code(str(tmp_path / "run"))

    def as_activation(config):
        config["config"]["activation"] = code

    def as_backbone(config):
        config["config"]["backbone"] = code

    def as_model(config):
        config.update(code)

    refuse(with_config(saved, as_activation), "its activation is not Keras's own")
    refuse(with_config(saved, as_backbone), "holds a model")
    refuse(with_config(saved, as_model), "holds a model")
    assert not (tmp_path / "run").exists()


@pytest.mark.one_backend
def test_an_activation_that_keras_does_not_have_is_refused(saved, refuse):
    def change(config):
        config["config"]["activation"] = "os.system"

    refuse(with_config(saved, change), "No model can be built")


@pytest.mark.one_backend
def test_compressed_entries_are_refused(saved, refuse):
    entries = entries_of(saved["model.keras"])
    refuse(zipped(entries, zipfile.ZIP_DEFLATED), "config.json is compressed")
    bomb = {"config.json": b" " * 2**28, "model.weights.h5": b""}  # 256 MB in 256 KB
    refuse(zipped(bomb, zipfile.ZIP_DEFLATED), "config.json is compressed")


@pytest.mark.one_backend
def test_a_size_that_is_not_that_of_the_stored_bytes_is_refused(saved, refuse):
    entries = {**entries_of(saved["model.keras"]), "config.json": b"\x11" * 7777}
    size = (7777).to_bytes(4, "little")
    content = zipped(entries)
    assert content.count(size) == 4  # both sizes, in the entry's header and in the list
    start = content.rindex(size)  # the size without compression, in the list
    refuse(content[:start] + b"\xff\xff\xff\x7f" + content[start + 4 :], "is compressed")
    refuse(content[: start - 4] + b"\xff\xff\xff\x7f" * 2 + content[start + 4 :], "overlap")


@pytest.mark.one_backend
def test_a_missing_or_doubled_entry_is_refused(saved, refuse):
    entries = entries_of(saved["model.keras"])
    refuse(zipped({"model.weights.h5": entries["model.weights.h5"]}), "no entry 'config.json'")
    content = zipped({**entries, "config.json": b"1", "Config.json": entries["config.json"]})
    refuse(content.replace(b"Config.json", b"config.json"), "several entries of one name")


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_flipped_bit_is_found_by_the_checksum(name, saved, refuse):
    content = bytearray(saved["model.keras"])
    entry = entries_of(content)[name]
    place = content.index(entry) + len(entry) // 2
    content[place] ^= 4
    refuse(bytes(content), f"the checksum of {name} is another")


@pytest.mark.one_backend
def test_a_list_of_entries_longer_than_any_model_s_is_not_read(refuse):
    size = 5 * 2**20
    counts = b"\1\0" * 2  # entries
    end = b"PK\5\6" + bytes(4) + counts + size.to_bytes(4, "little") + b"\4" + bytes(5)
    refuse(b"PK\3\4" + bytes(size) + end, f"its list of entries has {size} bytes")
