"""What `tools.measure_late_features` found, as Markdown, as JSON and in pictures."""

import json
import re

import numpy as np

from recipes.printable import printable


def write(folder, result):
    """Writes measures.json, late_features.md and the pictures into a new folder."""
    from keras_convnextv2.whole_files import whole_file
    from tools import late_feature_plots

    with whole_file(folder / "measures.json") as unfinished:
        unfinished.write_text(json.dumps(result, indent=1) + "\n")
    with whole_file(folder / "late_features.md") as unfinished:
        unfinished.write_text(as_markdown(result) + "\n")
    for name, draw in late_feature_plots.PICTURES.items():
        with whole_file(folder / f"{name}.png") as unfinished:
            draw(unfinished, result["models"])


def as_markdown(result):
    """The tables, in percent; of the stages before the last with all labels that were asked for."""
    models = result["models"]
    parts = [
        _about(result),
        "## Random subsets of the channels\n\n"
        "Accuracy of the probe.\n\n" + _probes(models, "subsets", _rows_of_subsets),
        "## Principal components of the last stage, and as many axes of a random rotation\n\n"
        + _probes(models, "components", _rows_of_components),
    ]
    for block in removal_blocks(models):
        for where in ("response", "output"):
            parts.append(
                f"## Channels replaced by their means: {block}, {where}\n\n"
                + _removals(models, block, where)
            )
    if any(model["fixed"] for model in models.values()):
        parts.append("## N of GRN at its mean over the images\n\n" + _fixed(models))
    return "\n\n".join(parts)


def removal_blocks(models):
    """The blocks of which any model has channels removed, from the stem to the head."""
    blocks = {block for model in models.values() for block in model["removals"]}
    return sorted(blocks, key=lambda block: [int(number) for number in re.findall(r"\d+", block)])


def largest_share(of_shares):
    """The name of the largest share, of a dict by "1%", "10%", ..."""
    return max(of_shares, key=lambda share: float(share.rstrip("%")))


def means_by_removed(rows, by, relative, value):
    """{share removed: mean over draws of `value(row)`}, beginning with nothing removed."""
    found = {"0%": [value(rows[0])]}
    for row in rows[1:]:
        if (row["by"], row["relative"]) == (by, relative):
            found.setdefault(row["removed"], []).append(value(row))
    return {share: float(np.mean(values)) for share, values in found.items()}


def probe_of(share):
    """A function of a row: the mean accuracy of its probe with a share of the labels."""
    return lambda row: float(np.mean(row["probe"][share]))


def head_of(row):
    return row["head"]


def _about(result):
    models = result["models"]
    fewest = min(model["about"]["test_images"] for model in models.values())
    text = (
        f"# Late features\n\nImages: {printable(str(result['images']))}, seed {result['seed']}. "
        f"Where channels are removed, {result['ablation_images']:,} training images at most count. "
        "± is the standard deviation (n - 1) over draws, those of labels and of channels together. "
        f"{fewest:,} test images alone give an accuracy a standard error of up to "
        f"{100 * np.sqrt(0.25 / fewest):.1f} points; between rows of one table, which share them, "
        "it is smaller.\n\n"
    )
    heads = ["model", "kind", "response", "training images", "test images", "size", "weights"]
    return text + table(heads, [[name, *_facts(m["about"])] for name, m in models.items()])


def _facts(about):
    size = "x".join(map(str, about["image_size"]))
    counts = [f"{about[f'{split}_images']:,}" for split in ("train", "test")]
    return [about["kind"], about["response"], *counts, size, about["weights"]]


def _probes(models, key, rows_of):
    rows = [([name, *row], v) for name, m in models.items() for row, v in rows_of(m[key])]
    return _table_by_number(["model", "stage", "labels"], rows)


def _rows_of_subsets(stages):
    """Yields ([stage, labels], {share of channels: figure}); all shares of labels of the last stage
    alone."""
    for stage, of_labels in stages.items():
        for share, accuracies in of_labels.items():
            if stage == list(stages)[-1] or share == largest_share(of_labels):
                yield [stage, share], {what: _spread(v) for what, v in accuracies.items()}


def _rows_of_components(stages):
    stage, of_labels = list(stages.items())[-1]
    for share, accuracies in of_labels.items():
        for kind in ("components", "rotated"):
            of_kind = {
                what.split()[0]: _spread(values)
                for what, values in accuracies.items()
                if what.endswith(kind)
            }
            yield [f"{stage}, {kind}", share], of_kind


def _removals(models, block, where):
    rows = []
    for name, model in models.items():
        found = model["removals"].get(block, {}).get(where)
        if found is None:
            continue
        of_rows = found["rows"]
        readings = {
            f"probe, {share} of {found['labels']:,} labels": probe_of(share)
            for share in of_rows[0]["probe"]
        }
        if "head" in of_rows[0]:
            readings["its own head"] = head_of
        ways = dict.fromkeys((row["by"], row["relative"]) for row in of_rows[1:])
        for reading, value in readings.items():
            for by, relative in ways:
                means = means_by_removed(of_rows, by, relative, value)
                of_n = f"N {relative}" if where == "response" else "-"
                figures = {share: _percent(mean) for share, mean in means.items()}
                rows.append(([name, reading, by, of_n], figures))
    return _table_by_number(["model", "accuracy of", "removed by", "GRN"], rows)


def _fixed(models):
    rows = []
    for name, model in models.items():
        for row in model["fixed"]:
            rows.append(
                [
                    name,
                    row["where"],
                    "at its mean" if row["relative"] == "mean" else "as it is",
                    *map(_spread, row["probe"].values()),
                    _percent(row["head"]) if "head" in row else "-",
                ]
            )
    shares = next(model["fixed"][0]["probe"] for model in models.values() if model["fixed"])
    heads = [f"probe, {share} of labels" for share in shares]
    return table(["model", "where", "N", *heads, "its own head"], rows)


def _table_by_number(heads, rows):
    """A table of rows ([cell, ...], {number or share: figure}), each figure under its own head; the
    heads ascend, and what a row has not is "-"."""
    numbers = {number for _, figures in rows for number in figures}
    numbers = sorted(numbers, key=lambda number: float(number.rstrip("%")))
    of_rows = [[*row, *(figures.get(n, "-") for n in numbers)] for row, figures in rows]
    return table([*heads, *numbers], of_rows)


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(printable(str(cell)).replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


def _spread(values):
    if len(values) == 1:
        return _percent(values[0])
    return f"{_percent(np.mean(values))} ± {100 * np.std(values, ddof=1):.1f}"


def _percent(value):
    return f"{100 * value:.1f}"
