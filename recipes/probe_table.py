"""Probes' figures with the settings they were measured with, to read and as JSON."""

import textwrap

from .printable import printable

COLUMNS = 80
_NAME, _FIGURE = 20, 16  # columns of the first two
# What the settings of all probes are called in the table, in this order; JSON has them all.
_WORDS = {
    "C": "C {:.3g}",
    "values_of_C": lambda values: f"of {len(values)} from {min(values):.3g} to {max(values):.3g}",
    "chosen_on": "chosen on {}",
    "accuracy_there": "where it has {:.2%}",
    "fitted_on": "then fitted on {:,} images",
    "solver": "{}",
    "max_iterations": "at most {:,} iterations",
    "fits_not_converged": lambda count: f"{count} fits did not converge" if count else "",
    "optimizer": "{}",
    "epochs": "{} epochs",
    "warmup_epochs": "warm-up {}",
    "steps": "{:,} steps",
    "batch_size": "batch {:,}",
    "base_learning_rate": "base rate {:g}",
    "learning_rate": "rate {:.3g}",
    "weight_decay": "decay {:g}",
    "momentum": "momentum {:g}",
    "trust_coefficient": "trust {:g}",
    "initial_std": "initial std {:g}",
    "lambda": "lambda {:g}",
    "bias_constant": "bias constant {:g}",
    "num_seeds": "mean ± std of {} seeds",
    "fewest_images_a_class": lambda fewest: _too_few(fewest),
    "k": "k {}",
    "temperature": "temperature {:g}",
    "distance": "{}",
    "features": "features {}",
    "train_images": "{:,} training images",
    "seed": "seed {}",
}


def as_text(about, results):
    """A table of at most 80 columns.

    Args:
        about: {name: value} of what was measured, the lines above the table.
        results: list of `ProbeResult`.
    """
    lines = []
    for name, value in about.items():
        lines += _wrapped(f"{name.replace('_', ' '):<12} ", printable(str(value)))
    lines += ["", f"{'probe':<{_NAME}}{'test accuracy':<{_FIGURE}}settings"]
    for result in results:
        for what in result.accuracies:
            # The settings are those of all rows of a probe, and stand at the first.
            settings = settings_in_words(result.settings) if what == _first(result) else "as above"
            start = f"{_row_name(result, what):<{_NAME}}{_figure(result, what):<{_FIGURE}}"
            lines += _wrapped(start, settings)
    return "\n".join(lines)


def as_json(results):
    """[{"probe", "accuracy": {what: mean}, "deviation", "by_seed", "settings"}]."""
    return [
        {
            "probe": result.probe,
            "accuracy": {what: result.mean(what) for what in result.accuracies},
            "deviation": {what: result.deviation(what) for what in result.accuracies},
            "by_seed": {what: list(values) for what, values in result.accuracies.items()},
            "settings": result.settings,
        }
        for result in results
    ]


def settings_in_words(settings):
    """The settings of a probe in one line."""
    words = [
        word(settings[name]) if callable(word) else word.format(settings[name])
        for name, word in _WORDS.items()
        if name in settings
    ]
    return ", ".join(filter(None, words))


def _too_few(fewest):
    """Of which rows a class has fewer images than the row is named for."""
    few = [what for what, count in fewest.items() if count < int(what.split()[0])]
    if not few:
        return ""
    return f"{', '.join(few)}: only {fewest[few[0]]} images of the smallest class"


def _first(result):
    return next(iter(result.accuracies))


def _row_name(result, what):
    return result.probe if what == "accuracy" else f"{result.probe}, {what}"


def _figure(result, what):
    mean = f"{result.mean(what):.2%}"
    if len(result.accuracies[what]) == 1:
        return mean
    return f"{mean} ± {100 * result.deviation(what):.2f}"


def _wrapped(start, text):
    room = COLUMNS - len(start)
    first, *others = textwrap.wrap(text, room) or [""]
    return [f"{start}{first}".rstrip(), *(" " * len(start) + other for other in others)]
