"""Every kind of artefact in the page that classifies, and any server of it."""

import functools
import http.server
import threading

import pytest

from tests.browser.classify_page import assert_same, classify, serve_site
from tests.browser.conftest import CLASSES, EXPORTS, NUM_TEST


@pytest.mark.parametrize("name", list(EXPORTS))
def test_the_class_of_a_photograph_is_right_and_that_of_predict(
    serve, open_page, export, predicted, tmp_path, name
):
    page = open_page(serve_site(serve, export(name), tmp_path))
    found = {path: classify(page, path) for path in predicted}
    for path, classes in found.items():
        assert_same(classes, predicted[path])
    right = sum(list(classes)[0] == path.parent.name for path, classes in found.items())
    assert len(found) == len(CLASSES) * NUM_TEST
    assert right >= len(found) - 1
    assert {list(classes)[0] for classes in found.values()} == set(CLASSES)


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_any_server_of_static_files_will_do(
    run_recipe, open_page, export, predicted, tmp_path, name
):
    words = (f"--model={export(name)}", f"--output_dir={tmp_path / 'site'}")
    done = run_recipe("classify_in_browser", *words)
    assert done.status == 0, done.err
    again = run_recipe("classify_in_browser", *words)  # an earlier site is replaced
    assert again.status == 0, again.err
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            page = open_page(f"http://127.0.0.1:{server.server_port}/")
            path, expected = next(iter(predicted.items()))
            assert_same(classify(page, path), expected)
            assert not page.evaluate("crossOriginIsolated")  # without threads, then
        finally:
            server.shutdown()
            thread.join()
