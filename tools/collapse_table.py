"""What `tools.measure_collapse` found, as a table of 80 columns, but for longer names of files."""

import textwrap

from recipes.printable import printable

COLUMNS = 80
_NAME = 21  # columns of the first one
_HEADS = {
    "channels": ("channels", "{:,}"),
    "cosine_distance": ("distance", "{:.4f}"),
    "shuffled_cosine_distance": ("shuffled", "{:.4f}"),
    "rankme": ("RankMe", "{:.1f}"),
    "participation_ratio": ("participation", "{:.1f}"),
}
_LAST = {
    "rankme": ("RankMe", "{:.2f}"),
    "alpha_req": ("alpha-ReQ", "{:.3f}"),
    "participation_ratio": ("participation ratio", "{:.2f}"),
    "collapse_deviation": ("collapse deviation", "{:.4f}"),
    "lidar": ("LiDAR", "{:.2f}"),
}


def as_text(result):
    """The table of what the tool writes as measures.json."""
    lines = []
    for name, model in result["models"].items():
        lines += [*_of_model(name, model, result["where"]), ""]
    for pair in result["cka"]:
        lines.append(
            f"{_figure(pair['linear_cka'], '{:.4f}'):>{_NAME - 2}}  linear CKA of "
            f"{printable(' and '.join(pair['models']))}"
        )
    return "\n".join(lines).rstrip()


def _of_model(name, model, where):
    from keras_convnextv2.analysis.block_features import PLACES

    lines = [printable(name)]
    for key in ("weights", "images", "features"):
        lines += _wrapped(key, model[key])
    lines += _wrapped("image size", "{} x {}".format(*model["image_size"]))
    lines += ["", "last features"]
    for key, value in model["last_features"].items():
        head, form = _LAST[key]
        lines.append(f"  {head:<{_NAME}}{_figure(value, form)}")
    widths = [len(head) + 3 for head, _ in _HEADS.values()]
    heads = (f"{head:>{width}}" for (head, _), width in zip(_HEADS.values(), widths, strict=True))
    lines += ["", f"{PLACES[where]:<{_NAME}}{''.join(heads)}"]
    for block, figures in model["blocks"].items():
        row = (
            f"{_figure(figures[key], form):>{width}}"
            for (key, (_, form)), width in zip(_HEADS.items(), widths, strict=True)
        )
        lines.append(f"{block:<{_NAME}}{''.join(row)}")
    return lines


def _wrapped(key, value):
    return textwrap.wrap(
        f"{key:<12}{printable(str(value))}",
        COLUMNS,
        initial_indent="  ",
        subsequent_indent=" " * 14,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _figure(value, form):
    return "none" if value is None else form.format(value)
