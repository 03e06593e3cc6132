"""What a GPU or TPU needs of a training step can be seen without one.

On JAX the whole step is lowered for both, on TensorFlow it is compiled by XLA, and on torch the
operations of a step are recorded and the step is taken on the meta device, whose tensors have
shapes and no values. (torch's CPU build cannot differentiate fake tensors of CUDA.)
"""

import itertools
import re

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2.layers.fast import jax as on_jax
from keras_convnextv2.training.optimizers import adamw
from keras_convnextv2.training.schedules import warmup_cosine

SIZES = kc.Variant((1, 1, 1, 1), (80, 6, 8, 88))  # few channels, and so many that JAX has blocks
IMAGES = np.random.default_rng(0).normal(size=(2, 16, 24, 3)).astype("float32")
NUM_BLOCKS = 4


def pretraining(dtype):
    backbone = kc.ConvNeXtV2Backbone(SIZES, (16, 24, 3), stem_stride=1, dtype=dtype)
    model = kc.FCMAE(backbone, decoder_width=8)
    model.compile(optimizer=adamw(model, 1e-4, 0.05))
    # The decoder has a depthwise convolution, too. The last downsampling is of a strip as wide as
    # its kernel, and so a product among the plain operations.
    return model, (IMAGES,), NUM_BLOCKS + 1, 1


def finetuning(dtype):
    backbone = kc.ConvNeXtV2Backbone(
        SIZES, (16, 24, 3), stem_stride=1, drop_path_rate=0.1, seed=0, dtype=dtype
    )
    model = kc.ConvNeXtV2Classifier(backbone, 3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = {"layer_decay": 0.9, "clip_norm": 1.0, "ema_momentum": 0.99}
    optimizer = adamw(model, warmup_cosine(1e-4, 8, 2), 0.05, **settings)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    data = (IMAGES, np.array([0, 2], "int32"))
    model.train_on_batch(*data)  # builds the metrics
    return model, data, NUM_BLOCKS, 0


@pytest.mark.parametrize(
    ("make", "dtype"), [(pretraining, "mixed_bfloat16"), (finetuning, "float32")]
)
def test_no_operation_goes_to_the_host_or_has_a_shape_that_depends_on_data(make, dtype):
    check = {"jax": lowers, "tensorflow": compiles, "torch": runs_without_a_host_round_trip}
    check[keras.backend.backend()](*make(dtype))


def lowers(model, data, num_depthwise, num_products):
    import jax
    import jax.export

    state = model._get_jax_state(  # as `fit` does
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    # On a machine that has the device, the visible path goes by maps where it has windows here.
    for platform, is_there in itertools.product(("cuda", "tpu"), (True, False)):
        step = jax.jit(lambda state, data: model.train_step(state, data))
        with pytest.MonkeyPatch.context() as patch:
            kind = platform if is_there else "cpu"
            patch.setattr(on_jax, "device", lambda _, kind=kind: kind)
            text = jax.export.export(step, platforms=[platform])(state, data).mlir_module()
        assert set(re.findall(r"custom_call @(\w+)", text)) == set(), platform
        for word in ("infeed", "outfeed", "stablehlo.send", "stablehlo.recv", "tensor<?", "x?x"):
            assert word not in text, (platform, word)
        assert "stablehlo.while" not in text  # the kernel gradient of the CPU's depthwise
        groups_of = [int(n) for n in re.findall(r"(?:feature|batch)_group_count = (\d+)", text)]
        # One for the values, for the input's gradient and for the kernel's; where the default
        # device is a CPU the first two are one function.
        num_grouped = (3 if is_there else 2) * num_depthwise
        assert sum(n > 1 for n in groups_of) == num_grouped, groups_of
        # Each convolution names both counts. The stem and three downsamplings: values, and
        # gradients for their kernels and for all inputs but the images.
        num_others = 4 - num_products if is_there else 4
        assert len(groups_of) // 2 - num_grouped == 3 * num_others - 1, groups_of


# Operations that run on the host, or that give as many values as the data says.
HOST = re.compile(r"PyFunc|Print|String|ReadFile|Summary")
DATA_DEPENDENT = re.compile(r"^(Where|Unique|NonMaxSuppression|BooleanMask|DynamicPartition)")


def compiles(model, data, num_depthwise, _):
    import tensorflow as tf

    data = tuple(tf.constant(array) for array in data)
    step = tf.function(lambda *data: model.train_step(data), jit_compile=True)
    graph = step.get_concrete_function(*data).graph
    names = set(re.findall(r'\bop: "(\w+)"', str(graph.as_graph_def())))  # of called functions too
    assert "MatMul" in names or "Einsum" in names, names  # the step was seen
    assert not [name for name in names if HOST.search(name) or DATA_DEPENDENT.search(name)]
    for operation in graph.get_operations():
        for output in operation.outputs:
            assert output.dtype in (tf.resource, tf.variant) or output.shape.is_fully_defined(), (
                operation
            )
    program = step.experimental_get_compiler_ir(*data)(stage="hlo")
    assert program.count("feature_group_count=") >= 2 * num_depthwise


def runs_without_a_host_round_trip(model, data, num_depthwise, _):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Record(TorchDispatchMode):
        names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(function.__name__.split(".")[0])
            return function(*args, **(kwargs or {}))

    model.train_on_batch(*data)
    tensors = tuple(torch.tensor(array) for array in data)
    model.train()
    with Record() as record:
        model.train_step(tensors if len(tensors) > 1 else tensors[0])
    assert record.names.count("convolution") >= num_depthwise  # the step was seen
    waiting = {"_local_scalar_dense", "nonzero", "_unique2", "masked_select", "is_nonzero", "equal"}
    assert waiting.isdisjoint(record.names)
    takes_a_step_without_values(model, tensors)


def takes_a_step_without_values(model, tensors):
    import torch
    from keras.src.backend.common import global_state

    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    for variable in variables:
        parameter = variable._value
        variable._value = torch.nn.Parameter(parameter.to("meta"), parameter.requires_grad)
    tensors = tuple(tensor.to("meta") for tensor in tensors)
    # `keras.device("meta")` would cut the gradient off: it keeps the device as a string, finds
    # each tensor's to be another and makes the tensor anew.
    global_state.set_global_attribute("torch_device", torch.device("meta"))
    try:
        # Raises where a value is read, a shape depends on one, or a tensor is left on the host.
        logs = model.train_step(tensors if len(tensors) > 1 else tensors[0])
    finally:
        global_state.set_global_attribute("torch_device", None)
    assert {tensor.device.type for tensor in logs.values()} == {"meta"}
    assert {variable.value.device.type for variable in variables} == {"meta"}
    gradients = [variable.value.grad for variable in model.trainable_variables]
    assert all(gradient.device.type == "meta" for gradient in gradients)
