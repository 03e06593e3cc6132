"""Which epoch a `fit` draws."""

import keras


class SetEpoch(keras.callbacks.Callback):
    """Sets `batches.epoch` to the epoch that `fit` begins.

    Without it the first epoch of a `fit` is not `batches.epoch`: Keras calls `on_epoch_end` once
    before it. With it, `fit(..., initial_epoch=e)` draws epoch e.

    Args:
        batches: `ImageBatches`.

    Raises:
        ValueError: one `fit` is given both the rest of an epoch and whole ones. Keras counts the
            batches of the first alone, and would leave out some of the others.

    Examples:
        >>> import numpy as np, keras
        >>> from pathlib import Path
        >>> from keras_convnextv2.data import ImageBatches, SetEpoch, open_source
        >>> Path("labelled").mkdir()
        >>> images, labels = np.zeros((8, 8, 8, 1), "uint8"), np.arange(8) % 2
        >>> settings = {"mean": [0.5], "std": [0.25], "class_names": ["cat", "dog"]}
        >>> np.savez("labelled/train.npz", images=images, labels=labels, **settings)
        >>> source = open_source("labelled", "train")
        >>> batches = ImageBatches(source, (8, 8), batch_size=4, labelled=True, shuffle=True)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> model.add(keras.layers.Dense(2))
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> callbacks = [SetEpoch(batches)]
        >>> history = model.fit(batches, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
        >>> history.epoch
        [0, 1]
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch
        resumed_epoch, left_out = self.batches.resumed
        num_batches = len(self.batches)
        counted = (self.params or {}).get("steps")
        if left_out and epoch != resumed_epoch and counted == num_batches - left_out:
            raise ValueError(
                f"Keras takes {counted} of {num_batches} batches in epoch {epoch}, as many as were "
                f"left of epoch {resumed_epoch}. Fit that one alone (epochs={resumed_epoch + 1}), "
                "and the others by another call of `fit`."
            )
