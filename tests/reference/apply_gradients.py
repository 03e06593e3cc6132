"""One step of an optimizer on any backend, as `fit` takes it."""

import keras


def apply_to(optimizer, gradients, weights, step=None):
    """On JAX in the way of `fit`: a loss scale's conditions leak out of `apply` there.

    Args:
        optimizer: built for `weights`.
        gradients: list of tensors.
        weights: list of Keras variables.
        step: of `compiled_step(optimizer)`, which is quicker for many weights and steps.
    """
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, weights)
        return
    state = [variable.value for variable in optimizer.variables]
    values = [weight.value for weight in weights]
    trained, state = (step or optimizer.stateless_apply)(state, gradients, values)
    pairs = zip([*weights, *optimizer.variables], [*trained, *state], strict=True)
    for variable, value in pairs:
        variable.assign(value)


def compiled_step(optimizer):
    """What `apply_to` takes to compile a step once; None where it is not compiled."""
    if keras.backend.backend() != "jax":
        return None
    import jax

    return jax.jit(optimizer.stateless_apply)
