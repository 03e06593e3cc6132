"""One thing at a time, beside the training."""

import threading


class Background:
    """Runs functions in a thread, one after the other; an error comes up at the next call."""

    def __init__(self):
        self._thread = None
        self._error = None

    def run(self, function):
        """Starts `function()`, once what ran before has ended.

        Raises:
            Exception: what the function before raised.
        """
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(function,))
        self._thread.start()

    def wait(self):
        """Waits for what runs, and raises what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.look()

    def look(self):
        """Raises what a function raised that has ended."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, function):
        try:
            function()
        except BaseException as error:  # it is raised where it is waited for
            self._error = error
