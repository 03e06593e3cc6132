"""The noise that masks are drawn from, in NumPy."""

import hashlib

import numpy as np


def expected_noise(seed, stream, step, first_image, num_images, num_patches):
    """`draw_noise` in NumPy's unsigned numbers: MurmurHash3's finalizer on each part of a key."""

    def mixed(x):
        x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
        return x ^ (x >> 16)

    golden = np.uint32(0x9E3779B9)
    digest = hashlib.sha256(f"{seed}/masks/{stream}".encode()).digest()
    key = np.array([int.from_bytes(digest[:4], "big") >> 1], "uint32")
    key = mixed(key + np.uint32(step) * golden)
    images = np.arange(first_image, first_image + num_images, dtype="uint32")
    key = mixed(key + images[:, None] * golden)
    return mixed(key + np.arange(num_patches, dtype="uint32") * golden).view("int32")
