"""The page that shows a masked image being reconstructed."""

import io
import re
import socket

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT

GRID = (4, 4)
GREY = 128  # of hidden patches; no visible one is all of it


@pytest.fixture(scope="module")
def weights(run_recipe, tmp_path_factory):
    """The checkpoint of a pretraining of seconds on the embedded images."""
    folder = tmp_path_factory.mktemp("images")
    with np.load(ROOT / "recipes" / "fashion_mnist" / "train.npz") as arrays:
        first = {name: arrays[name][:200] for name in ("images", "labels")}
        np.savez(folder / "train.npz", **{**arrays, **first})
    run = folder / "run"
    done = run_recipe(
        "pretrain",
        f"--data_dir={folder}",
        f"--output_dir={run}",
        "--image_size=32",
        "--stem_stride=1",
        "--depths=1,1,1,1",
        "--widths=8,12,16,24",
        "--decoder_width=16",
        "--batch_size=50",
        "--epochs=1",
        "--learning_rate=1e-3",
    )
    assert done.status == 0, done.err
    return run / "checkpoints"


@pytest.fixture(scope="module")
def site(serve, weights):
    return serve("show_masking", f"--weights={weights}")


@pytest.fixture
def photograph(photographs):
    return sorted(photographs.glob("test/Bag/*.png"))[0]


def choose(page, path):
    page.set_input_files("input[type=file]", path)
    expect(page.locator("#count")).to_contain_text(path.name)


def counted(page):
    """(hidden patches, all patches), as the page says."""
    match = re.search(r"(\d+) of (\d+) patches hidden", page.locator("#count").inner_text())
    return int(match[1]), int(match[2])


def picture(page, name):
    """The pixels of one of the four pictures, (H, W, 3), when it has been loaded."""
    image = page.locator(f"#{name} img")
    image.wait_for()
    answer = page.request.get(image.get_attribute("src"))
    return np.asarray(PIL.Image.open(io.BytesIO(answer.body())).convert("RGB"))


def patches(pixels):
    """(16, P * P * 3), a row a patch."""
    height, width = (side // parts for side, parts in zip(pixels.shape[:2], GRID, strict=True))
    cut = pixels.reshape(GRID[0], height, GRID[1], width, 3)
    return cut.swapaxes(1, 2).reshape(GRID[0] * GRID[1], -1)


def hidden_patches(page):
    return (patches(picture(page, "masked")) == GREY).all(axis=1)


def move_to(page, ratio, num_hidden):
    """Moves the slider by the keyboard, as a user without a mouse does."""
    slider = page.get_by_label("range slider for Mask ratio")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(round(ratio / 0.05) - 1):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#count")).to_contain_text(f": {num_hidden} of 16 patches hidden")


def test_a_photograph_is_masked_and_reconstructed(open_page, site, photograph):
    page = open_page(site)
    choose(page, photograph)
    assert counted(page) == (10, 16)  # floor(16 * .4) = 6 stay visible
    original, masked, reconstruction, pasted = (
        patches(picture(page, name)) for name in ("original", "masked", "reconstruction", "pasted")
    )
    pixels = np.asarray(PIL.Image.open(photograph).convert("RGB"))
    zoom = picture(page, "original").shape[0] // 32
    assert zoom == 10
    np.testing.assert_array_equal(picture(page, "original")[::zoom, ::zoom], pixels)
    hidden = (masked == GREY).all(axis=1)
    assert hidden.sum() == 10
    np.testing.assert_array_equal(masked[~hidden], original[~hidden])
    np.testing.assert_array_equal(pasted[~hidden], original[~hidden])
    np.testing.assert_array_equal(pasted[hidden], reconstruction[hidden])
    assert (pasted[hidden] != original[hidden]).any()


def test_the_slider_hides_more_patches_of_the_same(open_page, site, photograph):
    page = open_page(site)
    choose(page, photograph)
    earlier = np.zeros(16, bool)
    sources = set()
    # floor(16 * (1 - ratio)) patches stay visible, but at least one.
    for ratio, num_hidden in {0.05: 1, 0.25: 4, 0.5: 8, 0.7: 12, 0.95: 15}.items():
        move_to(page, ratio, num_hidden)
        sources.add(page.locator("#masked img").get_attribute("src"))
        hidden = hidden_patches(page)
        assert hidden.sum() == num_hidden
        assert hidden[earlier].all()
        earlier = hidden
    assert len(sources) == 5


def test_another_mask_hides_as_many_others(open_page, site, photograph):
    page = open_page(site)
    choose(page, photograph)
    before = hidden_patches(page)
    source = page.locator("#masked img").get_attribute("src")
    page.get_by_role("button", name="Another mask").click()
    expect(page.locator("#masked img")).not_to_have_attribute("src", source)
    after = hidden_patches(page)
    assert before.sum() == after.sum() == 10
    assert (before != after).any()
    assert page.get_by_label("Mask number").input_value() == "1"


def test_a_file_that_is_no_picture_is_said_in_words_and_the_next_one_works(
    open_page, site, photograph, tmp_path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"these are words")
    page = open_page(site)
    choose(page, broken)
    text = page.locator("#count").inner_text()
    assert text == "broken.png cannot be read as a picture. Choose another file."
    assert page.locator("#masked img").count() == 0
    choose(page, photograph)
    assert hidden_patches(page).sum() == 10


def test_the_page_is_for_this_machine_alone(serve, weights, run_recipe, site):
    port = int(site.rpartition(":")[2].strip("/"))
    # Linux answers on all of 127.0.0.0/8, where a server listens on every address.
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(5)
        other.connect(("127.0.0.2", port))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_recipe(
            "show_masking", f"--weights={weights}", f"--port={taken.getsockname()[1]}"
        )
    assert done.status == 2
    assert "error: --port: " in done.err.splitlines()[-1]
