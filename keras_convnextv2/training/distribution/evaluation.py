"""Batches of an evaluation that devices share: images in equal parts, all labels to each.

The images of a batch may not fill equal parts. So they are filled up, and with them come the labels
of all that are not filling, whose number a compiled step of JAX then knows by a shape.
"""

import keras
import numpy as np

_LABELS = "labels_of_all_parts"


class EvaluationParts(keras.utils.PyDataset):
    """What one process gives `evaluate` of `ImageBatches` that several devices share.

    Args:
        batches: `ImageBatches`, of whole batches or of a part, which does not matter.
        devices: `Devices`.
    """

    def __init__(self, batches, devices):
        super().__init__(workers=1)
        self._batches = batches
        self._copies = devices.count_here  # each of them has the labels
        self._part = batches.filled_part(
            (devices.process_index, devices.process_count), devices.count
        )

    def __len__(self):
        return len(self._part)

    def __getitem__(self, index):
        try:
            images = self._part[index][0]
        except Exception:
            self._batches.error = self._part.error
            raise
        labels = self._batches.labels_of(index)
        return images, {_LABELS: np.repeat(labels[None], self._copies, axis=0)}


def shared(batches, devices):
    """`EvaluationParts` of `ImageBatches` on several devices; else what came."""
    if devices.count == 1 or not hasattr(batches, "filled_part"):
        return batches
    return EvaluationParts(batches, devices)


def split(data):
    """(data without the labels of all parts, those or None), of a batch of `evaluate`."""
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(labels, dict) or set(labels) != {_LABELS}:
        return data, None
    return (images, None, weights), labels[_LABELS][0]
