"""A picture of a run's curves, from its metrics.jsonl."""

import json
import math
import time
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_convnextv2.analysis.figures import new_figure

# What is told of an epoch but is no curve.
_NOT_DRAWN = ("epoch", "step", "seconds")
_TITLES = (
    "loss",
    "accuracy",
    "calibration",
    "probes",
    "teacher's deviation",
    "effective rank",
    "channels' cosine distance",
    "spectrum and deviation",
    "gradient norm",
    "learning rate",
    "images/s",
)
_COLOURS = 128
_TOO_LARGE = 2**31  # for an epoch
_LOG_SCALE_FROM = 30  # largest over smallest value


def read_metrics(path):
    """The lines of a metrics.jsonl, one dict of numbers an epoch, in their order.

    Of an epoch that stands there twice, as after a run that went on from an earlier epoch, the
    later one counts. A line that is not whole, as after a crash, or tells of no epoch is left out.

    Args:
        path: the file.

    Returns:
        List of dicts with "epoch".
    """
    epochs = {}
    for line in Path(path).read_text().splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        epoch = values.get("epoch") if isinstance(values, dict) else None
        if type(epoch) is int and 0 <= epoch < _TOO_LARGE:
            epochs[epoch] = values
    return [epochs[epoch] for epoch in sorted(epochs)]


def panels_of(epochs):
    """Which curves share a panel.

    Args:
        epochs: as of `read_metrics`.

    Returns:
        {title: {name: ([epochs], [values])}}, of finite values alone, without empty panels.
    """
    panels = {title: {} for title in _TITLES}
    for values in epochs:
        for name, value in values.items():
            if name in _NOT_DRAWN or isinstance(value, bool) or not _is_finite(value):
                continue
            curve = panels[_panel_of(name)].setdefault(name, ([], []))
            curve[0].append(values["epoch"])
            curve[1].append(value)
    return {title: curves for title, curves in panels.items() if curves}


def draw_curves(metrics_path, picture_path):
    r"""Writes a PNG of what metrics.jsonl holds: a panel a kind, a curve a name.

    Args:
        metrics_path: as `WriteMetrics` leaves it.
        picture_path: the PNG file, replaced.

    Raises:
        ValueError: there is no epoch to draw.
        ModuleNotFoundError: matplotlib is not installed; names the extra.

    Examples:
        >>> from pathlib import Path
        >>> from keras_convnextv2.analysis import draw_curves
        >>> lines = ['{"epoch": 1, "loss": 0.5}', '{"epoch": 2, "loss": 0.25}']
        >>> _ = Path("metrics.jsonl").write_text("\n".join(lines))
        >>> draw_curves("metrics.jsonl", "curves.png")
        >>> Path("curves.png").read_bytes()[1:4]
        b'PNG'
    """
    panels = panels_of(read_metrics(metrics_path))
    if not panels:
        raise ValueError(f"{metrics_path} holds no epoch to draw.")
    columns = min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(4 * columns, 2.8 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in axes[len(panels) :]:
        panel.remove()
    for panel, (title, curves) in zip(axes, panels.items(), strict=False):
        draw_panel(panel, title, curves)

    import PIL.Image
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # Lines on white have few colours: in a palette the file is a third as large.
    picture.quantize(_COLOURS).save(picture_path, format="PNG", optimize=True)


class DrawCurves(keras.callbacks.Callback):
    """Draws curves.png anew after an epoch and at the end; a failure warns once and stops nothing.

    Put it after `WriteMetrics`. Where epochs are short, some are passed over, so that drawing
    takes a twentieth of the time at most.

    Args:
        metrics_path: as of `draw_curves`.
        picture_path: the same.

    Examples:
        >>> from pathlib import Path
        >>> from keras_convnextv2.analysis import DrawCurves
        >>> _ = Path("of_a_run.jsonl").write_text('{"epoch": 1, "loss": 0.5}')
        >>> DrawCurves("of_a_run.jsonl", "of_a_run.png").on_epoch_end(0)
        >>> Path("of_a_run.png").is_file()
        True
    """

    def __init__(self, metrics_path, picture_path):
        super().__init__()
        self.metrics_path, self.picture_path = Path(metrics_path), Path(picture_path)
        self._not_before = -math.inf
        self._has_warned = False

    def on_epoch_end(self, epoch, logs=None):
        if time.monotonic() >= self._not_before:
            self.draw()

    def on_train_end(self, logs=None):
        self.draw()

    def draw(self):
        """Draws now."""
        started = time.monotonic()
        try:
            draw_curves(self.metrics_path, self.picture_path)
        except Exception as error:  # a picture is no reason to lose a run
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(f"The curves could not be drawn: {error}", stacklevel=2)
        finished = time.monotonic()
        self._not_before = finished + 19 * (finished - started)


def _panel_of(name):
    if name == "loss" or name.endswith(("_loss", "negative_log_likelihood")):
        return "loss"
    if name.endswith(("brier_score", "expected_calibration_error")):
        return "calibration"
    if name.startswith("probe_"):
        return "probes"
    if name == "teacher_deviation":
        return "teacher's deviation"
    if name.startswith("measure_"):
        return _panel_of_measure(name)
    if name.endswith("gradient_norm"):
        return "gradient norm"
    if name == "learning_rate":
        return "learning rate"
    return "images/s" if name == "images_per_second" else "accuracy"


def _panel_of_measure(name):
    if "cosine_distance" in name:
        return "channels' cosine distance"
    is_rank = name.endswith(("rankme", "participation_ratio"))
    return "effective rank" if is_rank else "spectrum and deviation"


def draw_panel(panel, title, curves):
    """Draws the curves of a kind on matplotlib axes.

    Args:
        panel: `matplotlib.axes.Axes`.
        title: str, a title of `panels_of`.
        curves: {name: ([epochs], [values])}, as `panels_of` has them under it.
    """
    colours = {}
    for name, (epochs, curve) in curves.items():
        # What a curve is to be compared with has its colour, dotted, and no line in the legend.
        is_baseline = "shuffled_" in name
        colour = colours.setdefault(name.replace("shuffled_", ""), f"C{len(colours)}")
        draw_curve(
            panel,
            epochs,
            curve,
            color=colour,
            ls=":" if is_baseline else "-",
            marks=not is_baseline,
            label=None if is_baseline else _label(name),
        )
    set_axes(panel, title, [value for _, curve in curves.values() for value in curve])
    panel.set_title(title, fontsize=10)
    if len(curves) > 1:
        panel.legend(fontsize=8)


def draw_curve(panel, epochs, values, marks=True, **style):
    """Draws a curve on matplotlib axes; with `marks` one of few epochs has a mark at each."""
    marker = "o" if marks and len(epochs) <= 20 else None
    panel.plot(epochs, values, marker=marker, ms=3, lw=1.5, **style)


def set_axes(panel, title, values):
    """Gives matplotlib axes the scales that suit a kind of curves, and these values."""
    if title in ("loss", "gradient norm") and _spans(values):
        panel.set_yscale("log")
    elif title in ("learning rate", "images/s"):
        panel.set_ylim(0, 1.05 * max(values, default=0) or 1)  # room for the mark of the highest
    if title == "learning rate":
        panel.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    panel.set_xlabel("epoch", fontsize=9)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)


def _label(name):
    name = name.removeprefix("measure_").removeprefix("cosine_distance_")
    return f"{name}, dotted: shuffled" if name == "stage0" else name


def _spans(values):
    return min(values) > 0 and max(values) > _LOG_SCALE_FROM * min(values)


def _is_finite(value):
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # of an int that is no float
        return False
