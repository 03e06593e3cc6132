"""What spreads a training over devices: one file a backend, each with the same functions.

`data_parallel(timeout)`, a context; `devices()`, a `Devices`; `part_of(num_images)`, the part of a
batch that is computed here, for `training.steps`; `loss_of_part(loss)`, what `compute_loss` gives
as a mean over the images of a part; `gathered(number)`, that of each process; `prepare(model)`,
before a `fit`; `data(model, batches, options)`, what Keras's `fit` takes of `ImageBatches`: data,
steps or None, and options;
`outputs_of(model, predict_on_batch, x)`, those of a batch that is not shared;
`gathered_rows(array)` of the processes; `of_this_process()`, a context;
`is_lost_process(error)`.
"""

import keras


def current():
    """The module of the backend in use."""
    name = keras.backend.backend()
    if name == "torch":
        from keras_convnextv2.training.distribution import torch_engine as engine
    elif name == "tensorflow":
        from keras_convnextv2.training.distribution import tensorflow_engine as engine
    else:
        from keras_convnextv2.training.distribution import jax_engine as engine
    return engine
