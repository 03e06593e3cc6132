"""What training needs beside a model: optimizers, schedules, callbacks, checkpoints."""
