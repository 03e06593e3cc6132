"""A model with the averages of its weights, to evaluate and to save it; and with its own again."""

import contextlib

import keras

from keras_convnextv2.training.kernel_decay_adamw import KernelDecayAdamW


def has_averages(model):
    """Whether the optimizer of a compiled model is one of `adamw(..., ema_momentum=...)`."""
    optimizer = _inner_optimizer(model)
    return isinstance(optimizer, KernelDecayAdamW) and optimizer.use_ema


@contextlib.contextmanager
def averaged_weights(model):
    """Within it the model has the averages of its weights; after it, and after an error, its own.

        with averaged_weights(fcmae):
            kc.save_weights(fcmae.backbone, "averaged")

    A model that is saved outside of it in training has its own weights, and in its optimizer the
    averages: from that file training goes on as if it had not stopped. Before the first update the
    averages are the weights. When `fit` ends, Keras gives the model the averages for good; to train
    on, go on from a file that was saved in training.

    Args:
        model: compiled with an optimizer of `adamw(..., ema_momentum=...)`.

    Raises:
        ValueError: its optimizer does not average weights.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_convnextv2.training.averaged_weights import averaged_weights
        >>> from keras_convnextv2.training.optimizers import adamw
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile(adamw(model, 0.1, 0.0, ema_momentum=0.5), loss="mse")
        >>> x, y = np.ones((8, 3)), np.ones((8, 2))
        >>> logs = model.train_on_batch(x, y), model.train_on_batch(x, y)
        >>> own = model.predict(x, verbose=0)
        >>> with averaged_weights(model):
        ...     averaged = model.predict(x, verbose=0)
        >>> bool((own == averaged).any()), bool((own == model.predict(x, verbose=0)).all())
        (False, True)
    """
    optimizer = _averaging_optimizer(model)
    has_own = not optimizer.uses_averages
    optimizer.use_averages()
    try:
        yield
    finally:
        if has_own:
            optimizer.use_own_weights()


class EvaluateAveragedWeights(keras.callbacks.Callback):
    """Evaluates the averages of the weights, in `fit` and in `evaluate`.

        classifier.fit(..., validation_data=..., callbacks=[EvaluateAveragedWeights()])

    The model is trained, and saved by other callbacks, with its own weights: `averaged_weights`
    saves the averages. Where an evaluation within `fit` fails, a model of this library has its own
    weights after it; another has them after `model.optimizer.use_own_weights()`. The `fit` of this
    library's models refuses `EarlyStopping(restore_best_weights=True)` beside it, which would bring
    back own weights that nobody evaluated.

    Raises:
        ValueError: when training or evaluation begins; the optimizer does not average weights.
    """

    def on_train_begin(self, logs=None):
        _averaging_optimizer(self.model).use_own_weights()

    def on_test_begin(self, logs=None):
        optimizer = _averaging_optimizer(self.model)
        self._has_own = not optimizer.uses_averages
        optimizer.use_averages()

    def on_test_end(self, logs=None):
        if self._has_own:
            _averaging_optimizer(self.model).use_own_weights()


def refuse_restoring(callbacks):
    """Raises ValueError where one callback evaluates averages and another restores own weights."""
    evaluates = any(isinstance(c, EvaluateAveragedWeights) for c in callbacks)
    if evaluates and any(getattr(c, "restore_best_weights", False) for c in callbacks):
        raise ValueError(
            "EvaluateAveragedWeights evaluates the averages of the weights, and "
            "restore_best_weights=True brings back the model's own, which nobody evaluated. Set it "
            "to False, and keep the best epoch by `Checkpoints(monitor=..., mode=...)`."
        )


@contextlib.contextmanager
def own_weights_after_error(model):
    """Around `fit` and the like: after an error a model that had its own weights has them again.

    Keras on JAX gives the model the averages for good also when `fit` ends by an error.
    """
    if not has_averages(model) or _inner_optimizer(model).uses_averages:
        yield
        return
    optimizer = _inner_optimizer(model)
    is_within = optimizer.keeps_own_weights  # an evaluation within `fit`
    optimizer.keeps_own_weights = True
    try:
        yield
    except BaseException:
        optimizer.use_own_weights()
        raise
    finally:
        optimizer.keeps_own_weights = is_within
    if not is_within:
        optimizer.forget_own_weights()


def _inner_optimizer(model):
    """The optimizer of a compiled model, without the loss scale around it."""
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def _averaging_optimizer(model):
    if not has_averages(model):
        raise ValueError(
            "The optimizer averages no weights: compile the model with "
            "`adamw(..., ema_momentum=...)`. Received a model with the optimizer "
            f"{getattr(model, 'optimizer', None)!r}"
        )
    return _inner_optimizer(model)
