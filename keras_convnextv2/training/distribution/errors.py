import re


class LostProcessError(ConnectionError):
    """Another process of the training has ended, or does not answer."""

    @classmethod
    def of(cls, error):
        """That which a backend has raised as another error."""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        reason = re.sub(r"^\[\S+\] |\. This is typically .*$", "", reason)  # gloo's
        return cls(f"Another process of this training has ended, or does not answer ({reason}).")
