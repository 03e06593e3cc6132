"""What training needs beside a model: optimizers, schedules, callbacks, checkpoints."""

# So that a compiled model can be loaded by who has imported no more than the package.
from keras_convnextv2.training import schedules  # noqa: F401
from keras_convnextv2.training.kernel_decay_adamw import KernelDecayAdamW

__all__ = ["Checkpoints", "KernelDecayAdamW"]


def __getattr__(name):
    # What is saved is the business of a room above this one.
    if name == "Checkpoints":
        from keras_convnextv2.runs import Checkpoints

        return Checkpoints
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
