"""A part of a batch that one of several devices computes, and what it learns of the other parts.

A whole batch is a part without others: JAX computes it as one array, whatever devices it is spread
over. Replicas of TensorFlow and processes of torch compute a part each.
"""

import contextlib

import keras

from keras_convnextv2.layers import batch_part


class WholeBatch:
    """A batch that has no other parts.

    Args:
        num_images: int or scalar tensor, of the batch.

    Attributes:
        num_images: of all parts.
    """

    def __init__(self, num_images):
        self.num_images = num_images

    def computing(self):
        """A context within which masks and depths are drawn for the images of this part."""
        return contextlib.nullcontext()

    def mean(self, tensors, weight):
        """The means of tensors over all parts.

        Args:
            tensors: list of tensors, or None, of the same shapes in each part.
            weight: int or scalar tensor, what this part counts; 0 leaves it out, whatever it holds.

        Returns:
            list, without gradients.
        """
        return tensors

    def apply(self, optimizer, gradients, weights):
        """Applies the gradients of all parts."""
        optimizer.apply(gradients, weights)

    def reported(self, logs):
        """What a step gives Keras of its logs, which are those of all parts."""
        return logs

    def all_rows(self, tree):
        """The rows of all parts one behind the other, of tensors with a row an image, or None."""
        return tree

    def if_whole(self, tree):
        """What is not sent to other parts: as it is, or None where there are any."""
        return tree


class Part(WholeBatch):
    """One of several parts.

    Args:
        sizes: list of ints, or int tensor (N,): images of each part.
        index: int or scalar tensor, which of them this is.
    """

    def __init__(self, sizes, index):
        self.sizes = sizes
        self.index = index
        super().__init__(sum(sizes) if isinstance(sizes, list) else keras.ops.sum(sizes))

    @property
    def own_size(self):
        """Images of this part."""
        return self.sizes[self.index]

    @property
    def first_image(self):
        """The place of this part's first image in the whole batch."""
        if isinstance(self.sizes, list):
            return sum(self.sizes[: self.index])
        return keras.ops.sum(self.sizes[: self.index])

    def computing(self):
        of_images = batch_part.BatchPart(self.first_image, self._mean_over_images)
        return batch_part.computing(of_images)

    def if_whole(self, tree):
        return None

    def _mean_over_images(self, tensor):
        return self.mean([keras.ops.stop_gradient(tensor)], self.own_size)[0]
