"""Tries an artefact in a clean process and compares it with the model it was made of."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from keras_convnextv2.export import runtimes
from keras_convnextv2.export.processes import run_python

# The largest difference allowed, over the range of the reference's values, for probabilities of
# their logits'; int8 is judged by the first class instead.
TOLERANCES = {"float32": 1e-4, "float16": 1e-2}
# Rounding of a softmax or sigmoid itself: the power, the sum and the quotient are a few units in
# the last place each, and runtimes approximate the power to some more.
_ROUNDING = 16 * float(np.finfo("float32").eps)
AGREEMENT = 0.98  # share of images whose first class must be the same, for int8
ACCURACY_LOST = 0.01  # the largest share of labelled images that int8 may lose
_REPETITIONS = 11  # timings, of which the median is taken


@dataclasses.dataclass(frozen=True)
class Report:
    """What trying an artefact showed.

    Args:
        artefact: str, its path.
        format: of the artefact, a key of `FORMATS`.
        precision: of the artefact.
        largest_difference: of all outputs from Keras's.
        relative_difference: the same over the range of Keras's outputs; of probabilities, over 1.
        agreement: share of images with the same first class, for a backbone largest feature.
        accuracy: share of labelled images that the artefact classifies rightly, or None.
        keras_accuracy: the same of the model.
        num_images: int.
        num_bytes: int, of the artefact's files.
        latency_milliseconds: median of a batch in its own runtime.
        latency_batch_size: of the latency.
        threads: of the latency.
        layers_kept_float: {layer: relative error it caused in int8}, for int8, or None.
        problem: str, what is not within tolerance, or None.

    Examples:
        >>> import numpy as np, keras_convnextv2 as kc
        >>> from keras_convnextv2.export import Report, export_model
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> model = kc.ConvNeXtV2Classifier(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), 2)
        >>> report = export_model(model, "tried.onnx")
        >>> report.format, report.relative_difference < 1e-4, report.agreement
        ('onnx', True, 1.0)
        >>> isinstance(report, Report)
        True
    """

    artefact: str
    format: str
    precision: str
    largest_difference: float
    relative_difference: float
    agreement: float
    accuracy: float | None
    keras_accuracy: float | None
    num_images: int
    num_bytes: int
    latency_milliseconds: float
    latency_batch_size: int
    threads: int
    layers_kept_float: dict | None = None
    problem: str | None = None


def run_in_clean_process(path, batches, threads):
    """An artefact's outputs, from a process that knows neither Keras nor this package.

    A `.keras` file alone is run by this package, in a process of its own too.

    Args:
        path: of the artefact.
        batches: list of arrays of images; the latency is that of the last one's.
        threads: int.

    Returns:
        A list of outputs, and the dict that `runtimes` prints.

    Raises:
        ExportError: the process failed; its last words are told.
    """
    # -I: neither the working directory nor PYTHONPATH, only what is installed.
    program = ["-I", runtimes.__file__]
    if Path(path).suffix == ".keras":
        program = ["-m", "keras_convnextv2.export.keras_archive"]
    with tempfile.TemporaryDirectory() as folder:
        for number, images in enumerate(batches):
            np.save(Path(folder, f"images{number}.npy"), images)
        printed = run_python(
            [*program, str(path), folder, str(threads), str(_REPETITIONS)],
            f"{path} does not run in its own runtime",
        )
        measured = json.loads(printed.splitlines()[-1])
        places = range(len(batches))
        return [np.load(Path(folder, f"outputs{number}.npy")) for number in places], measured


def compare(outputs, reference, settings, labels=None):
    """What differs between an artefact's outputs and Keras's, as fields of a `Report`.

    Args:
        outputs, reference: (N, ...) float32.
        settings: the artefact's `Settings`.
        labels: optional (N,) int, right classes.
    """
    difference = np.abs(outputs - reference)
    spread = float(reference.max() - reference.min())
    if settings.output == "probabilities":
        # Those of an untrained classifier are nearly equal, and their range is of rounding's size.
        spread = 1.0
    relative = float(difference.max()) / max(spread, 1e-12)
    first, expected = (
        values.reshape(len(values), -1).argmax(-1) for values in (outputs, reference)
    )
    fields = {
        "largest_difference": float(difference.max()),
        "relative_difference": relative,
        "agreement": float(np.mean(first == expected)),
        "accuracy": None if labels is None else float(np.mean(first == labels)),
        "keras_accuracy": None if labels is None else float(np.mean(expected == labels)),
        "num_images": len(reference),
    }
    allowed = None
    if settings.precision in TOLERANCES:
        allowed = _allowed(TOLERANCES[settings.precision], reference, spread, settings)
    return {**fields, "problem": _problem(outputs, difference, spread, allowed, fields, settings)}


def _allowed(tolerance, reference, spread, settings):
    """The largest difference that outputs may have from the reference.

    For probabilities it follows from that of the logits z: dp_i = p_i (dz_i - sum_j p_j dz_j), in
    which the bracket is (1 - p_i) times a difference of two changes, so that |dp| <= max |dz| / 2;
    a sigmoid has half of it. The logits' range is taken of log(p / (1 - p)): for a softmax, whose
    logits are not to be had from its outputs, it is about the same (twice of two classes).
    """
    if settings.output != "probabilities":
        return tolerance * max(spread, 1e-12)
    ends = np.finfo("float32")
    certain = np.clip(reference.astype("float64"), ends.tiny, 1 - ends.epsneg)
    logits = np.log(certain) - np.log1p(-certain)
    return tolerance * float(logits.max() - logits.min()) / 2 + _ROUNDING


def _problem(outputs, difference, spread, allowed, fields, settings):
    if not np.isfinite(outputs).all():
        return f"{np.count_nonzero(~np.isfinite(outputs))} outputs are not finite"
    if allowed is not None:
        if fields["largest_difference"] <= allowed:
            return None
        place = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
        return (
            f"output {place} differs by {fields['largest_difference']:.3g}, "
            f"{fields['relative_difference']:.2g} of the range of Keras's outputs, {spread:.3g}; "
            f"{settings.precision} may differ by {allowed / max(spread, 1e-12):.2g} of it"
        )
    if fields["agreement"] < AGREEMENT:
        return (
            f"the largest output agrees on {fields['agreement']:.1%} of {fields['num_images']} "
            f"images; {settings.precision} must agree on {AGREEMENT:.0%}"
        )
    if fields["accuracy"] is not None:
        lost = fields["keras_accuracy"] - fields["accuracy"]
        if lost > ACCURACY_LOST:
            return (
                f"accuracy falls from {fields['keras_accuracy']:.1%} to {fields['accuracy']:.1%}; "
                f"{settings.precision} may lose {ACCURACY_LOST:.0%}"
            )
    return None


def size_of(path):
    """Bytes of an artefact: a file with what belongs beside it, or a folder."""
    path = Path(path)
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return sum(file.stat().st_size for file in [path, *companions(path)])


def companions(path):
    """The files beside an artefact that belong to it."""
    path = Path(path)
    beside = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    beside.append(path.with_name(f"{path.name}.data"))
    return [file for file in beside if file.is_file()]
