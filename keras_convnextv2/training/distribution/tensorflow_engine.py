"""TensorFlow: `tf.distribute`, with a replica a device."""

import contextlib
import json
import os

import keras
import numpy as np

from keras_convnextv2 import insides
from keras_convnextv2.training.distribution import evaluation
from keras_convnextv2.training.distribution.parts import Part, WholeBatch
from keras_convnextv2.training.distribution.shared_devices import Devices, computing_apart, is_apart


@contextlib.contextmanager
def data_parallel(timeout):
    """As `distribution.data_parallel`."""
    import tensorflow as tf

    if _processes():
        options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=timeout)
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    else:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        strategy = tf.distribute.MirroredStrategy(
            [device.name for device in tf.config.list_logical_devices(kind)]
        )
    with strategy.scope():
        yield


def devices():
    """As `distribution.devices`."""
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    if is_apart():
        return Devices(strategy.num_replicas_in_sync // max(len(_processes()), 1))
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Devices(strategy.num_replicas_in_sync)
    processes = _processes()
    return Devices(strategy.num_replicas_in_sync, processes.index(_process()), len(processes))


def _settings():
    return json.loads(os.environ.get("TF_CONFIG", "{}"))


def _process():
    task = _settings()["task"]
    return task["type"], int(task["index"])


def _processes():
    """Those of TF_CONFIG that train, in the order of their replicas; none of a process alone."""
    cluster = _settings().get("cluster", {})
    found = [(kind, i) for kind in ("chief", "worker") for i in range(len(cluster.get(kind, [])))]
    return found if len(found) > 1 else []


def part_of(num_images):
    """A `Part` within a replica of several, or a `WholeBatch`."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return WholeBatch(num_images)
    sizes = context.all_gather(tf.reshape(tf.cast(num_images, tf.int32), (1,)), axis=0)
    return TensorFlowPart(sizes, context.replica_id_in_sync_group)


def loss_of_part(loss):
    """The loss times the replicas, by whose number Keras divides it."""
    return loss * devices().count


def gathered(number):
    """A number of each process, a list."""
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    dtype = tf.int64 if isinstance(number, int) else tf.float64
    of_each = strategy.run(lambda: tf.constant([number], dtype))
    # Each process has as many replicas.
    return strategy.gather(of_each, axis=0).numpy()[:: devices().count_here].tolist()


def gathered_rows(array):
    """The rows of the processes' arrays."""
    import tensorflow as tf

    here, strategy = devices(), tf.distribute.get_strategy()

    def of_replica(context):  # the first of each process gives its rows
        is_first = context.replica_id_in_sync_group % here.count_here == 0
        return tf.constant(array if is_first else array[:0])

    rows = strategy.experimental_distribute_values_from_function(of_replica)
    return strategy.gather(rows, axis=0).numpy()


def of_this_process():
    """As `distribution.of_this_process`."""
    return computing_apart()


def prepare(model):
    """Nothing: a strategy makes all variables equal."""


def data(model, batches, options):
    """(distributed data set without an end, steps of an epoch, options) for Keras's `fit`.

    An element is what a replica takes, those of a batch in order: Keras would cut a process's part
    again. Of one with an end TensorFlow makes a last step without images.
    """
    import tensorflow as tf

    num_parts = devices().count_here
    options = dict(options)
    class_weight = options.pop("class_weight", None)  # Keras has none for such a data set

    def weighted(batch):
        if class_weight is None:
            return batch
        labels = batch[1] if batch[1].ndim == 1 else batch[1].argmax(axis=-1)
        weights = [class_weight.get(label, 1.0) for label in labels.tolist()]
        return (*batch, np.asarray(weights, "float32"))

    def elements():
        for batch in map(weighted, _endless(batches)):
            parts = [np.array_split(x, num_parts) for x in keras.tree.flatten(batch)]
            for part in zip(*parts, strict=True):
                yield keras.tree.pack_sequence_as(batch, part)

    def specs(tree, num_open):
        return keras.tree.map_structure(
            lambda x: tf.TensorSpec([None] * num_open + list(x.shape[num_open:]), x.dtype), tree
        )

    first = weighted(batches[0])
    of_all, labels = evaluation.split(first)
    insides.build_for_data(model, first if labels is None else (of_all[0], labels))
    _refuse_counts(model)
    images, *others = first
    # The labels of an evaluation stand in one row, which is shorter in the last batch.
    labels = [specs(x, 2 if isinstance(x, dict) else 1) for x in others]
    signature = (specs(images, 1), *labels)

    def of_process(context):
        return tf.data.Dataset.from_generator(elements, output_signature=signature).repeat()

    strategy = tf.distribute.get_strategy()
    return strategy.distribute_datasets_from_function(of_process), len(batches), options


def _refuse_counts(model):
    """Raises ValueError for metrics that count: each replica counts for all."""
    counting = tuple(
        getattr(keras.metrics, f"{one}{kind}")
        for one in ("True", "False")
        for kind in ("Positives", "Negatives")
    )
    found = [m.name for m in insides.compiled_metrics(model) if isinstance(m, counting)]
    if found:
        raise ValueError(
            f"Replicas of TensorFlow would each count {', '.join(found)} for all of them. Leave "
            "these metrics out."
        )


def _endless(batches):
    """The batches of this epoch and of all that follow, whatever Keras has come to."""
    epoch = getattr(batches, "epoch", 0)
    while True:
        for index in range(len(batches)):
            yield batches.of_epoch(epoch, index) if hasattr(batches, "of_epoch") else batches[index]
        epoch += 1


def outputs_of(model, predict_on_batch, x):
    """What a model gives for a whole batch, which each process computes by itself."""
    import tensorflow as tf

    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return predict_on_batch(x)
    # Keras would have each replica compute all of it, and return it as often.
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x, training=False))


