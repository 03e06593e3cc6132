"""Order in a program that XLA compiles for a CPU, and what stays apart in it.

XLA runs an operation on a CPU as soon as what it reads is there, and drops optimization barriers
before it settles that. What has to wait must read something of what it waits for.
"""


def on_cpu_or_not(on_cpu, elsewhere):
    """The function of tensors that is one of two, settled as a program is lowered."""
    import jax

    return lambda *tensors: jax.lax.platform_dependent(*tensors, cpu=on_cpu, default=elsewhere)


def recomputed_after(upstream, x):
    """See `custom_gradient.recomputed_after`."""
    import jax

    def behind_barrier(upstream, x):
        return jax.lax.optimization_barrier((upstream, x))[1]

    return on_cpu_or_not(once_there, behind_barrier)(upstream, x)


def unknown_false(x):
    """False, as a scalar that XLA cannot know before `x`, of one value or more, is there."""
    import jax.numpy as jnp

    return jnp.abs(x[(0,) * x.ndim]) == -1


def once_there(awaited, x):
    """`x`, but not before `awaited` is there: multiplied by a 1 that is made from it.

    All but the bits of numbers below the smallest normal one, which XLA takes for 0, stay.
    """
    import jax.numpy as jnp

    if 0 in awaited.shape:
        return x
    return x * jnp.where(unknown_false(awaited), 0, 1).astype(x.dtype)


def alone(function, *tensors):
    """`function(*tensors)`, kept apart from what comes before and after.

    XLA would compute a sum of 49 products anew in the loop of everything that uses it, the next
    block's sum too, and what gathers a map in the loop that writes margins around it; such loops
    are not vectorized. It takes nothing out of a conditional whose condition it does not know.
    """
    import jax
    import jax.numpy as jnp

    def nothing(*tensors):
        result = jax.eval_shape(function, *tensors)
        return jnp.zeros(result.shape, result.dtype)

    return jax.lax.cond(unknown_false(tensors[-1]), nothing, function, *tensors)
