"""The pictures of `tools.measure_late_features` and of `tools.correlate_measures`."""

import numpy as np

from keras_convnextv2.analysis.figures import new_figure, plain, save
from tools.late_feature_report import (
    head_of,
    largest_share,
    means_by_removed,
    probe_of,
    removal_blocks,
)

_STYLES = {"redundancy": "-", "random": "--", "response": ":"}
_BY = {"redundancy": "most redundant first", "random": "at random", "response": "weakest first"}


def save_subsets(path, models):
    """A panel a stage with the most labels, and the last stage with each other share of labels."""
    first = next(iter(models.values()))["subsets"]
    last = list(first)[-1]
    most = largest_share(first[last])
    panels = [(stage, most) for stage in first]
    panels += [(last, share) for share in first[last] if share != most]
    figure, all_axes = _panels(panels, 3)
    for (stage, share), axes in zip(panels, all_axes, strict=False):
        for number, (name, model) in enumerate(models.items()):
            found = model["subsets"][stage][share]
            places = [float(fraction.rstrip("%")) for fraction in found]
            _spread(axes, places, found.values(), number, name)
        axes.set_title(f"{stage}, {share} of labels", fontsize=10)
        axes.set_xlabel("channels that the probe gets, %", fontsize=8)
    _finish(figure, all_axes, path)


def save_components(path, models):
    """A panel a share of labels, of the last stage."""
    first = list(next(iter(models.values()))["components"].values())[-1]
    figure, all_axes = _panels(first, 3)
    for share, axes in zip(first, all_axes, strict=False):
        for number, (name, model) in enumerate(models.items()):
            found = list(model["components"].values())[-1][share]
            for kind, style in (("components", "-"), ("rotated", ":")):
                of_kind = {what: values for what, values in found.items() if what.endswith(kind)}
                places = [int(what.split()[0]) for what in of_kind]
                label = name if kind == "components" else None
                _spread(axes, places, of_kind.values(), number, label, style)
        axes.plot([], [], ":", color="grey", label="random rotation")
        axes.set_xscale("log", base=2)
        axes.set_title(f"last stage, {share} of labels", fontsize=10)
        axes.set_xlabel("principal components, or axes of a rotation", fontsize=8)
    _finish(figure, all_axes, path)


def save_removals(path, models):
    """Three panels a block: after the response with N frozen and recomputed, and at its output; of
    the probe and, where a model has one, of its own head."""
    places = (("response", "frozen"), ("response", "recomputed"), ("output", "frozen"))
    readings = [False, *([True] if any(map(_has_head, models.values())) else [])]
    panels = [
        (block, *place, of_head)
        for block in removal_blocks(models)
        for of_head in readings
        for place in places
    ]
    figure, all_axes = _panels(panels, len(places))
    for panel, axes in zip(panels, all_axes, strict=True):
        for number, (name, model) in enumerate(models.items()):
            _removals(axes, model, *panel, color=f"C{number}", name=name)
        block, where, relative, of_head = panel
        of_n = f", N {relative}" if where == "response" else ""
        reading = "own head" if of_head else "probe"
        axes.set_title(f"{block}, {where}{of_n}\n{reading}", fontsize=9)
        axes.set_xlabel("channels replaced by their means, %", fontsize=8)
    for by, style in _STYLES.items():
        all_axes[0].plot([], [], style, color="grey", label=_BY[by])
    _finish(figure, all_axes, path)


def _removals(axes, model, block, where, relative, of_head, color, name):
    found = model["removals"].get(block)
    if found is None or (of_head and not _has_head(model)):
        return
    rows = found[where]["rows"]
    value = head_of if of_head else probe_of(largest_share(rows[0]["probe"]))
    for by, style in _STYLES.items():
        means = means_by_removed(rows, by, relative, value)
        if len(means) > 1:  # a model without GRN has no N
            places = [float(share.rstrip("%")) for share in means]
            label = plain(name, 30) if by == "redundancy" else None
            accuracies = [100 * mean for mean in means.values()]
            axes.plot(places, accuracies, style, marker=".", ms=4, color=color, label=label)


PICTURES = {"subsets": save_subsets, "components": save_components, "removals": save_removals}


def _has_head(model):
    """Whether what is left of it was measured by its own head: it is of the images' classes."""
    return any("head" in of["rows"][0] for at in model["removals"].values() for of in at.values())


def _panels(panels, columns):
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(3.4 * columns, 3.1 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False, sharey="row").ravel()
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    return figure, list(axes)


def _spread(axes, places, groups, number, name, style="-"):
    groups = [100 * np.asarray(values) for values in groups]
    means = [values.mean() for values in groups]
    deviations = [values.std(ddof=1) if len(values) > 1 else 0.0 for values in groups]
    label = None if name is None else plain(name, 30)
    axes.errorbar(
        places, means, deviations, fmt=style, marker=".", ms=4, lw=1.2, capsize=2,
        color=f"C{number}", label=label,
    )  # fmt: skip


def _finish(figure, all_axes, path):
    for axes in all_axes:
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    for axes in all_axes:
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("test accuracy, %", fontsize=8)
    handles = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=min(len(handles), 4),
        fontsize=8,
    )  # fmt: skip
    save(figure, path)
