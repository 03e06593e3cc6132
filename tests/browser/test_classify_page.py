"""The page that classifies in the browser: what it shows is what recipes.predict prints."""

import base64

import numpy as np
import PIL.Image
import pytest

from keras_convnextv2.data.decoding import read_image
from tests.browser.classify_page import (
    assert_same,
    classify,
    serve_site,
    shown_classes,
    wait_until,
)


@pytest.fixture(scope="module")
def site(serve, export, tmp_path_factory):
    """The address of the page of model.onnx."""
    return serve_site(serve, export("model.onnx"), tmp_path_factory.mktemp("onnx"))


def test_what_the_page_says(open_page, site, predicted):
    page = open_page(site)
    path = next(iter(predicted))
    classify(page, path)
    text = page.locator("main").inner_text()
    assert "model.onnx" in text and "depths 1, 1, 1, 1" in text and "24 x 32 pixels" in text
    assert f"{path.name}, 32 x 32 pixels" in text
    assert "The model took" in text and " ms" in text
    assert "Licence of the model: not stated." in text
    status = page.get_by_role("status").inner_text()
    first, share = next(iter(predicted[path].items()))
    assert status == f"{path.name}: {first}, {100 * share:.1f} %."
    assert page.locator("#picture").evaluate("image => image.naturalWidth") == 32


def test_the_page_works_by_keyboard_and_by_dropping_a_file(open_page, site, predicted):
    page = open_page(site)
    first, second = list(predicted)[0], list(predicted)[-1]
    # Long before the key is pressed: Chromium needs a moment to hand its dialogs over.
    page.on("filechooser", lambda chooser: chooser.set_files(first))
    wait_until(page, "ready")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Enter")
    page.wait_for_function("name => caption.textContent.startsWith(name)", arg=first.name)
    assert_same(shown_classes(page), predicted[first])

    content = base64.b64encode(second.read_bytes()).decode()
    page.evaluate(
        """([name, content]) => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }""",
        [second.name, content],
    )
    page.wait_for_function("name => caption.textContent.startsWith(name)", arg=second.name)
    assert_same(shown_classes(page), predicted[second])


def test_a_file_that_is_no_picture_is_said_in_words_and_the_next_one_works(
    open_page, site, predicted, tmp_path
):
    (tmp_path / "broken.png").write_bytes(b"these are words")
    page = open_page(site)
    wait_until(page, "ready")
    page.get_by_label("Choose a picture").set_input_files(tmp_path / "broken.png")
    wait_until(page, "error")
    text = page.get_by_role("alert").inner_text()
    assert text.startswith("broken.png cannot be read as a picture.")
    assert page.locator("#result").is_hidden()
    path, expected = next(iter(predicted.items()))
    assert_same(classify(page, path), expected)


def test_a_model_that_is_damaged_is_said_in_words(open_page, site):
    page = open_page(site, answers={"**/model.onnx": b"no model"})
    wait_until(page, "error")
    assert page.locator("#model").inner_text() == "The model could not be loaded."
    assert page.get_by_role("alert").inner_text() != ""
    assert page.get_by_label("Choose a picture").is_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_told_from_what_is_behind_them(open_page, site, predicted, scheme):
    page = open_page(site)
    page.emulate_media(color_scheme=scheme)
    classify(page, next(iter(predicted)))
    ratios = page.evaluate(
        """() => {
          const channels = (color) => color.match(/[\\d.]+/g).map(Number);
          const behind = (element) => {
            const found = channels(getComputedStyle(element).backgroundColor);
            return found[3] === 0 ? behind(element.parentElement) : found;
          };
          const light = (color) => {
            const [red, green, blue] = color.slice(0, 3).map((value) => {
              const share = value / 255;
              return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
          };
          return [...document.querySelectorAll("h1, h2, p, label, span.name, figcaption, footer")]
            .filter((element) => element.textContent)
            .map((element) => {
              const text = light(channels(getComputedStyle(element).color));
              const back = light(behind(element));
              return Math.max(text, back) / Math.min(text, back);
            });
        }"""
    )
    assert len(ratios) > 10
    assert min(ratios) >= 4.5  # WCAG 2.2, level AA


@pytest.mark.parametrize("size", [(32, 24), (96, 64), (50, 200)])
def test_images_are_the_same_to_the_bit_as_those_of_evaluation(open_page, site, tmp_path, size):
    generator = np.random.default_rng(0)

    def random_image(*shape):
        return PIL.Image.fromarray(generator.integers(0, 256, shape, "uint8"))

    turned = PIL.Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter of a turn
    images = {
        "small.png": (random_image(19, 23, 3), {}),
        "large.png": (random_image(300, 700, 3), {}),
        "strip.png": (random_image(3, 400, 3), {}),
        "same.png": (random_image(*size, 3), {}),
        "grey.png": (random_image(60, 90), {}),
        "turned.jpg": (random_image(60, 90, 3), {"exif": turned, "quality": 90}),
        "exact.webp": (random_image(60, 90, 3), {"lossless": True}),
    }
    page = open_page(site)
    for name, (image, options) in images.items():
        image.save(tmp_path / name, **options)
        for channels in (3, 1):
            found = page.evaluate(
                """async ([content, height, width, channels]) => {
                  const { cover, readPicture, toInput } = await import("./pixels.js");
                  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                  const picture = await readPicture(new File([bytes], "picture"));
                  const input = { shape: [1, height, width, channels], dtype: "uint8" };
                  return [...toInput(cover(picture, width, height), input)];
                }""",
                [base64.b64encode((tmp_path / name).read_bytes()).decode(), *size, channels],
            )
            expected = read_image(tmp_path / name, size)
            if channels == 1:
                expected = np.asarray(PIL.Image.fromarray(expected).convert("L"))[..., None]
            np.testing.assert_array_equal(np.reshape(found, expected.shape), expected, name)
