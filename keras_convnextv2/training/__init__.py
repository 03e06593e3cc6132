"""What training needs beside a model: optimizers, schedules, callbacks, checkpoints."""

# So that a compiled model can be loaded by who has imported no more than the package.
from keras_convnextv2.training import schedules  # noqa: F401
from keras_convnextv2.training.kernel_decay_adamw import KernelDecayAdamW

__all__ = ["KernelDecayAdamW"]
