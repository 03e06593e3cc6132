class LostProcessError(ConnectionError):
    """Another process of the training has ended, or does not answer."""
