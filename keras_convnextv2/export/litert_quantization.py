"""Full int8 for LiteRT: ranges from calibration images, layers chosen by measured error."""

import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np

from keras_convnextv2.export import litert
from keras_convnextv2.export.runtimes import open_artefact

_AGREEMENT = 0.99  # of the first class on calibration images, above what the check demands
_MOST_MEASURED_ALONE = 8  # images on which each layer is tried alone
_QUIETEST = 1e-6  # a channel that hardly speaks is not divided by less


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was chosen for a network, and why.

    Args:
        plan: a `litert.Plan`.
        errors: {layer: relative error of the output with that layer alone in int8; of a depthwise
            convolution, with its kernel stored so}.
        kept_float: layers that stay as they are, those of the largest errors.
        error: relative error of the output under `plan`.
        agreement: share of calibration images whose first class is the same.
    """

    plan: litert.Plan
    errors: dict
    kept_float: tuple
    error: float
    agreement: float


def choose(network, settings, images):
    """The `Choice` for full int8.

    Each layer is first tried alone in int8: the error that it causes in the output orders them.
    Then all are, and those that cause most are put back into float32, one, three, seven and so
    on, until the outputs agree, and by halves back from there (`_few_enough`).

    Args:
        network: a `Network` in the terms of the artefact's input.
        settings: the artefact's `Settings`.
        images: (N, H, W, C) in the artefact's dtype.
    """
    # Any batch: to try one layer must not cost more than the images it is tried on.
    tried = dataclasses.replace(settings, input_shape=(None, *images.shape[1:]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tried.tflite")
        ranges, scales = _calibrated(network, tried, images, path)
        whole = litert.Plan(
            half=True,
            byte_kernels=litert.depthwise_layers(network),
            ranges=ranges,
            input_scales=scales,
        )
        layers = (*ranges, *whole.byte_kernels)

        def outputs(layers, count=None):
            litert.write(network, path, tried, _with_layers(whole, layers))
            return open_artefact(path)(images[:count])

        reference = outputs(())
        few = min(len(images), _MOST_MEASURED_ALONE)
        errors = {
            layer: _relative_error(outputs((layer,), few), reference[:few]) for layer in layers
        }
        by_error = sorted(layers, key=errors.get, reverse=True)

        @functools.cache
        def measured(kept):
            result = outputs(by_error[kept:])
            agreement = float(np.mean(_first(result) == _first(reference)))
            return _relative_error(result, reference), agreement

        kept = _few_enough(lambda kept: measured(kept)[1] >= _AGREEMENT, len(by_error))
        error, agreement = measured(kept)
    return Choice(
        plan=_with_layers(whole, by_error[kept:]),
        errors=errors,
        kept_float=tuple(by_error[:kept]),
        error=error,
        agreement=agreement,
    )


def _few_enough(suffices, most):
    """The smallest number up to `most` that suffices, where each one above it does too.

    `most` where none does. Where the answers are mixed, it is one that suffices while one below
    it does not.
    """
    enough, too_few = 0, -1
    while not suffices(enough) and enough < most:
        too_few, enough = enough, min(2 * enough + 1, most)
    while enough - too_few > 1:
        between = (enough + too_few) // 2
        if suffices(between):
            enough = between
        else:
            too_few = between
    return enough


def _calibrated(network, settings, images, path):
    """Ranges of the layers' inputs and outputs over the images, and scales of GRN's channels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    names = litert.write(network, path, settings, litert.Plan())
    # Delegates keep intermediate values to themselves.
    interpreter = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    places = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
    ends = {layer: [] for layer in names}
    loudest = {layer: 0.0 for layer in names if layer.endswith("/project")}
    for image in images:
        interpreter.set_tensor(places["images"], image[None])
        interpreter.invoke()
        for layer, tensors in names.items():
            values = [interpreter.get_tensor(places[name]) for name in tensors]
            axes = tuple(range(values[0].ndim - 1))
            ends[layer].append(
                (values[0].min(axes), values[0].max(axes), values[1].min(), values[1].max())
            )
            if layer in loudest:
                loudest[layer] = np.maximum(loudest[layer], np.abs(values[0]).max(axes))
    scales = {layer: _channel_scales(values) for layer, values in loudest.items()}
    ranges = {}
    for layer, found in ends.items():
        least, largest, out_least, out_largest = zip(*found, strict=True)
        scale = scales.get(layer, 1.0)
        ranges[layer] = (
            ((np.min(least, 0) / scale).min(), (np.max(largest, 0) / scale).max()),
            (min(out_least), max(out_largest)),
        )
    return ranges, scales


def _channel_scales(loudest):
    """Half of each channel's range, in logarithms, goes from the input to the kernel."""
    roots = np.sqrt(np.maximum(loudest, _QUIETEST))
    return (roots / np.exp(np.log(roots).mean())).astype("float32")


def _with_layers(plan, layers):
    return dataclasses.replace(
        plan,
        byte_kernels=tuple(layer for layer in plan.byte_kernels if layer in layers),
        ranges={layer: ends for layer, ends in plan.ranges.items() if layer in layers},
    )


def _relative_error(outputs, reference):
    """Root mean square of the difference, over that of the reference about its mean."""
    difference = np.sqrt(np.mean((outputs - reference) ** 2))
    return float(difference / max(np.std(reference), 1e-12))


def _first(outputs):
    """The class, or for a backbone the loudest channel, of each image."""
    return outputs.mean(tuple(range(1, outputs.ndim - 1))).argmax(-1)
