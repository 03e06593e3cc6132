"""A report as a browser would take it apart: elements, texts, and what they ask for."""

import base64
import html.parser
import io

import PIL.Image

_VOID = {"meta", "link", "img", "br", "path", "use", "input"}


class Report(html.parser.HTMLParser):
    """The elements of a page, a list of (tag, attributes, text within, other elements' included).

    Raises:
        AssertionError: elements are not closed in order.
    """

    def __init__(self, path):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == [], [element[0] for element in self._open]

    def handle_starttag(self, tag, attrs):
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        if tag in _VOID:
            return
        last = self._open.pop()
        assert last[0] == tag, f"</{tag}> closes <{last[0]} {last[1]}>"
        self.handle_data(" ")

    def handle_data(self, data):
        for _, _, text in self._open:
            text.append(data)

    def of(self, tag, **attributes):
        """(attributes, text) of the elements of a tag that have these attributes."""
        return [
            (found, " ".join("".join(text).split()))
            for name, found, text in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    def texts(self, tag, **attributes):
        return [text for _, text in self.of(tag, **attributes)]

    def facts(self):
        """{name: value} of all tables of two columns; a later one replaces an earlier."""
        names = self.texts("th", scope="row")
        return dict(zip(names, self._after("th"), strict=True))

    def _after(self, tag):
        """The text of the element behind each header of a row."""
        places = [
            place
            for place, (name, found, _) in enumerate(self.elements)
            if name == tag and found.get("scope") == "row"
        ]
        return [" ".join("".join(self.elements[place + 1][2]).split()) for place in places]

    def pictures(self):
        """{what it shows: `PIL.Image.Image`}"""
        found = {}
        for attributes, _ in self.of("img"):
            head, _, content = attributes["src"].partition(",")
            assert head in ("data:image/png;base64", "data:image/gif;base64")
            found[attributes["alt"]] = PIL.Image.open(io.BytesIO(base64.b64decode(content)))
        return found


def assert_asks_for_nothing(report):
    """No script, no handler, no frame or form, no address but data and places of the page."""
    for tag, attributes, text in report.elements:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base", "foreignobject")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, attributes)
            if name in ("href", "src", "xlink:href", "srcset", "action", "data"):
                assert value.startswith(("data:", "#")), (tag, attributes)
            if name == "style":
                assert "url(" not in value.replace("url(#", ""), value
        if tag == "style":
            assert "url(" not in "".join(text) and "@import" not in "".join(text)
    (policy,) = [
        attributes["content"] for attributes, _ in report.of("meta") if "http-equiv" in attributes
    ]
    assert policy.startswith("default-src 'none';")