def is_lost_process(error):
    """Whether an error of a step says so."""
    import tensorflow as tf

    kinds = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)
    return isinstance(error, kinds)


class TensorFlowPart(Part):
    """The part of one replica."""

    def mean(self, tensors, weight):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        weight = tf.cast(weight, tf.float32)
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, weight)
        share = tf.math.divide_no_nan(weight, total)
        given = [
            # Where the share is 0, what was computed may be no number.
            tf.math.multiply_no_nan(tf.convert_to_tensor(x), tf.cast(share, x.dtype))
            for x in tensors
            if x is not None
        ]
        means = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, given))
        return [None if x is None else next(means) for x in tensors]

    def apply(self, optimizer, gradients, weights):
        insides.take_gradients_of_all_replicas(optimizer)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if not inner.gradient_accumulation_steps:
            optimizer.apply(gradients, weights)
            return
        import tensorflow as tf

        if inner is not optimizer:
            raise ValueError(
                "Replicas of TensorFlow do not accumulate gradients whose loss is scaled, as that "
                "of float16: train in bfloat16, or without accumulation."
            )

        def apply_once(strategy, *gradients):
            first = [strategy.experimental_local_results(x)[0] for x in gradients]
            with insides.replicas_together():
                optimizer.apply(first, weights)

        # Whether to update or to add up is a condition, within which replicas cannot come together.
        tf.distribute.get_replica_context().merge_call(apply_once, args=gradients)

    def reported(self, logs):
        if devices().process_count == 1:
            return logs
        # Of several processes Keras (3.15) takes the mean over the first axis, and needs one.
        return {name: value[None] for name, value in logs.items()}

    def all_rows(self, tree):
        return keras.tree.map_structure(_all_rows, tree)


def _all_rows(x):
    if x is None:
        return None
    import tensorflow as tf

    x = tf.identity(x)  # on this replica's device: what comes from the data is on none
    rows = tf.distribute.get_replica_context().all_gather(x, axis=0)
    return tf.ensure_shape(rows, (None, *x.shape[1:]))
