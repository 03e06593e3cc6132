"""A hook of mkdocs: makes pages of what is kept outside docs/, and of the notebooks.

README.md, ARCHITECTURE.md and CHANGELOG.md are pages of the site too. A link in them, or to them,
is a path from the file that it stands in, so that it works where the repository is browsed; here
it becomes the path in the site. A link to something that the site does not have is left as it is,
and mkdocs reports it.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).resolve().parents[1]
# File in the repository: its page.
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
}
LICENCE = "recipes/fashion_mnist/LICENSE"
_LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?\)")


def on_files(files, config):
    for name, page in PAGES.items():
        files.append(_page(config, page, (REPOSITORY / name).read_text()))
    files.append(_page(config, "fashion_mnist_licence.txt", (REPOSITORY / LICENCE).read_text()))
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            notebook = json.loads(Path(file.abs_src_path).read_text())
            page = file.src_uri.removesuffix(".ipynb") + ".md"
            files.append(_page(config, page, _as_markdown(notebook, Path(file.src_uri).name)))
    return files


def on_page_markdown(markdown, page, config, files):
    kept_in = {page: name for name, page in PAGES.items()}
    source = kept_in.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def moved(link):
        start, path, anchor = link.group(1), link.group(2), link.group(3) or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        in_site = _in_site(target)
        if in_site is None:
            return link.group()
        here = posixpath.dirname(page.file.src_uri)
        return f"{start}{posixpath.relpath(in_site, here or '.')}{anchor})"

    return _LINK.sub(moved, markdown)


def _in_site(path):
    """Where a file of the repository is in the site, or None."""
    if path in PAGES:
        return PAGES[path]
    if path == LICENCE:
        return "fashion_mnist_licence.txt"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def _page(config, path, content):
    return File.generated(config, path, content=content)


def _as_markdown(notebook, name):
    """The cells of a notebook as a page, with a link to the notebook after its title."""
    texts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        texts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    texts.insert(1, f"*[The notebook of this page]({name})*")
    return "\n\n".join(texts) + "\n"
