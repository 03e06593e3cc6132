"""FCMAE's loss in loops, from images to the scalar."""

import math


def hidden_loss(images, prediction, hidden, normalize_targets=True):
    """Mean squared error of the hidden patches.

    Args:
        images: (B, H, W, C).
        prediction: (B, h, w, P * P * C), by row, column, channel.
        hidden: (B, h, w), 1 = hidden.
    """
    num_images, rows, columns = hidden.shape
    patch_size = images.shape[1] // rows
    errors = []
    for image in range(num_images):
        for row in range(rows):
            for column in range(columns):
                if not hidden[image, row, column]:
                    continue
                target = [
                    float(images[image, row * patch_size + i, column * patch_size + j, channel])
                    for i in range(patch_size)
                    for j in range(patch_size)
                    for channel in range(images.shape[-1])
                ]
                if normalize_targets:
                    target = normalize(target)
                predicted = prediction[image, row, column]
                squares = [(float(p) - t) ** 2 for p, t in zip(predicted, target, strict=True)]
                errors.append(sum(squares) / len(squares))
    return sum(errors) / len(errors)


def normalize(values):
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return [(value - mean) / math.sqrt(variance + 1e-6) for value in values]
