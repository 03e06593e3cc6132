class CheckpointError(ValueError):
    """A checkpoint that is not whole, or is of another run.

    Examples:
        >>> import keras_convnextv2 as kc
        >>> issubclass(kc.runs.CheckpointError, ValueError)
        True
    """
