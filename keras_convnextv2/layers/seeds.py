"""Independent random streams from one seed."""

import hashlib


def derive_seed(seed, *labels):
    """A 31-bit seed for one consumer of randomness, hashed from the run's seed and its labels.

    Hashing matters: on the torch backend Keras adds a generator's seed to its draw counter, so
    layers seeded 0, 1, 2, ... would draw shifted copies of one stream.

    Args:
        seed: int, or None for an unseeded consumer.
        *labels: what tells the consumers apart, such as a layer's name.

    Returns:
        An int in [0, 2**31), or None if `seed` is None.
    """
    if seed is None:
        return None
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
