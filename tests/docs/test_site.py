"""The site is built with every link checked, those of README and ARCHITECTURE too."""

import shutil

import pytest

from tests.reference.processes import ROOT, run_python

pytestmark = pytest.mark.one_backend

PARTS = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "README.md",
    "docs",
    "keras_convnextv2",
    "mkdocs.yml",
    "recipes/fashion_mnist/LICENSE",
    "tools/site_pages.py",
)


def build(folder):
    return run_python(
        *("-m", "mkdocs", "build", "--strict", "--config-file", folder / "mkdocs.yml"),
        NO_MKDOCS_2_WARNING="1",
    )


@pytest.fixture
def copied(tmp_path):
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / part, tmp_path / part)
    return tmp_path


def test_links_lead_from_page_to_page(copied):
    built = build(copied)
    assert built.returncode == 0, built.stderr
    site = copied / "build/docs"
    front = (site / "index.html").read_text()
    assert 'href="pretraining.html#reading-the-pictures"' in front  # docs/ in README
    assert 'href="architecture.html"' in front
    assert 'href="architecture.html#weights"' in (site / "weights.html").read_text()  # ../ there
    notebook = (site / "notebooks/your_own_folder.html").read_text()
    assert "labels_per_class" in notebook
    assert (site / "notebooks/your_own_folder.ipynb").is_file()
    assert "KernelDecayAdamW" in (site / "reference.html").read_text()


def test_a_link_that_leads_nowhere_ends_the_build(copied):
    links = [
        ("README.md", "docs/pretrianing.md"),
        ("README.md", "docs/weights.md#no-such-heading"),
        ("docs/design.md", "../ARCHITECTURE.md#no-heading-either"),
        ("ARCHITECTURE.md", "recipes/no_such_file.py"),
    ]
    for page, link in links:
        with (copied / page).open("a") as file:
            file.write(f"\n[a link]({link})\n")
    built = build(copied)
    assert built.returncode != 0
    # Any one of these lines ends a strict build.
    warned = [line for line in built.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warned) == len(links), built.stderr
    for _, link in links:
        name = link.split("/")[-1].split("#")[-1]
        assert [name in line for line in warned].count(True) == 1, built.stderr
