"""A list of callbacks that does not wait for the device at each batch."""

import math

import keras

from keras_convnextv2.training.callbacks import StopOnNonFiniteLoss

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


class LazyCallbackList(keras.callbacks.CallbackList):
    """Keras's list of callbacks, which leaves the logs of a training batch on the device.

    Keras's own turns them into floats before it hands them on, at each batch, and an accelerator
    waits each step. This one hands on what the step returned, where every callback that is called
    at batches says by `takes_tensors = True` that it can read it. As soon as one does not say so
    (Keras's `ModelCheckpoint`, which may save at a batch), all get floats, as from Keras.

        model.fit(images, verbose=0, callbacks=LazyCallbackList(
            [StopOnNonFiniteLoss()], add_history=True, model=model, epochs=8, steps=100))

    Arguments are those of `keras.callbacks.CallbackList`.
    """

    def on_train_batch_end(self, batch, logs=None):
        if not all(map(_takes_tensors, self.callbacks)):
            super().on_train_batch_end(batch, logs)
            return
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


def batches_of_epoch(x, batch_size, options):
    """How many batches `fit` takes an epoch, or None where that is not known before.

    Args:
        x: images in any form that `fit` takes.
        batch_size: as of `fit`.
        options: its others, a dict.
    """
    if options.get("steps_per_epoch") is not None:
        return options["steps_per_epoch"]
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    if hasattr(x, "cardinality"):  # a `tf.data.Dataset`, or one that is spread over replicas
        found = int(x.cardinality() if callable(x.cardinality) else x.cardinality)
        return found if found >= 0 else None
    if hasattr(x, "dataset"):  # a `DataLoader`
        return len(x) if hasattr(x.dataset, "__len__") else None
    images = next(
        iter(keras.tree.flatten(x)), None
    )  # of the masks beside them, too, there are as many
    if not hasattr(images, "shape"):
        return None
    num_images = math.floor(images.shape[0] * (1 - (options.get("validation_split") or 0)))
    return math.ceil(num_images / (batch_size or 32))


def watched(callbacks, model, verbose, epochs, steps):
    """Callbacks for `fit`, first among them `StopOnNonFiniteLoss`: it raises before another saves.

    Args:
        callbacks: what `fit` was given: a list, one callback, a `CallbackList` or None.
        model: the model to fit.
        verbose: as of `fit`. Keras's progress bar shows the logs of every batch; without it they
            may stay on the device.
        epochs: int.
        steps: number of batches an epoch, or None.
    """
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    given = callbacks.callbacks if is_list else keras.tree.flatten(callbacks or [])
    if not (given and isinstance(given[0], StopOnNonFiniteLoss)):
        given = [StopOnNonFiniteLoss(), *given]
    if is_list:
        return LazyCallbackList(given, model=model, **(callbacks.params or {}))
    if verbose or not all(map(_takes_tensors, given)):
        return given
    options = {"verbose": verbose, "epochs": epochs, "steps": steps}
    return LazyCallbackList(given, add_history=True, model=model, **options)


def _takes_tensors(callback):
    return getattr(callback, "takes_tensors", False) or not any(
        _overrides(callback, hook) for hook in _BATCH_HOOKS
    )


def _overrides(callback, hook):
    own = getattr(getattr(callback, hook), "__func__", None)  # None: set on the object itself
    return own is not getattr(keras.callbacks.Callback, hook)
