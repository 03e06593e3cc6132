class WeightsError(ValueError):
    """A file, folder or name from which the weights asked for cannot be had.

    The one type of error that `load_weights`, `save_weights` and `from_preset` raise for what
    they are given: a file that is damaged, hostile or of no known format, weights that do not fit
    the model, a hub that does not answer. The message says what came and what to do.

    Examples:
        >>> from pathlib import Path
        >>> import keras_convnextv2 as kc
        >>> size = Path("notes.txt").write_text("no weights")
        >>> try:
        ...     model = kc.from_preset("notes.txt")
        ... except kc.WeightsError:
        ...     print("refused")
        refused
    """


def in_brief(error):
    """Type and message of another library's error, whose message may be as long as a file."""
    text = " ".join(str(error)[:200].split())
    return f"{type(error).__name__}: {text}"
