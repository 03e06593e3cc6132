"""What a gradient computes again, on each backend: the same values, when they are wanted."""

import keras
import numpy as np
import pytest

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.fast import jax_order
from keras_convnextv2.layers.fast.custom_gradient import recomputed_after
from keras_convnextv2.layers.regions import WholeMap

pytestmark = pytest.mark.usefixtures("fast_paths")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("first", [0.0, 1.0, -1.0, np.nan, np.inf])
def test_it_is_the_tensor_bit_for_bit_whatever_it_waits_for(rng, dtype, first):
    values = np.concatenate([rng.normal(size=20), [0.0, -0.0, np.nan, np.inf, -np.inf]])
    x = keras.ops.cast(keras.ops.convert_to_tensor(values.reshape(5, 5)), dtype)
    awaited = keras.ops.full((2, 3), first, dtype=dtype)
    np.testing.assert_array_equal(bits(recomputed_after(awaited, x)), bits(x))


@pytest.mark.parametrize("shape", [(0, 4), (2, 4)])
def test_it_waits_for_a_tensor_of_no_values(shape):
    recomputed = recomputed_after(keras.ops.zeros((0, 3)), keras.ops.ones(shape))
    np.testing.assert_array_equal(bits(recomputed), bits(keras.ops.ones(shape)))


def bits(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")).view("int32")


if keras.backend.backend() == "jax":

    def test_another_device_gets_a_barrier_in_a_program(rng, monkeypatch):
        import jax

        monkeypatch.setattr(jax_order, "on_cpu_or_not", lambda on_cpu, elsewhere: elsewhere)
        x = keras.ops.cast(rng.normal(size=(2, 3)), "float32")
        lowered = jax.jit(recomputed_after).lower(x, x)
        assert "optimization_barrier" in lowered.as_text()
        np.testing.assert_array_equal(bits(lowered.compile()(x, x)), bits(x))

    def test_a_program_for_a_cpu_keeps_only_the_input_of_each_layer():
        """XLA would compute again what all gradients need as soon as it has those inputs."""
        import jax

        shape, num_layers = (2, 16, 16, 64), 8
        weights = [jax.ShapeDtypeStruct((64,), "float32")] * 2
        x = jax.ShapeDtypeStruct(shape, "float32")

        def total(x, gamma, beta):
            for _ in range(num_layers):
                x = ops.gelu_grn(x, gamma, beta, 1e-6, WholeMap())
            return keras.ops.sum(keras.ops.square(x))

        program = jax.jit(jax.grad(total)).lower(x, *weights).compile()
        held = program.memory_analysis().temp_size_in_bytes / (4 * np.prod(shape))
        assert held < 1.5 * num_layers  # 10; by barriers 24, with all of XLA's optimisations
