"""Names that Keras and the backends do not promise to keep: all in one file, and all there."""

import ast
import pathlib

import keras
import numpy as np
import pytest

import keras_convnextv2 as kc
from keras_convnextv2 import insides
from keras_convnextv2.training.optimizers import KernelDecayAdamW
from tests.reference.gradients import gradients_of

PACKAGE = pathlib.Path(kc.__file__).parent
BACKEND = keras.backend.backend()


def small_model(**options):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    model.compile(optimizer=KernelDecayAdamW(0.1, weight_decay=0.2, **options), loss="mse")
    return model


@pytest.mark.one_backend
def test_no_other_file_uses_a_private_name_that_is_not_our_own():
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    own = {
        getattr(node, "name", None) or getattr(node, "attr", None) or getattr(node, "id", None)
        for path, tree in trees.items()
        if path.name != "insides.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        or (isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store))
    }
    foreign = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.attr}"
        for path, tree in trees.items()
        if path.name != "insides.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.endswith("__")
        and node.attr not in own | {"_replace"}  # of a named tuple
        # PyTorch's reader of its archives, in a file that works copied alone;
        # tests/export/test_foreign_operations.py fails when it goes.
        and (path.name, node.attr) != ("runtimes.py", "_C")
    ]
    assert foreign == []
    hooks = [name for name in vars(insides.OpenAdamW) if name.startswith("_") and "__" not in name]
    assert set(hooks).isdisjoint(own)


def test_the_hooks_of_adamw_are_called(monkeypatch):
    called = []
    hooks = ("take_gradients", "decay_weights", "update_weights", "average_weights")
    for name in (*hooks, "update_at_once"):
        real = getattr(KernelDecayAdamW, name)
        monkeypatch.setattr(
            KernelDecayAdamW,
            name,
            lambda self, *a, name=name, real=real: called.append(name) or real(self, *a),
        )
    small_model(use_ema=True).fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    assert set(called) - {"update_at_once"} == set(hooks)
    assert ("update_at_once" in called) == (BACKEND == "torch")


def test_a_schedule_is_asked_for_the_rate_of_an_update():
    """Keras's would be asked for the third batch's: when it is not, ours need not step in."""
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 2], [0.5, 0.4, 0.3, 0.2])
    found = []
    for kind in (KernelDecayAdamW, keras.optimizers.AdamW):
        weight = keras.Variable(np.zeros((2, 3), "float32"))
        optimizer = kind(rates, gradient_accumulation_steps=2)
        optimizer.build([weight])
        for _ in range(2):
            optimizer.apply([keras.ops.ones((2, 3))], [weight])
        found.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
    assert found == pytest.approx([0.4, 0.3])


def test_an_optimizer_tells_what_it_decays_and_its_moments():
    model = small_model()
    optimizer, layer = model.optimizer, model.get_layer("dense")
    optimizer.build(model.trainable_variables)
    assert optimizer.is_decayed(layer.kernel) and not optimizer.is_decayed(layer.bias)
    model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    first, second = optimizer.moments(layer.kernel)
    assert first.shape == second.shape == layer.kernel.shape
    assert np.abs(first.numpy()).max() > 0 and second.numpy().max() > 0
    assert optimizer.place_of(layer.kernel) == 0 and optimizer.place_of(layer.bias) == 1
    assert [id(weight) for weight in optimizer.weights()] == [id(layer.kernel), id(layer.bias)]


def test_an_optimizer_tells_its_averages_and_what_it_has_accumulated():
    weight = keras.Variable(np.ones((2, 3), "float32"))
    optimizer = KernelDecayAdamW(0.1, use_ema=True, gradient_accumulation_steps=2, clipnorm=1.0)
    optimizer.build([weight])
    assert not optimizer.ends_accumulation()
    optimizer.apply([keras.ops.full((2, 3), 2.0)], [weight])
    assert optimizer.ends_accumulation()
    (total,) = optimizer.accumulators([weight])
    np.testing.assert_array_equal(total.numpy(), np.full((2, 3), 2.0))
    optimizer.apply([keras.ops.zeros((2, 3))], [weight])
    ((own, average),) = optimizer.weights_and_averages()
    assert own is weight
    np.testing.assert_array_equal(average.numpy(), weight.numpy())
    (clipped,) = optimizer.clip([keras.ops.full((2, 2), 3.0)])
    np.testing.assert_allclose(clipped, np.full((2, 2), 0.5), rtol=1e-6)  # float32


def test_what_auto_means_and_which_layers_there_are():
    model = small_model()
    assert insides.auto_jit_compile(model) is model.jit_compile  # compiled by default
    names = [layer.name for layer in insides.layers_within(model)]
    assert "dense" in names and model.name in names


@insides.keep_variables
class Failing(keras.Model):
    """Raises in the second step."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)


def test_variables_keep_their_values_through_a_fit_that_fails():
    model = Failing()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model(np.ones((2, 3)))
    before = model.dense.kernel.numpy()
    with pytest.raises(Exception, match=".*"):  # each backend says it in its own way
        model.fit(np.ones((2, 4)), np.ones((2, 1)), verbose=0)
    np.testing.assert_array_equal(model.dense.kernel.numpy(), before)


if BACKEND == "jax":

    def test_the_state_of_steps_can_be_dropped_and_brought_back():
        model = small_model()
        model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
        assert hasattr(model, "_jax_state_synced") and model._jax_state_synced
        trained = model.get_layer("dense").kernel.numpy()
        insides.weights_from_state_of_steps(model)
        np.testing.assert_array_equal(model.get_layer("dense").kernel.numpy(), trained)
        model.get_layer("dense").kernel.assign(np.zeros((3, 2)))
        insides.forget_state_of_steps(model)
        insides.weights_from_state_of_steps(model)  # there is nothing to bring back
        assert not model.get_layer("dense").kernel.numpy().any()
        assert "_purge_model_variables" in dir(keras.Model)


if BACKEND == "torch":

    def test_torchs_own_operations_are_there(rng):
        import torch

        x = keras.Variable(rng.normal(size=(4, 5)).astype("float32"))
        (expected,) = gradients_of(lambda: torch.nn.functional.gelu(x.value).sum(), [x])
        found = insides.torch_gelu_gradient(torch.ones(4, 5), x.value.detach())
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
        weight, zeros = torch.ones(3), torch.zeros(3)
        options = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "eps": 1e-8}
        lists = [weight], [torch.ones(3)], [zeros.clone()], [zeros.clone()], [], [torch.tensor(1.0)]
        insides.torch_fused_adamw(*lists, **options, amsgrad=False, maximize=False)
        np.testing.assert_allclose(weight.numpy(), 0.9, rtol=1e-4)
        insides.torch_move_towards([weight], [torch.ones(3)], 0.5)
        np.testing.assert_allclose(weight.numpy(), 0.95, rtol=1e-4)


if BACKEND == "tensorflow":

    def test_an_update_comes_together_over_replicas():
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
            model = small_model()
            model.optimizer.build(model.trainable_variables)
        seen = []
        model.optimizer.for_each_replica(lambda strategy, pairs: seen.append(pairs), "pairs")
        assert seen == ["pairs"]
