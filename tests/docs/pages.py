"""README and the pages of docs/, and the blocks of code in them."""

import re
import textwrap

from tests.reference.processes import ROOT

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(text, language):
    """[(line of its first line, source), ...] of a page's blocks in a language; "" is of none."""
    return [
        (text.count("\n", 0, block.start(2)), block.group(2))
        for block in _BLOCK.finditer(text)
        if block.group(1) == language
    ]


def commands(text):
    """The lines of a text that start a program of the repository or make, whole."""
    joined = re.sub(r"\\\n\s*", "", textwrap.dedent(text))
    return re.findall(
        r"^\s*(?:[A-Z_]+=\S+ )*((?:python -m (?:recipes|tools)\.|make ).+)$", joined, re.M
    )
