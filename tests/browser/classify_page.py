"""How tests serve and drive the page that classifies."""

import numpy as np

# float32 rounding in another order of sums, in probabilities: the images are the same to the bit.
TOLERANCE = 1e-4


def serve_site(serve, model, folder):
    words = (f"--model={model}", f"--output_dir={folder / 'site'}", "--image_size=32x24")
    return serve("classify_in_browser", *words, "--serve")


def wait_until(page, *states):
    page.wait_for_selector(", ".join(f"body[data-state={state}]" for state in states))


def classify(page, path):
    """Chooses a file and reads the classes that the page shows: {class: probability}, in order."""
    wait_until(page, "ready", "error")
    page.evaluate("document.body.dataset.state = 'waiting'")
    page.get_by_label("Choose a picture").set_input_files(path)
    wait_until(page, "ready")
    assert page.locator("#error").is_hidden()
    return shown_classes(page)


def shown_classes(page):
    items = page.locator("#classes li").all()
    for item in items:  # what is read is what is seen
        share = float(item.get_attribute("data-probability"))
        assert item.locator(".share").inner_text() == f"{100 * share:.1f} %"
    return {
        item.locator(".name").inner_text(): float(item.get_attribute("data-probability"))
        for item in items
    }


def assert_same(found, expected):
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=TOLERANCE)
