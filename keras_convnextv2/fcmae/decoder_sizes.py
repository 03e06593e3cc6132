"""What the sizes of a decoder may be."""


def check_sizes(width, depth, multiple=1):
    """Raises a ValueError unless both are positive ints and the width is a multiple of a number."""
    for name, value in (("width", width), ("depth", depth)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"The decoder's {name} must be a positive int. Received: {value}")
    if width % multiple:
        raise ValueError(
            f"The width of this decoder must be a multiple of {multiple}. Received: {width}"
        )
