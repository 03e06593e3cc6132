"""The trial that an artefact has to pass: its outputs beside those of the model."""

import numpy as np

from keras_convnextv2.export import check
from keras_convnextv2.export.reference import reference_outputs

_NUM_RANDOM = 4  # images of noise that every artefact is tried on


def tried(model, path, format, settings, images, labels, threads):
    """The `Report` of an artefact: on the given images, on noise, and on noise of another size."""
    total_stride = getattr(model, "backbone", model).total_stride
    _, height, width, channels = settings.input_shape
    shape = (_NUM_RANDOM, height or 7 * total_stride, width or 7 * total_stride, channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    trials = [(noise, None)]
    if None in (height, width):
        trials.insert(
            0, (noise[:, : height or 3 * total_stride, : width or 5 * total_stride], None)
        )
    if settings.is_integer:  # the first class of noise says nothing
        trials = []
    if images is not None:
        trials.append((np.asarray(images), labels))
    batches = [settings.as_input(pixels) for pixels, _ in trials]
    outputs, measured = check.run_in_clean_process(path, batches, threads)
    compared = [
        check.compare(
            found,
            reference_outputs(model, settings.as_float(pixels), settings.output),
            settings,
            right,
        )
        for found, (pixels, right) in zip(outputs, trials, strict=True)
    ]
    problem = next((found["problem"] for found in compared if found["problem"]), None)
    return check.Report(
        artefact=str(path),
        format=format,
        precision=settings.precision,
        **{**compared[-1], "problem": problem},
        num_bytes=check.size_of(path),
        threads=threads,
        **measured,
    )
