"""What `tools.correlate_measures` found, as Markdown, as JSON and as a picture."""

import json

import numpy as np

from tools.late_feature_report import largest_share, table
from tools.measures_and_accuracy import HEAD

WORDS = {
    "rankme": "RankMe",
    "alpha_req": "alpha-ReQ",
    "participation_ratio": "participation ratio",
    "collapse_deviation": "collapse deviation",
    "distance_after_gelu": "channel distance after GELU",
    "distance_after_response": "channel distance after the response",
}


def write(folder, result):
    """Writes correlation.json, correlation.md and correlation.png into a new folder."""
    from keras_convnextv2.whole_files import whole_file

    with whole_file(folder / "correlation.json") as unfinished:
        unfinished.write_text(json.dumps(result, indent=1) + "\n")
    with whole_file(folder / "correlation.md") as unfinished:
        unfinished.write_text(as_markdown(result) + "\n")
    with whole_file(folder / "correlation.png") as unfinished:
        save_picture(unfinished, result)


def as_markdown(result):
    rows = [
        [
            found["models"],
            WORDS[found["measure"]],
            found["accuracy"],
            found["n"],
            _figure(found["pearson"]),
            _figure(found["spearman"]),
            " to ".join(map(_figure, found["spearman_interval"] or [])) or "-",
        ]
        for found in result["correlations"]
    ]
    heads = ["models", "measure", "accuracy of", "n", "Pearson", "Spearman", "95 % of Spearman"]
    first = next(iter(result["models"].values()))
    accuracies = dict.fromkeys(
        key for model in result["models"].values() for key in model["accuracies"]
    )
    of_models = [
        [
            name,
            model["about"]["kind"],
            *(_figure(model["measures"][key], 3) for key in first["measures"]),
            *(_figure(100 * model["accuracies"].get(key, np.nan), 1) for key in accuracies),
        ]
        for name, model in result["models"].items()
    ]
    words = [WORDS[key] for key in first["measures"]]
    return "\n\n".join(
        [
            f"# Measures and accuracy of {len(result['models'])} models",
            table(heads, rows),
            table(["model", "kind", *words, *(f"{key}, %" for key in accuracies)], of_models),
        ]
    )


def save_picture(path, result):
    """A panel a measure: it and the accuracy of the probe with the most labels, a dot a model."""
    from keras_convnextv2.analysis.figures import new_figure, save

    models = list(result["models"].values())
    kinds = list(dict.fromkeys(model["about"]["kind"] for model in models))
    accuracy = _with_most_labels(models[0]["accuracies"])
    figure = new_figure(10, 6.4)
    for axes, (measure, words) in zip(figure.subplots(2, 3).ravel(), WORDS.items(), strict=True):
        for kind in kinds:
            pairs = [
                (model["measures"][measure], 100 * model["accuracies"][accuracy])
                for model in models
                if model["about"]["kind"] == kind and model["measures"][measure] is not None
            ]
            values, found = ([pair[place] for pair in pairs] for place in (0, 1))
            axes.plot(values, found, "o", ms=4, alpha=0.7, label=kind)
        axes.set_title(f"{words}\n{_spearman(result, measure, accuracy)}", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    figure.supylabel(f"test accuracy of the {accuracy}, %", fontsize=9)
    save(figure, path)


def _with_most_labels(accuracies):
    """The name of the probe with the largest share of labels, as "probe, 100% of labels"."""
    probes = {name.split()[1]: name for name in accuracies if name != HEAD}
    return probes[largest_share(probes)]


def _spearman(result, measure, accuracy):
    words = [
        f"{found['models']} {_figure(found['spearman'])}"
        for found in result["correlations"]
        if (found["measure"], found["accuracy"]) == (measure, accuracy)
    ]
    return "Spearman: " + "\n".join(filter(None, [", ".join(words[:1]), ", ".join(words[1:])]))


def _figure(value, digits=2):
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"
