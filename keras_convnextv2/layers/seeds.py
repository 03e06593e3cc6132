"""Independent random streams from one seed."""

import hashlib

import keras

from keras_convnextv2.layers import batch_part
from keras_convnextv2.layers.fast.backend import wrapping_dtype

# Odd multipliers that keep the inputs of the hash apart (2^32 divided by the golden ratio, and
# the finalizer's own two), as signed 32-bit numbers. They are Python's: torch's compiler cannot
# trace NumPy's.
_GOLDEN = 0x9E3779B9 - 2**32
_FIRST = 0x85EBCA6B - 2**32
_SECOND = 0xC2B2AE35 - 2**32


def derive_seed(seed, *labels):
    """A 31-bit seed for one consumer of randomness, hashed from the run's seed and its labels.

    Hashed, because with `keras.random` on torch, which adds a generator's seed to its draw
    counter, consumers seeded 0, 1, 2, ... would draw shifted copies of one stream.

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


def hash_with(key, counter):
    """Random numbers that follow from a key and a counter, equal on every backend.

    MurmurHash3's 32-bit finalizer, instead of `keras.random`, whose streams differ between
    backends, which carries hidden state and reads its seed on the host on torch.

    Args:
        key: int32 tensor.
        counter: integer tensor or int, which broadcasts with `key`.

    Returns:
        int32 tensor, uniform over all values of the dtype; a key for further counters.
    """
    key, counter = (keras.ops.cast(x, wrapping_dtype()) for x in (key, counter))
    x = _wrapped(key + counter * _GOLDEN)
    x = _wrapped(_xor_shifted(x, 16) * _FIRST)
    x = _wrapped(_xor_shifted(x, 13) * _SECOND)
    return keras.ops.cast(_xor_shifted(x, 16), "int32")


def global_places(num_images):
    """The place of each image of a batch in the batch of all devices, int32 (B,).

    What is drawn for an image follows from its place. Under `keras.distribution` all images are in
    one array; elsewhere `training.steps` says which part of a batch a device computes.
    """
    places = keras.ops.arange(num_images, dtype="int32")
    part = batch_part.current()
    return places if part is None else places + keras.ops.cast(part.first_image, "int32")


def _wrapped(x):
    """The number of 32 bits, signed, whose bits are the lowest of `x`."""
    if keras.backend.standardize_dtype(x.dtype) == "int32":
        return x
    return keras.ops.bitwise_and(x + 2**31, 2**32 - 1) - 2**31


def _xor_shifted(x, bits):
    # The right shift of a signed number copies the sign: mask it away.
    shifted = keras.ops.bitwise_and(keras.ops.right_shift(x, bits), (1 << (32 - bits)) - 1)
    return keras.ops.bitwise_xor(x, shifted)
