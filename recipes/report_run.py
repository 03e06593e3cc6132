"""What the folder of a run says: read as far as it is there, the rest named."""

import dataclasses
import datetime
import shlex
import statistics
from pathlib import Path

from . import report_files, run_settings
from .report_files import NotThere
from .report_words import is_number, shown, words

METRICS, RECORD, RESULT = "metrics.jsonl", "run.json", "result.json"
_EVALUATION = "report.json"
_OF_EACH_KIND = {"pretrain": "A pretraining", "finetune": "A fine-tuning"}
_OBJECTIVES = {"fcmae": "FCMAE", "latent": "latent prediction"}
# The figures that a page begins with, of those that there are.
_HEADLINES = (
    *("test_accuracy", "test_mean_average_precision", "test_balanced_accuracy", "test_macro_f1"),
    *("test_expected_calibration_error", "loss", "probe_ridge", "probe_knn", "measure_rankme"),
    *("val_accuracy", "accuracy", "gradient_norm"),
)
_MOST_HEADLINES = 4
_MOMENT = "%Y-%m-%d %H:%M UTC"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as its folder has it.

    Args:
        folder: Path.
        name: str, how a report calls it.
        record: dict of run.json, empty without.
        result: dict of result.json; None: not finished.
        epochs: list of dicts, as `read_metrics` gives them.
        evaluation: dict of a classifier's report.json; None without.
        absent: list of str, what is not there or cannot be read.
        last_written: `datetime.datetime` of metrics.jsonl, or None.
    """

    folder: Path
    name: str
    record: dict
    result: dict | None
    epochs: list
    evaluation: dict | None
    absent: list
    last_written: datetime.datetime | None

    @property
    def kind(self):
        """ "pretrain", "finetune", or "" where it is not known."""
        program = str(_dict(self.record.get("command")).get("program")).rpartition(".")[2]
        return program if program in _OF_EACH_KIND else ""

    @property
    def settings(self):
        """{flag: value}, empty where it is not known."""
        return _dict(self.record.get("settings"))

    @property
    def given(self):
        """Names of the settings that were given; the others are defaults."""
        told = self.record.get("given")
        if isinstance(told, list):
            return [name for name in told if isinstance(name, str) and name in self.settings]
        # Of a run before these were kept: the words of the command.
        flags = _dict(self.record.get("command")).get("flags")
        names = {
            word.lstrip("-").partition("=")[0]
            for word in (flags if isinstance(flags, list) else [])
            if isinstance(word, str)
        }
        return [name for name in self.settings if name in names or f"no{name}" in names]

    @property
    def figures(self):
        """{name: number} of the result, or of the last epoch where there is none."""
        found = self.result if self.result is not None else (self.epochs or [{}])[-1]
        return {
            name: value
            for name, value in found.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    @property
    def evaluation_folder(self):
        """Where the pictures of `evaluation` are."""
        inside = self.folder / "test"
        return inside if (inside / _EVALUATION).exists() else self.folder


def read_run(folder, name=None):
    """The `Run` in a folder, or the evaluation alone that recipes.evaluate left there.

    Args:
        folder: str or Path.
        name: optional str; default: that of the folder.

    Raises:
        ValueError: it is no folder, or holds nothing of a run.
    """
    from keras_convnextv2.analysis.curves import read_metrics

    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"--run: {folder} is no folder. Name the folder of a run.")
    names = (RECORD, RESULT, METRICS, f"test/{_EVALUATION}", _EVALUATION)
    there = [name for name in names if (folder / name).exists()]
    if not there:
        raise ValueError(
            f"--run: {folder} holds no run: none of {', '.join(names)}. Name the --output_dir of a "
            "run."
        )
    absent = []

    def read(path, read_one, is_expected=True):
        if not is_expected and not path.exists():
            return None
        try:
            return read_one(path)
        except NotThere as error:
            absent.append(str(error))
            return None

    def read_epochs(path):
        report_files.read_bytes(path)  # which refuses what is no file of a bearable size
        try:
            found = read_metrics(path)
        except (OSError, ValueError) as error:
            raise NotThere(f"{path.name} cannot be read ({error})") from error
        if not found:
            raise NotThere(f"{path.name} tells of no epoch")
        return found

    is_run = there != [_EVALUATION]
    inside = folder / "test" / _EVALUATION
    return Run(
        folder,
        name or folder.resolve().name,
        read(folder / RECORD, report_files.read_object, is_run) or {},
        read(folder / RESULT, report_files.read_object, False),
        read(folder / METRICS, read_epochs, is_run) or [],
        read(inside if inside.exists() else folder / _EVALUATION, report_files.read_object, False),
        absent,
        _last_written(folder / METRICS),
    )


def names_of(folders):
    """What folders are called in a comparison: their names, or their paths where two are alike."""
    names = [Path(folder).resolve().name for folder in folders]
    return [
        name if names.count(name) == 1 else str(folder)
        for name, folder in zip(names, folders, strict=True)
    ]


def sentence(run):
    """What a run is, in a sentence."""
    if not run.record:
        return (
            "The figures of a classifier." if run.evaluation else "A run whose settings are lost."
        )
    settings = run.settings
    parts = [_OF_EACH_KIND.get(run.kind, "A run")]
    if run.kind == "pretrain":
        objective = shown(settings.get("objective") or "fcmae")
        parts.append(f"by {_OBJECTIVES.get(objective, objective)}")
    parts.append(f"of {_model(settings)}")
    images = settings.get("data_dir") or "the embedded images"
    size = settings.get("size")
    at = f" at {_times(size)} pixels" if isinstance(size, list) else ""
    parts.append(f"on {shown(images)}{at}")
    if run.kind == "pretrain" and is_number(settings.get("mask_ratio")):
        parts.append(f"with {settings['mask_ratio']:.0%} of the patches hidden")
    if run.kind == "finetune":
        parts.append(f"from {shown(settings.get('weights') or 'scratch')}")
        if settings.get("labels_per_class"):
            parts.append(f"on {shown(settings['labels_per_class'])} labels a class")
    if settings.get("epochs"):
        parts.append(
            f"for {shown(settings['epochs'])} epochs in batches of "
            f"{shown(settings.get('batch_size'))}"
        )
    device = run.record.get("device")
    where = shown(run.record.get("backend"))
    if device:
        where += f" ({shown(device)})"
    return f"{' '.join(parts)}, with {where}."


def state(run):
    """Whether a run is finished, in a sentence."""
    if not run.record and not run.epochs:
        return ""
    begun = f"Begun {_moment(run.record.get('started'))}"
    seconds = sum(line["seconds"] for line in run.epochs if is_number(line.get("seconds")))
    spent = f"; its epochs took {_clock_time(seconds)}" if seconds else ""
    if run.result is not None:
        return f"{begun}, finished{spent}."
    of_all = run.settings.get("epochs")
    of_all = f" of {shown(of_all)}" if of_all else ""
    done = run.epochs[-1]["epoch"] if run.epochs else 0
    when = f", the last at {run.last_written:{_MOMENT}}" if run.last_written else ""
    return (
        f"{begun}, not finished: {done}{of_all} epochs are done{when}{spent}. It is still going, "
        "or was stopped; the same command goes on with it."
    )


def headlines(run):
    """The figures that say most, a list of (name, value, what it was before or "")."""
    found = run.figures
    chosen = [name for name in _HEADLINES if name in found][:_MOST_HEADLINES]
    return [(words(name), shown(found[name], name), _at_first(run, name)) for name in chosen]


def _at_first(run, name):
    """A figure of the first epoch that has it, in words; "" where that is the last."""
    first = next((line for line in run.epochs[:-1] if is_number(line.get(name))), None)
    return "" if first is None else f"{shown(first[name], name)} at epoch {first['epoch']}"


def differing_settings(runs):
    """{flag: [value of each run]} of the settings in which runs differ, in words."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {
        name: [shown(run.settings[name]) if name in run.settings else "not there" for run in runs]
        for name in names
        if name not in run_settings.FREE
    }
    return {name: of_runs for name, of_runs in values.items() if len(set(of_runs)) > 1}


