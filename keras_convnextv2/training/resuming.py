"""`fit` that goes on where a checkpoint was taken, within an epoch, too."""

import contextlib
import inspect

import keras

from keras_convnextv2.insides import build_metrics
from keras_convnextv2.training.averaged_weights import refuse_restoring


def fit(model, keras_fit, *arguments, **options):
    """Calls Keras's `fit`; with `Checkpoints` among the callbacks from where the last one was.

    Keras counts the batches of an epoch once a `fit`. So what is left of an epoch is fitted alone,
    and then the whole ones; callbacks see one training, with the batches' numbers of a whole epoch.

    Args:
        model: a model of this library.
        keras_fit: its `fit` of Keras.
        *arguments, **options: of `keras.Model.fit`.

    Returns:
        `keras.callbacks.History`.
    """
    given = inspect.signature(keras_fit).bind(*arguments, **options).arguments
    callbacks = given.get("callbacks")
    is_list = isinstance(callbacks, keras.callbacks.CallbackList)
    each = callbacks.callbacks if is_list else keras.tree.flatten(callbacks or [])
    refuse_restoring(each)
    checkpoints = [c for c in each if getattr(c, "resumes_fit", False)]
    if not checkpoints or not model.compiled:
        return keras_fit(**given)
    if len(checkpoints) > 1:
        raise ValueError(f"`fit` takes one Checkpoints. Received: {len(checkpoints)}")
    (checkpoints,) = checkpoints
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    data = given.get("x")
    batches = data if hasattr(data, "restore") else None  # `ImageBatches`
    if batches is not None:
        given["shuffle"] = False  # Keras would shuffle the batches, each time in another way
        if given.get("steps_per_epoch") is not None:
            raise ValueError(
                "With `Checkpoints`, `ImageBatches` are taken whole each epoch. Received: "
                f"steps_per_epoch={given['steps_per_epoch']!r}"
            )
    initial_epoch, epochs = given.get("initial_epoch", 0), given.get("epochs", 1)
    with contextlib.closing(checkpoints):
        epoch, batch = checkpoints.open(model, batches, each, initial_epoch, epochs)
        if not batch:
            return keras_fit(**{**given, "initial_epoch": epoch})
        if is_list:
            callbacks.set_params({**(callbacks.params or {}), "steps": batches.epoch_length})
        else:
            verbose = given.get("verbose", "auto")
            callbacks = keras.callbacks.CallbackList(
                each,
                add_history=True,
                add_progbar=verbose not in (0, "0"),
                model=model,
                verbose=1 if verbose == "auto" else verbose,
                epochs=epochs,
                steps=batches.epoch_length,
            )
        # On TensorFlow the first step makes them; those of this epoch begin with numbers already.
        build_metrics(model, batches[0])
        is_last = epoch + 1 == epochs
        rest = _PartOfFit(callbacks, first_batch=batch, ends=is_last)
        end = contextlib.nullcontext() if is_last else _own_weights_at_the_end(model.optimizer)
        with end:
            part = {**given, "callbacks": rest, "initial_epoch": epoch, "epochs": epoch + 1}
            history = keras_fit(**part)
        if is_last:
            return history
        whole = _PartOfFit(callbacks, begins=False)
        # Where a callback has stopped the training, `fit` only ends it.
        begin = epochs if model.stop_training else epoch + 1
        batches.epoch = begin  # whole again
        return keras_fit(**{**given, "callbacks": whole, "initial_epoch": begin})


@contextlib.contextmanager
def _own_weights_at_the_end(optimizer):
    """Within it a `fit` that ends does not give the model the averages of its weights."""
    optimizer.finalize_variable_values = lambda variables: None
    try:
        yield
    finally:
        del optimizer.finalize_variable_values


class _PartOfFit(keras.callbacks.CallbackList):
    """A list of callbacks that sees one training, of which this is a part.

    Args:
        inner: `CallbackList`.
        first_batch: int, the number of the first batch that comes.
        begins, ends: bool, whether the training does with this part.
    """

    def __init__(self, inner, first_batch=0, begins=True, ends=True):
        super().__init__()
        self.callbacks = inner.callbacks
        self.params = inner.params
        self._inner = inner
        self._first_batch = first_batch
        self._begins, self._ends = begins, ends
        self._history = inner._history

    def on_train_begin(self, logs=None):
        if self._begins:
            self._inner.on_train_begin(logs)

    def on_train_end(self, logs=None):
        if self._ends:
            self._inner.on_train_end(logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._inner.on_train_batch_begin(self._first_batch + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._inner.on_train_batch_end(self._first_batch + batch, logs)


def _forwarding(name):
    def hook(self, *arguments, **options):
        return getattr(self._inner, name)(*arguments, **options)

    hook.__name__ = name
    return hook


for _name in ("epoch", "test", "test_batch", "predict", "predict_batch", "batch"):
    for _when in ("begin", "end"):
        setattr(_PartOfFit, f"on_{_name}_{_when}", _forwarding(f"on_{_name}_{_when}"))
