"""The Python of README and of the pages runs as it stands."""

import pytest

from tests.docs.pages import PAGES, blocks

WITH_PYTHON = [name for name, text in PAGES.items() if blocks(text, "python")]


def test_readme_has_examples():
    assert WITH_PYTHON[0] == "README.md"
    assert len(WITH_PYTHON) > 5


@pytest.mark.parametrize(
    "name",
    ["README.md", *(pytest.param(name, marks=pytest.mark.one_backend) for name in WITH_PYTHON[1:])],
)
def test_the_blocks_of_a_page_run_in_their_order(name, in_new_folder):
    namespace = {"__name__": "__main__"}
    for line, source in blocks(PAGES[name], "python"):
        exec(compile("\n" * line + source, name, "exec"), namespace)


@pytest.mark.one_backend
def test_readme_is_read_in_five_minutes():
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 150, f"README.md has {len(lines)} lines; its pages are in docs/"
