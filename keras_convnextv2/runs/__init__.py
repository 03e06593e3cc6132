"""A training run's own format: checkpoints from which it goes on as if it had not stopped."""

from keras_convnextv2.runs.checkpoint_folder import newest_checkpoint
from keras_convnextv2.runs.checkpoints import Checkpoints
from keras_convnextv2.runs.errors import CheckpointError

__all__ = ["CheckpointError", "Checkpoints", "newest_checkpoint"]
