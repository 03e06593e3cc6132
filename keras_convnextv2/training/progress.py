"""What a person sees of a training run."""

import math
import textwrap
import time

import keras

_MOST_COLUMNS = 80  # of the bar; a wider terminal is left empty
_NO_BREAK = "\N{NO-BREAK SPACE}"  # within what stays on one line


class ShowProgress(keras.callbacks.Callback):
    """A progress bar of the whole run: images/s, time left, learning rate and the metrics so far.

    In the middle of an epoch a metric is its mean over as many steps as an epoch has, those of the
    epoch before among them: the mean of an epoch's first steps alone would jump. What does not fit
    into a line of the terminal goes into the next one.

    Where output is no terminal: a line when an epoch ends, and one each half minute in between.
    Metrics that are tensors, as from a `LazyCallbackList`, are waited for when they are shown: in
    the bar once a second, and when an epoch ends.

    Args:
        images_per_epoch: int.
        steps_per_epoch: int.
        description: str, before the bar.
        file: where to write; None is standard error.
        hidden: names of metrics that are not shown.
    """

    takes_tensors = True

    def __init__(self, images_per_epoch, steps_per_epoch, description, file=None, hidden=()):
        super().__init__()
        self.images_per_epoch = images_per_epoch
        self.steps_per_epoch = steps_per_epoch
        self.description = description
        self.file = file
        self.hidden = frozenset(hidden)
        self.seconds_between_lines = 30
        self.seconds_between_metrics = 1  # in the bar

    def on_train_begin(self, logs=None):
        import rich.console
        import rich.live

        self.console = rich.console.Console(file=self.file, stderr=self.file is None)
        self.num_steps = self.params["epochs"] * self.steps_per_epoch
        self.first_epoch = None
        self.epoch, self.step = 0, 0
        self.learning_rate = ""
        self.started = None
        self.last_line = time.monotonic()
        self.last_metrics = -math.inf
        self.metrics = ""
        self.epoch_before = {}  # its metrics
        self.bar = None
        if self.console.is_terminal:
            self.bar = rich.live.Live(console=self.console, get_renderable=self._draw)
            self.bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        if self.first_epoch is None:
            self.first_epoch = epoch  # `fit` may begin later
            self.num_steps -= epoch * self.steps_per_epoch
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.started is None:
            self.num_steps -= batch  # of an epoch that goes on
            self.started = time.monotonic()  # the first step compiles: leave it out of the rate
        now = time.monotonic()
        if self.bar is not None:
            if now - self.last_metrics >= self.seconds_between_metrics:
                self.last_metrics = now
                self.metrics = _shown(self._running(batch, logs))
        elif now - self.last_line > self.seconds_between_lines:
            self._print_line(self._running(batch, logs))

    def on_epoch_end(self, epoch, logs=None):
        self.epoch_before = {
            name: float(value) for name, value in (logs or {}).items() if name not in self.hidden
        }
        self.metrics = _shown(self.epoch_before)
        if self.bar is None:
            self._print_line(self.epoch_before)

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Gives the terminal back; safe to call again, and after a run that failed."""
        if getattr(self, "bar", None) is not None:
            self.bar.stop()

    def _running(self, batch, logs):
        """Metrics of the last `steps_per_epoch` steps; `logs` are means of the epoch so far."""
        self._look_at_learning_rate()
        share = min((batch + 1) / self.steps_per_epoch, 1)
        running = dict(self.epoch_before)  # in their order, and those that only an epoch's end has
        for name, value in (logs or {}).items():
            value = float(value)
            running[name] = share * value + (1 - share) * self.epoch_before.get(name, value)
        return running

    def _draw(self):
        """The bar, as rich draws it several times a second."""
        import rich.console
        import rich.progress_bar
        import rich.table
        import rich.text

        bar = rich.progress_bar.ProgressBar(total=self.num_steps, completed=self.step)
        line = rich.table.Table.grid(padding=(0, 1, 0, 0), expand=True)
        line.width = min(self.console.width, _MOST_COLUMNS)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True, justify="right")
        percent = f"{self.step / self.num_steps:.0%}"
        line.add_row(self.description, bar, ", ".join(filter(None, [percent, self._time()])))
        facts = textwrap.wrap(self._facts(self.metrics), line.width, break_long_words=False)
        return rich.console.Group(line, rich.text.Text("\n".join(facts).replace(_NO_BREAK, " ")))

    def _print_line(self, metrics):
        self.last_line = time.monotonic()
        self._look_at_learning_rate()
        text = ", ".join(filter(None, [self._facts(_shown(metrics)), self._time()]))
        text = f"{self.description} {text}".replace(_NO_BREAK, " ")
        self.console.print(text, soft_wrap=True, highlight=False)

    def _facts(self, metrics):
        place = f"epoch{_NO_BREAK}{self.epoch + 1}/{self.params['epochs']}"
        known = ", ".join(filter(None, [metrics, self.learning_rate, self._rate()]))
        return f"{place}: {known}" if known else place

    def _steps_a_second(self):
        return max(self.step - 1, 1) / max(time.monotonic() - self.started, 1e-6)

    def _look_at_learning_rate(self):
        # Not when the bar is drawn: that is another thread, and the model may be amid a step.
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
            self.learning_rate = f"rate{_NO_BREAK}{rate:.3g}"

    def _rate(self):
        if self.step < 2:
            return ""
        images = self.images_per_epoch / self.steps_per_epoch * self._steps_a_second()
        return f"{images:.0f}{_NO_BREAK}images/s"

    def _time(self):
        if self.step < 2:
            return ""
        seconds = int((self.num_steps - self.step) / self._steps_a_second())
        hours, minutes = divmod(seconds // 60, 60)
        clock = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
        return f"{clock}:{seconds % 60:02d} left"


def _shown(metrics):
    # First the loss: Keras has the logs of a step and those of an epoch in other orders.
    names = sorted(metrics, key=lambda name: name != "loss")
    return ", ".join(f"{name}{_NO_BREAK}{metrics[name]:.4g}" for name in names)
