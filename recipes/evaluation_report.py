"""What an evaluation of a classifier leaves: figures, tables and pictures in a new folder."""

import csv
import json
import os
from pathlib import Path

import numpy as np

MOST_IN_JSON = 200  # classes; the matrix has their square of numbers, a line each


def new_folder(name):
    """--output_dir as a path, checked before anything is computed; None where it is not given.

    Raises:
        ValueError: there is something in it already.
        ModuleNotFoundError: what draws the pictures is not installed.
    """
    if name is None:
        return None
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"--output_dir: {folder} is not empty, and nothing is overwritten. Name a new folder."
        )
    from keras_convnextv2.analysis.figures import new_figure

    new_figure(1, 1)
    return folder


def measure(classifier, batches, flips=False, top=5):
    """The figures of a classifier on labelled images.

    Args:
        classifier: `ConvNeXtV2Classifier`.
        batches: labelled `ImageBatches`.
        flips: bool, whether each image is also shown mirrored.
        top: int, of the accuracy among so many first classes.

    Returns:
        ({name: figure}, a dict for each class as `per_class` gives it, `analysis.Predictions`).
    """
    from keras_convnextv2.analysis import classification_summary, predict_labelled

    each = (batches[place] for place in range(len(batches)))
    found = predict_labelled(classifier, each, flips)
    result = {
        "loss": found.loss,
        **classification_summary(found.probabilities, found.labels, top),
        "temperature": classifier.temperature,
        "flips": flips,
    }
    names = batches.source.class_names
    return result, per_class(found.probabilities, found.labels, names), found


def per_class(probabilities, labels, class_names):
    """A dict for each class, of its name and its `ClassScores`; JSON can hold it."""
    from keras_convnextv2.analysis import average_precisions
    from keras_convnextv2.analysis.summary import scores_of

    scores = scores_of(probabilities, labels)
    columns = {
        "class": list(class_names),
        "precision": scores.precision.tolist(),
        "recall": scores.recall.tolist(),
        "f1": scores.f1.tolist(),
        "support": scores.support.tolist(),
        "predicted": scores.predicted.tolist(),
    }
    if labels.ndim == 2:
        known = average_precisions(probabilities, labels).tolist()
        columns["average_precision"] = [None if value != value else value for value in known]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write(folder, result, classes, predictions, batches, num_worst):
    """Writes per_class.csv, report.json and the pictures.

    The confusion matrix of more than `MOST_IN_JSON` classes is not in report.json: confusion.npz
    has it, as the array "confusion", int (right class, class said).

    Args:
        folder: Path, new or empty.
        result: dict, the summary that is printed.
        classes: what `per_class` gives.
        predictions: `analysis.Predictions`.
        batches: the `ImageBatches`; the images of the worst mistakes are read again.
        num_worst: int, mistakes to show.
    """
    from keras_convnextv2 import analysis
    from keras_convnextv2.whole_files import make_folders, whole_file

    make_folders(folder)
    probabilities, labels = predictions.probabilities, predictions.labels
    source = batches.source
    names, several = source.class_names, labels.ndim == 2
    # Names that are not UTF-8 come from folders of classes.
    as_utf8 = {"encoding": "utf-8", "errors": "backslashreplace"}
    with open(folder / "per_class.csv", "w", newline="", **as_utf8) as file:
        table = csv.DictWriter(file, classes[0])
        table.writeheader()
        table.writerows(classes)

    in_json = None
    if not several:
        confusion = analysis.confusion_matrix(probabilities.argmax(1), labels, len(names))
        if len(names) > MOST_IN_JSON:
            np.savez_compressed(folder / "confusion.npz", confusion=confusion)
        else:
            in_json = confusion.tolist()
        analysis.save_confusion_matrix(folder / "confusion.png", confusion, names)
    found = analysis.reliability(probabilities, labels)
    analysis.save_reliability_diagram(folder / "reliability.png", found, several)

    mistakes = analysis.worst_mistakes(probabilities, labels, num_worst)
    places = [mistake.index for mistake in mistakes]
    files = [source.name_of(place) for place in places]
    rng = np.random.default_rng(0)  # which no framing of evaluation asks
    pictures = [source.read_one(place, batches.framing, rng) for place in places]
    captions = [os.path.basename(file) for file in files]
    analysis.save_worst_mistakes(folder / "worst.png", pictures, mistakes, names, captions)

    report = {
        **result,
        "images_from": source.description,
        "image_size": list(batches.image_size),
        "per_class": classes,
        "confusion": in_json,
        "reliability": {
            "count": found.count.tolist(),
            "confidence": found.confidence.tolist(),
            "accuracy": found.accuracy.tolist(),
        },
        "worst_mistakes": [
            {
                "image": file,
                "right": None if mistake.right is None else names[mistake.right],
                "said": None if mistake.said is None else names[mistake.said],
                "confidence": mistake.confidence,
            }
            for file, mistake in zip(files, mistakes, strict=True)
        ],
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    with whole_file(folder / "report.json") as unfinished:
        unfinished.write_text(text + "\n", **as_utf8)
