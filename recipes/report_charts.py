"""Charts of a report: SVGs by matplotlib whose colours are those of the page, light or dark."""

import dataclasses
import hashlib
import io
import re
import warnings

from .report_words import shown, words
from .result_dots import draw_dots

NUM_COLOURS = 8  # that the page has
_SIZE = (3.5, 2.3)  # inches, for a phone's width at text of about 10 pixels
_MOST_CURVES = 24
_MOST_POINTS = 2000
# What the page puts its own colours in the place of.
_INK = "#010203"
_SERIES = [f"#0a0b{number:02x}" for number in range(NUM_COLOURS)]
_STYLES = ("-", "--", "-.", (0, (1, 1)))


@dataclasses.dataclass(frozen=True)
class Key:
    """A line of a chart's legend: its label, the number of its colour, and of its style."""

    label: str
    colour: int
    style: int = 0


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart within a page.

    Args:
        title: str.
        svg: str, safe markup; "" where it could not be drawn.
        keys: list of `Key`.
        text: str, what it shows, for those who do not see it.
        note: str, more to say below it, or "".
        wide: bool, whether a phone scrolls it.
    """

    title: str
    svg: str
    keys: list
    text: str
    note: str = ""
    wide: bool = False


def charts_of(epochs):
    """{title of a kind: `Chart`} of the epochs of a run, as `read_metrics` gives them."""
    from keras_convnextv2.analysis.curves import draw_panel, panels_of

    found = {}
    for title, curves in panels_of(epochs).items():
        told, more = _some(curves)

        def draw(axes, title=title, told=told):
            draw_panel(axes, title, told)

        own = dict.fromkeys(name.replace("shuffled_", "") for name in told)
        keys = [Key(words(name), place % NUM_COLOURS) for place, name in enumerate(own)]
        notes = [more] if more else []
        if any("shuffled_" in name for name in told):
            notes.append("Dotted: the same with the channels' values shuffled over positions.")
        keys = keys if len(keys) > 1 else []  # one alone is what the title says
        found[title] = _chart(title, draw, keys, _in_words(told), " ".join(notes))
    return found


def comparison_charts(runs):
    """A `Chart` a figure, with a curve a run.

    Args:
        runs: {name: epochs}.
    """
    from keras_convnextv2.analysis.curves import draw_curve, panels_of, set_axes

    of_runs = {}
    for run, epochs in runs.items():
        for kind, curves in panels_of(epochs).items():
            for name, curve in curves.items():
                of_runs.setdefault((kind, name), {})[run] = curve
    places = {run: place for place, run in enumerate(runs)}
    charts = []
    for (kind, name), curves in of_runs.items():
        if "shuffled_" in name:
            continue  # a baseline of the one beside it
        told, more = _some(curves)
        keys = [
            Key(run, places[run] % NUM_COLOURS, places[run] // NUM_COLOURS % len(_STYLES))
            for run in told
        ]

        def draw(axes, kind=kind, told=told, keys=keys):
            for key, (epochs, values) in zip(keys, told.values(), strict=True):
                style = _STYLES[key.style]
                draw_curve(axes, epochs, values, color=f"C{key.colour}", ls=style)
            set_axes(axes, kind, [value for _, values in told.values() for value in values])

        charts.append(_chart(words(name), draw, keys, _in_words(told), more))
    return charts


def distance_chart(epochs):
    """The channels' cosine distance by stage at the first, a middle and the last epoch; or None."""
    from keras_convnextv2.analysis.watch_collapse import PREFIX

    name = f"{PREFIX}cosine_distance_stage"
    measured = {}
    for line in epochs:
        found = {
            key.removeprefix(name): value for key, value in line.items() if key.startswith(name)
        }
        if len(found) > 1 and all(isinstance(value, float) for value in found.values()):
            measured[line["epoch"]] = found
    if not measured:
        return None
    ends = list(measured)
    chosen = list(dict.fromkeys((ends[0], ends[len(ends) // 2], ends[-1])))

    def draw(axes):
        for place, epoch in enumerate(chosen):
            found = measured[epoch]
            axes.plot(list(found), list(found.values()), "o-", ms=3, lw=1.5, color=f"C{place}")
        axes.set_xlabel("stage", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)

    keys = [Key(f"epoch {epoch}", place) for place, epoch in enumerate(chosen)]
    told = (
        f"epoch {epoch}: "
        + ", ".join(f"stage {stage} {value:.3f}" for stage, value in measured[epoch].items())
        for epoch in chosen
    )
    return _chart("channels' cosine distance by stage", draw, keys, "; ".join(told))


def dots_chart(title, rows):
    """Results of groups: a dot a seed, the mean with its spread, beside the paper's number.

    Args:
        title: str.
        rows: as `draw_dots` takes them.
    """

    told = (f"{row['row']}: {shown(row['mean'])}" for row in rows if row["mean"] is not None)
    keys = [Key("compared with", 1), Key("other rows", 0)]
    size = (6.4, 0.75 + 0.27 * len(rows))
    plain = [{**row, "row": _plain(row["row"])} for row in rows]

    def draw(figure):
        draw_dots(figure, plain)

    return _chart(title, draw, keys, "; ".join(told), size=size, wide=True)


def _chart(title, draw, keys, text, note="", size=_SIZE, wide=False):
    """A `Chart`; one that cannot be drawn says so. A wide one is given the figure, not axes."""
    try:
        svg = _svg(draw, size, title, wide)
    except (ValueError, OverflowError, ArithmeticError, RuntimeError) as error:
        svg, note = "", f"This chart could not be drawn: {error}"
    return Chart(title, svg, keys, text, note, wide)


def _svg(draw, size, title, gives_figure):
    import matplotlib
    from cycler import cycler
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings = {
        **dict.fromkeys((*inks, "grid.color"), _INK),
        "axes.prop_cycle": cycler(color=_SERIES),
        "axes.linewidth": 0.6,
        "grid.linewidth": 0.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.hashsalt": "report",
        # Text as text: smaller, and in the letters of the page.
        "svg.fonttype": "none",
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks; the browser has its own
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        if gives_figure:
            draw(figure)
        else:
            axes = figure.add_subplot()
            draw(axes)
            axes.set_title("")  # the page has the title and the legend
            if axes.get_legend() is not None:
                axes.get_legend().remove()
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    return _for_a_page(drawn.getvalue(), title)


def _for_a_page(svg, title):
    """An SVG file as it stands in a page: its colours the page's, its names its own."""
    import markupsafe

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    head, _, rest = svg.partition(">")
    box = re.search(r'viewBox="[\d. -]+"', head)[0]
    # Names within one SVG must not be those of another in the same page.
    own = f"c{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}", rest)
    rest = rest.replace(_INK, "currentColor")
    for place, colour in enumerate(_SERIES):
        rest = rest.replace(colour, f"var(--series-{place})")
    label = markupsafe.escape(title)
    return markupsafe.Markup(f'<svg {box} role="img" aria-label="{label}">{rest}')


def _some(curves):
    """(the first of them, of so many points at most; what is left out, in words)."""
    told = {}
    for name, (epochs, values) in list(curves.items())[:_MOST_CURVES]:
        step = -(-len(epochs) // _MOST_POINTS)
        told[name] = (epochs[::step], values[::step])
    left = len(curves) - len(told)
    return told, f"{left} more are not drawn." if left else ""


def _in_words(curves):
    """The first and the last value of each curve."""
    told = (
        f"{words(name)}: {shown(float(values[0]), name)} at epoch {epochs[0]}, "
        f"{shown(float(values[-1]), name)} at epoch {epochs[-1]}"
        for name, (epochs, values) in curves.items()
    )
    return "; ".join(told)


def _plain(text):
    from keras_convnextv2.analysis.figures import plain

    return plain(text, 30)
