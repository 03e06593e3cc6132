"""The callback that saves a training, and from which `fit` goes on."""

import math
import sys
import weakref
from pathlib import Path

import keras

from keras_convnextv2.runs import checkpoint_folder, going_on, keeping
from keras_convnextv2.runs.background import Background
from keras_convnextv2.runs.best_epoch import BestEpoch
from keras_convnextv2.runs.differences import settings_of
from keras_convnextv2.runs.errors import CheckpointError
from keras_convnextv2.runs.fit_arguments import FORGETFUL, check_fit
from keras_convnextv2.runs.lock import locked
from keras_convnextv2.training import distribution

# Of an optimizer: the settings that its last `fit` began with, and those that it ended with.
_SETTINGS_OF_FIT = weakref.WeakKeyDictionary()


class Checkpoints(keras.callbacks.Callback):
    """Saves a training, and goes on from what was saved: `fit` again, and it is one run.

        checkpoints = kc.training.Checkpoints("runs/mine/checkpoints", every=500)
        fcmae.fit(batches, epochs=800, callbacks=[checkpoints])

    The same lines, started again after any stop, go on from the newest checkpoint that is whole,
    and say so. Those that are not are named, with the reason. On a CPU a training that was stopped
    at any batch ends with what one that never stopped ends with, bit for bit: weights, optimizer
    and its averages, masks, stochastic depth, and with `ImageBatches` the images, their order and
    their augmentation. They shuffle themselves, whatever `shuffle` says. Of other data the place is
    not known: it is saved when an epoch ends, and their order is their own matter.

    A checkpoint is a folder, `step-00000500`; it is written in the background under another name,
    brought to the disk, and takes its name in one step. `from_preset` and `load_weights` take it.
    Checkpoints of one backend go on with another, but for rounding.

    Callbacks with `get_state()` and `set_state(state)`, of what JSON keeps, are saved too.

    Args:
        folder: where checkpoints go; made where it is missing.
        every: int, batches from one save within an epoch to the next. Default: when an epoch ends,
            which is saved in any case.
        keep: int, the newest checkpoints that are kept.
        keep_every: optional int, epochs: of each so many, the checkpoint at its end is kept.
        monitor: optional name of a figure of an epoch, as "val_accuracy": the checkpoint of the
            epoch where it was best is kept.
        mode: "max" or "min", what of that is better.
        allow_changes: bool, whether to go on with a model, an optimizer or images that have other
            settings than those that were saved.
        first_step: int, the batches of the run before this training.

    Attributes:
        resumed_from: Path of the checkpoint that `fit` went on from, or None.

    Raises:
        FloatingPointError: in `fit`, in place of a save: the loss, or a weight, is not finite.
        CheckpointError: in `fit`; there are checkpoints, and none is whole, or they are of
            another run. It says what differs.

    Examples:
        >>> import contextlib, io, keras, numpy as np, keras_convnextv2 as kc
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> def fit(epochs):
        ...     model = kc.ConvNeXtV2Backbone(small, (32, 32, 3), stem_stride=1)
        ...     model = kc.ConvNeXtV2Classifier(model, 2)
        ...     loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ...     model.compile("sgd", loss)
        ...     images, labels = np.zeros((4, 32, 32, 3)), np.array([0, 1, 0, 1])
        ...     saving = kc.training.Checkpoints("my_run")
        ...     options = {"epochs": epochs, "verbose": 0, "callbacks": [saving]}
        ...     return model.fit(images, labels, **options).epoch
        >>> fit(epochs=2)
        [0, 1]
        >>> with contextlib.redirect_stderr(io.StringIO()) as said:
        ...     fit(epochs=3)
        [2]
        >>> said.getvalue().strip()
        'my_run/step-00000002: the training goes on with epoch 3'
    """

    takes_tensors = True
    resumes_fit = True  # what `training.resuming` looks for

    def __init__(
        self,
        folder,
        every=None,
        keep=3,
        keep_every=None,
        monitor=None,
        mode=None,
        allow_changes=False,
        first_step=0,
    ):
        super().__init__()
        for name, value in (("every", every), ("keep", keep), ("keep_every", keep_every)):
            is_default = value is None and name != "keep"
            if not is_default and (type(value) is not int or value < 1):
                raise ValueError(f"`{name}` must be a positive int. Received: {value!r}")
        self.folder = Path(folder)
        self.every = every
        self.keep = keep
        self.keep_every = keep_every
        self._best = BestEpoch(monitor, mode)
        self.allow_changes = allow_changes
        self.first_step = first_step
        self.resumed_from = None
        self._background = Background()
        self._buffers = {}  # the copy of a model and its optimizer that is written
        self._batches = self._resumed = self._lock = None
        self._is_open = self._is_told_to_stop = False
        self._metrics = None  # those of a training that is stopped, before its evaluation

    def open(self, model, batches, callbacks, initial_epoch, epochs):
        """Called by the `fit` of this library's models: goes on where there is a checkpoint.

        Args:
            model: compiled, and built with its optimizer.
            batches: `ImageBatches`, or None for other data.
            callbacks: list, all of `fit`.
            initial_epoch: int, where nothing was saved.
            epochs: int.

        Returns:
            (epoch, batch) to begin with.

        Raises:
            CheckpointError: as the class says.
        """
        check_fit(self, model, batches, callbacks)
        self._batches, self._epochs = batches, epochs
        self._others = [c for c in callbacks if hasattr(c, "get_state")]
        self._forgetful = [type(c).__name__ for c in callbacks if isinstance(c, FORGETFUL)]
        self._epoch, self._batch = initial_epoch, 0
        self._steps = self.first_step  # batches of the run
        self._best.state = None
        self._resumed = self.resumed_from = None
        self._settings = settings_of(model)  # before a callback changes the rate
        began, ended = _SETTINGS_OF_FIT.get(model.optimizer, (None, None))
        if self._settings == ended:  # nobody but a callback of that `fit` has changed them
            self._settings = began
        self._restores_best = any(getattr(c, "restore_best_weights", False) for c in callbacks)
        if batches is not None:
            batches.begin_anew()
        self._is_writer = distribution.is_writer()
        if self._is_writer:
            self._lock = locked(self.folder)
            checkpoint_folder.remove_unfinished(self.folder)
        self._is_open = True
        if not self._is_writer:
            distribution.gathered(0)  # behind the writer, which puts aside what nobody is to take
        found = keeping.newest(self.folder)
        if found is not None:
            self._go_on(model, found)
        if self._is_writer:
            distribution.gathered(0)
        self._demand_same_place()
        return self._epoch, self._batch

    def close(self):
        """Waits for what is being written; called when `fit` ends, by an error too."""
        self._is_open = False
        try:
            self._background.wait()
        finally:
            self._buffers.clear()
            if self._lock is not None:
                self._lock.release()

    def on_train_begin(self, logs=None):
        if not self._is_open:
            raise ValueError(
                "Checkpoints are of the `fit` of this library's models: FCMAE, "
                f"ConvNeXtV2Classifier or ConvNeXtV2Backbone. Received: {type(self.model).__name__}"
            )

    def on_epoch_begin(self, epoch, logs=None):
        if self._batches is not None:
            self._batches.epoch = epoch
        is_resumed = self._resumed is not None and epoch == self._epoch and self._batch
        self._epoch, self._batch = epoch, self._batch if is_resumed else 0
        self._is_told_to_stop, self._metrics = False, None
        if is_resumed:
            self._resumed.load_metrics(self.model)
        self._resumed = None

    def on_train_batch_end(self, batch, logs=None):
        self._background.look()
        self._steps += 1
        self._batch += 1
        self._is_told_to_stop = bool(self.model.stop_training)
        if self.every and self._is_within_epoch() and self._steps % self.every == 0:
            self._save(logs, within_epoch=True)

    def on_test_begin(self, logs=None):
        if self._is_within_epoch():  # of a training that is stopped: evaluation counts anew
            self._metrics = checkpoint_folder.metrics_in(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if self._is_within_epoch():  # a callback stops the training here
            self._save(logs, within_epoch=True)
            return
        if self._is_cut_short():  # what was saved before is where it goes on
            return
        self._epoch, self._batch = epoch + 1, 0
        self._save(logs, within_epoch=False)

    def on_train_end(self, logs=None):
        _SETTINGS_OF_FIT[self.model.optimizer] = self._settings, settings_of(self.model)

    def save(self, logs=None):
        """Saves now, between two batches, and waits until it is on the disk; called in `fit`.

        Where nothing but the end of the epoch is missing, it does nothing: `on_epoch_end` saves.

        Args:
            logs: those of the batch.

        Returns:
            Whether the newest checkpoint is of now.
        """
        is_saved = self._batch == 0
        if self._is_within_epoch():
            self._save(logs, within_epoch=True)
            is_saved = True
        self._background.wait()
        return is_saved

    def _demand_same_place(self):
        """Raises where another process would begin elsewhere: it does not see this folder."""
        places = distribution.gathered(self._steps)
        if len(set(places)) > 1:
            raise CheckpointError(
                f"The processes of this training would begin after {places} batches. All of them "
                f"must see the same checkpoints in {self.folder}: name a folder of a file system "
                "that they share."
            )

    def _is_within_epoch(self):
        return self._batches is not None and 0 < self._batch < self._batches.epoch_length

    def _is_cut_short(self):
        """Whether a callback stops other data than `ImageBatches` within an epoch."""
        if self._batches is not None or not self.model.stop_training:
            return False
        num_batches = (self.params or {}).get("steps")
        return self._is_told_to_stop if num_batches is None else self._batch < num_batches

    def _save(self, logs, within_epoch):
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            error = FloatingPointError(
                f"The loss is {loss} after {self._steps} batches. The training is stopped; what it "
                "saved before is intact."
            )
            error.epoch = self._epoch
            error.batches = range(max(self._batch - (self.every or 1), 0), self._batch)
            raise error
        path = checkpoint_folder.path_of(self.folder, self._steps)
        if not within_epoch:
            self._best.look(logs, path.name)
        state = {
            "epoch": self._epoch,
            "batch": self._batch,
            "steps": self._steps,
            "best": self._best.state,
            "stopped": not within_epoch and bool(self.model.stop_training),
            "epochs": self._epochs,
            "backend": keras.backend.backend(),
            "settings": self._settings,
            "data": self._state_of_data(),
            "callbacks": [[type(c).__name__, c.get_state()] for c in self._others],
        }
        self._background.wait()  # it writes what is in the buffers
        # By every process: on TensorFlow they read a metric together.
        snapshot = checkpoint_folder.take_snapshot(
            self.model,
            state,
            with_metrics=within_epoch,
            buffers=self._buffers,
            metrics=self._metrics,
        )
        if self._is_writer:
            self._background.run(lambda: self._write(path, snapshot))

    def _write(self, path, snapshot):
        if not path.exists():  # else it is of this very step of this training
            checkpoint_folder.write(path, snapshot)
        # By what this one says: `self` is ahead of what is on the disk.
        best = (snapshot.state["best"] or [None, None])[1]
        keeping.remove_old(self.folder, self.keep, self.keep_every, best)

    def _state_of_data(self):
        if self._batches is None:
            return None
        return {**self._batches.state(), "epoch": self._epoch, "batch": self._batch}

    def _go_on(self, model, found):
        there = going_on.prepare(
            found, model, self._batches, self._others, self._settings, self.allow_changes
        )
        there.load()
        self._epoch, self._batch, self._steps = there.epoch, there.batch, found.state["steps"]
        self._best.state = found.state.get("best")
        self._resumed, self.resumed_from = found, found.path
        if self._is_writer:
            # They are of a training that went another way, or not whole: not among those to keep.
            for step, path in checkpoint_folder.checkpoints_in(self.folder):
                if step > self._steps:
                    checkpoint_folder.put_aside(path)
        if there.is_done(self._epochs):
            told = f"the training is finished, after epoch {there.epoch}"
            if self._restores_best:
                told += ", whose weights the model has: restore_best_weights was of the run itself"
            self._epoch, self._batch = max(self._epochs, there.epoch), 0
        else:
            after = f", after {there.batch} of its batches" if there.batch else ""
            told = f"the training goes on with epoch {there.epoch + 1}{after}"
        forgetful = [f"{name} keeps nothing and begins anew" for name in self._forgetful]
        if not self._is_writer:
            return
        print(f"{found.path}: {'; '.join([told, *there.remarks, *forgetful])}", file=sys.stderr)
