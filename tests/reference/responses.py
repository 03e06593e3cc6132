"""Responses in float64, in loops over what is visible."""

import math

import numpy as np

from tests.reference.sparse_block import depthwise_at, layer_norm


def response(name, options, weights, batch, training=False):
    """A response of a batch.

    Args:
        name: of the response; "grn" for any of GRN's family.
        options: {"aggregation": ...} of that family.
        weights: {name within the layer: array}.
        batch: for each image {(row, column): (C,)} of its visible positions.
        training: bool, for batch norm.

    Returns:
        As `batch`.
    """
    if name == "bn":
        return _batch_norm(weights, batch, training)
    one = {"none": _none, "grn": _grn, "lrn": _lrn, "ln": _ln, "se": _se, "cbam": _cbam}[name]
    return [one(weights, image, **options) if image else {} for image in batch]


def moving_averages(batch, momentum):
    """(mean, variance) after one step of batch norm from 0 and 1."""
    vectors = [vector for image in batch for vector in image.values()]
    mean = sum(vectors) / len(vectors)
    variance = sum((vector - mean) ** 2 for vector in vectors) / len(vectors)
    return (1 - momentum) * mean, momentum + (1 - momentum) * variance


def _none(weights, image):
    return image


def _grn(weights, image, aggregation, normalisation, residual, affine):
    energies = []
    for channel in range(len(next(iter(image.values())))):
        values = [vector[channel] for vector in image.values()]
        energies.append(
            {
                "average": sum(values) / len(values),
                "l1": sum(abs(value) for value in values),
                "l2": math.sqrt(sum(value**2 for value in values)),
            }[aggregation]
        )
    total, count = sum(energies), len(energies)
    deviation = math.sqrt(sum((energy - total / count) ** 2 for energy in energies) / count)
    scale = np.array(
        [
            {
                "mean": energy / (total / count + 1e-6),
                "sum": energy / (total + 1e-6),
                "inverse_sum": 1 / (total + 1e-6),
                "standardise": (energy - total / count) / (deviation + 1e-6),
            }[normalisation]
            for energy in energies
        ]
    )
    gamma, beta = (weights["gamma"], weights["beta"]) if affine else (1.0, 0.0)
    return {
        position: gamma * (vector * scale) + beta + (vector if residual else 0.0)
        for position, vector in image.items()
    }


def _lrn(weights, image):
    def at(vector):
        sums = [
            sum(vector[other] ** 2 for other in range(len(vector)) if abs(other - channel) <= 2)
            for channel in range(len(vector))
        ]
        return vector / (2.0 + 1e-4 * np.array(sums)) ** 0.75

    return {position: at(vector) for position, vector in image.items()}


def _ln(weights, image):
    gamma, beta = weights["norm/gamma"], weights["norm/beta"]
    return {position: layer_norm(vector, gamma, beta) for position, vector in image.items()}


def _batch_norm(weights, batch, training):
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    if training:
        vectors = [vector for image in batch for vector in image.values()]
        mean = sum(vectors) / len(vectors)
        variance = sum((vector - mean) ** 2 for vector in vectors) / len(vectors)
    factor = weights["gamma"] / np.sqrt(variance + 1e-5)
    return [
        {p: (vector - mean) * factor + weights["beta"] for p, vector in image.items()}
        for image in batch
    ]


def _se(weights, image):
    mean = sum(image.values()) / len(image)
    factor = _sigmoid(_narrow_and_wide(weights, mean))
    return {position: vector * factor for position, vector in image.items()}


def _cbam(weights, image):
    mean = sum(image.values()) / len(image)
    largest = np.max(list(image.values()), axis=0)
    factor = _sigmoid(_narrow_and_wide(weights, mean) + _narrow_and_wide(weights, largest))
    scaled = {position: vector * factor for position, vector in image.items()}
    pairs = {p: np.array([vector.mean(), vector.max()]) for p, vector in scaled.items()}
    kernel = weights["kernel"][..., 0]
    return {
        position: vector * _sigmoid(depthwise_at(position, pairs, kernel).sum())
        for position, vector in scaled.items()
    }


def _narrow_and_wide(weights, vector):
    narrow = np.maximum(vector @ weights["squeeze/kernel"] + weights["squeeze/bias"], 0.0)
    return narrow @ weights["excite/kernel"] + weights["excite/bias"]


def _sigmoid(value):
    return 1.0 / (1.0 + np.exp(-value))
