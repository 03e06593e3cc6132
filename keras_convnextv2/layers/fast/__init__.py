"""Faster ways to what `layers/ops.py` computes, where they were measured to be faster.

`table` lists them all, with the backend, device and dtypes of each. The functions stand in one file
a backend, beside what two backends share. Nothing outside this room asks which backend there is.
"""

from keras_convnextv2.layers.fast.table import operations, set_fast_paths

__all__ = ["operations", "set_fast_paths"]
