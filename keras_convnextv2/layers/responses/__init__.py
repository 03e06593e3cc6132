"""What may stand after GELU in a block, by name."""


def names():
    """The registered names."""
    return ("grn", "none")
