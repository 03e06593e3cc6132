"""Reports in Chromium: wide and narrow, light and dark, and printed; they ask for nothing."""

import json

import numpy as np
import PIL.Image
import pytest

from keras_convnextv2.analysis.reconstruction_frames import WriteReconstructions
from recipes import report_page

WIDE, NARROW = 1280, 360
# The least contrast of a text with what is behind it (WCAG 2.2, AA), of all that is seen.
LOW_CONTRAST = """
() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let found = element; found; found = found.parentElement) {
      const colour = getComputedStyle(found).backgroundColor;
      if ((parts(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const colour = element.closest("svg") ? style.fill : style.color;
    const pair = [light(colour), light(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) low.push([element.tagName, element.textContent.trim(), colour, ratio]);
  }
  return low;
}
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{name: path} of a report of each kind."""
    from tests.tools.test_ablation_results import compared
    from tools.ablation_report import write

    folder = tmp_path_factory.mktemp("reports")
    pretrained = pretraining(folder / "a_name_without_blanks_that_is_longer_than_a_phone_is_wide")
    classifier = fine_tuning(folder / "classifier")
    of = compared([10.0, 11.0, 12.0], [22.0, 23.0], [20.0, 21.0], [])
    write(folder / "ablations", [of], {}, "")
    found = {
        "pretraining": report_page.of_run(pretrained),
        "classifier": report_page.of_run(classifier),
        "runs": report_page.of_runs([pretrained, classifier]),
        "ablations": report_page.of_ablations(folder / "ablations"),
    }
    for name, page in found.items():
        (folder / f"{name}.html").write_text(page.html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in found}


def pretraining(folder):
    """What a pretraining leaves, made by hand."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    record = {
        "command": {"program": "recipes.pretrain", "flags": [f"--data_dir={'x' * 200}"]},
        "settings": {"epochs": 3, "data_dir": "<img src=http://a.example/>" + "y" * 200},
    }
    (folder / "run.json").write_text(json.dumps(record))
    names = ("probe_ridge", "measure_rankme", "gradient_norm", "loss")
    stages = (
        f"measure_{kind}cosine_distance_stage{n}" for kind in ("", "shuffled_") for n in "0123"
    )
    names = (*names, *stages)
    lines = ({"epoch": epoch, **dict.fromkeys(names, 0.5 / (1 + epoch))} for epoch in range(3))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    drawn = ("original", "masked", "reconstruction", "pasted")
    rows = {name: rng.integers(0, 256, (8, 48, 64, 3), "uint8") for name in drawn}
    writing = WriteReconstructions(folder / "reconstructions", lambda: rows)
    for epoch in range(3):
        writing.on_epoch_end(epoch)
    return folder


def fine_tuning(folder):
    """What a fine-tuning leaves, made by hand."""
    (folder / "test").mkdir(parents=True)
    lines = (
        {"epoch": epoch, "loss": 1.0 / epoch, "accuracy": 0.5, "val_accuracy": epoch / 4}
        for epoch in (1, 2)
    )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "result.json").write_text(json.dumps({"test_accuracy": 0.75, "log": "z" * 100}))
    names = ("w" * 120, "boot", "coat")
    classes = [{"class": name, "precision": 0.5, "f1": 0.25, "support": 9} for name in names]
    (folder / "test" / "report.json").write_text(json.dumps({"per_class": classes}))
    for name in ("confusion", "reliability", "worst"):
        PIL.Image.new("RGB", (1100, 900), "teal").save(folder / "test" / f"{name}.png")
    return folder


@pytest.fixture
def look_at(browser):
    """Opens a report; at the end it may have said nothing, and asked for itself alone."""
    said, asked, contexts = [], [], []

    def open_at(path, width=WIDE, scheme="light"):
        view = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=view, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert said == []
    strangers = [url for url in asked if not url.startswith(("file:///", "data:image/"))]
    assert strangers == [] and sum(url.startswith("file:") for url in asked) == len(contexts)


@pytest.mark.parametrize("name", ["pretraining", "classifier", "runs", "ablations"])
def test_a_report_fits_and_can_be_read_light_and_dark(look_at, pages, name):
    backgrounds = set()
    for width in (WIDE, NARROW):
        for scheme in ("light", "dark"):
            page = look_at(pages[name], width, scheme)
            page.evaluate("document.querySelectorAll('details').forEach((it) => (it.open = true))")
            found = page.evaluate("document.documentElement.scrollWidth")
            assert found == width, f"{width} pixels {scheme}: the page is {found} wide"
            assert page.evaluate(LOW_CONTRAST) == [], (width, scheme)
            assert page.locator("h1").is_visible() and page.locator("svg").first.is_visible()
            backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


def test_pixels_stay_whole_and_what_is_wide_scrolls_by_the_keyboard(look_at, pages):
    page = look_at(pages["pretraining"], NARROW)
    strip = page.get_by_role("region", name="Reconstructions over epochs")
    image = strip.locator("img").first
    assert image.evaluate("(it) => getComputedStyle(it).imageRendering") == "pixelated"
    box = image.bounding_box()
    assert (box["width"], box["height"]) == (8 * 64 + 7 * 2, 48)
    wide = look_at(pages["pretraining"], WIDE)
    box = wide.locator(".strip img").first.bounding_box()
    assert (box["width"], box["height"]) == (2 * (8 * 64 + 7 * 2), 2 * 48)
    strip.focus()
    page.keyboard.press("ArrowRight")
    for _ in range(100):  # `wait_for_function` is a script that the page's policy refuses
        if strip.evaluate("(it) => it.scrollLeft"):
            break
        page.wait_for_timeout(100)
    assert strip.evaluate("(it) => it.scrollLeft") > 0
    assert page.locator("details.moving img").is_hidden()  # until it is asked for


def test_on_paper_nothing_is_folded_and_nothing_moves(look_at, pages):
    page = look_at(pages["pretraining"], scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.get_by_role("region", name="All settings").is_visible()
    assert page.locator("details.moving").is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF")