def command(run):
    """{"command", "in the folder"} with which a run was started, as a shell takes it."""
    told = _dict(run.record.get("command"))
    flags = told.get("flags") if isinstance(told.get("flags"), list) else []
    program = str(told.get("program") or "")
    words = ["python", "-m", program] if "/" not in program else ["python", program]
    variables = (
        f"{name}={shlex.quote(str(value))}"
        for name, value in _dict(told.get("environment")).items()
    )
    line = " ".join([*variables, shlex.join([*words, *map(str, flags)])])
    return {"command": line, "in the folder": told.get("folder")} if program else {}


def typical_rate(run):
    """Images a second of the median epoch; None where it is not known."""
    rates = [line.get("images_per_second") for line in run.epochs]
    rates = [rate for rate in rates if is_number(rate)]
    return statistics.median(rates) if rates else None


def _model(settings):
    response = settings.get("response")
    name = f"ConvNeXt with response {shown(response)}" if response else "ConvNeXt V2"
    if settings.get("variant"):
        return f"{name} {shown(settings['variant'])}"
    depths, widths = settings.get("depths"), settings.get("widths")
    if depths and widths:
        return f"a {name} of depths {shown(depths)} and widths {shown(widths)}"
    return f"a {name}"


def _moment(started):
    """An ISO date of run.json, in words."""
    try:
        moment = datetime.datetime.fromisoformat(started).astimezone(datetime.UTC)
    except (TypeError, ValueError, OverflowError):
        return "at a time that is not known" if started is None else shown(started)
    return f"{moment:{_MOMENT}}"


def _times(size):
    return " x ".join(map(str, size[:2]))


def _clock_time(seconds):
    from .projection import clock_time

    return clock_time(seconds)


def _last_written(path):
    try:
        return datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    except (OSError, ValueError, OverflowError):
        return None


def _dict(value):
    return value if isinstance(value, dict) else {}
