import contextlib
import re


class LostProcessError(ConnectionError):
    """Another process of the training has ended, or does not answer.

    Examples:
        >>> from keras_convnextv2.training.distribution import LostProcessError
        >>> print(LostProcessError.of(RuntimeError("Connection closed by peer")))
        Another process of this training has ended, or does not answer (Connection closed by peer).
    """

    @classmethod
    def of(cls, error):
        """That which a backend has raised as another error."""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        reason = re.sub(r"^\[\S+\] |\. This is typically .*$", "", reason)  # gloo's
        return cls(f"Another process of this training has ended, or does not answer ({reason}).")

    @classmethod
    def silent(cls, indices, seconds):
        """That of processes, by their indices, that gave no sign for so many seconds."""
        which = f"process{'es' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"
        return cls.of(f"no sign of {which} for {seconds:g} seconds")


@contextlib.contextmanager
def lost_process_named(engine):
    """Within it what a backend raises when another process has gone is a `LostProcessError`."""
    try:
        yield
    except Exception as error:
        if not engine.is_lost_process(error):
            raise
        raise LostProcessError.of(error) from error
