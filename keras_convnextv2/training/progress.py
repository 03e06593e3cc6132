"""What a person sees of a training run."""

import math
import time

import keras


class ShowProgress(keras.callbacks.Callback):
    """A progress bar of the whole run with images/s, time left and the metrics so far.

    Where output is no terminal: a line when an epoch ends, and one each half minute in between.
    Metrics that are tensors, as from a `LazyCallbackList`, are waited for when they are shown: in
    the bar once a second, and when an epoch ends.

    Args:
        images_per_epoch: int.
        steps_per_epoch: int.
        description: str, before the bar.
        file: where to write; None is standard error.
    """

    takes_tensors = True

    def __init__(self, images_per_epoch, steps_per_epoch, description, file=None):
        super().__init__()
        self.images_per_epoch = images_per_epoch
        self.steps_per_epoch = steps_per_epoch
        self.description = description
        self.file = file
        self.seconds_between_lines = 30
        self.seconds_between_metrics = 1  # in the bar

    def on_train_begin(self, logs=None):
        import rich.console
        import rich.progress

        self.console = rich.console.Console(file=self.file, stderr=self.file is None)
        self.epoch, self.step = 0, 0
        self.started = None
        self.last_line = time.monotonic()
        self.last_metrics = -math.inf
        self.bar = rich.progress.Progress(
            "{task.description}",
            rich.progress.BarColumn(bar_width=24),
            "{task.percentage:>3.0f}%",
            "{task.fields[rate]}",
            rich.progress.TimeElapsedColumn(),
            "elapsed, left",
            rich.progress.TimeRemainingColumn(),
            "{task.fields[metrics]}",
            console=self.console,
            disable=not self.console.is_terminal,
        )
        total = self.params["epochs"] * self.steps_per_epoch
        self.task = self.bar.add_task(self.description, total=total, rate="", metrics="")
        self.bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.started is None:
            self.started = time.monotonic()  # the first step compiles: leave it out of the rate
        if self.console.is_terminal:
            self._move_bar(logs)
        elif time.monotonic() - self.last_line > self.seconds_between_lines:
            self._print_line(logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.console.is_terminal:
            self.bar.update(self.task, metrics=self._metrics(logs))
        else:
            self._print_line(logs)

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Gives the terminal back; safe to call again, and after a run that failed."""
        if getattr(self, "bar", None) is not None:
            self.bar.stop()

    def _move_bar(self, logs):
        shown = {"completed": self.step, "rate": self._rate()}
        if time.monotonic() - self.last_metrics >= self.seconds_between_metrics:
            self.last_metrics = time.monotonic()
            shown["metrics"] = self._metrics(logs)
        self.bar.update(self.task, **shown)

    def _print_line(self, logs):
        self.last_line = time.monotonic()
        num_left = self.params["epochs"] * self.steps_per_epoch - self.step
        minutes, seconds = divmod(int(num_left / self._steps_a_second()), 60)
        parts = [self._metrics(logs), self._rate()]
        parts += [f"{minutes}:{seconds:02d} left"] if self.step > 1 else []
        text = ", ".join(part for part in parts if part)
        self.console.print(f"{self.description} {text}", soft_wrap=True, highlight=False)

    def _steps_a_second(self):
        return max(self.step - 1, 1) / max(time.monotonic() - self.started, 1e-6)

    def _rate(self):
        images = self.images_per_epoch / self.steps_per_epoch * self._steps_a_second()
        return f"{images:.0f} images/s" if self.step > 1 else ""

    def _metrics(self, logs):
        shown = [f"{name} {float(value):.4g}" for name, value in (logs or {}).items()]
        return f"epoch {self.epoch + 1}/{self.params['epochs']}: " + ", ".join(shown)
