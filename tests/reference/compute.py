"""Running a function of arrays on the current backend."""

import keras


def compute(function, *arrays, **options):
    """What `function` returns, as NumPy arrays.

    On JAX it runs as one program, since operation by operation JAX would compile each; there
    Keras's random state does not advance. Of a layer, a model or a method of one the variables are
    given to the program: with their values in it, no two programs would be equal, and each would
    be compiled.
    """
    owner = getattr(function, "__self__", function)
    variables = owner.variables if isinstance(owner, keras.layers.Layer) else []

    def pure(values, *arrays):
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function(*arrays, **options)

    if keras.backend.backend() == "jax":
        import jax

        outputs = jax.jit(pure)([variable.value for variable in variables], *arrays)
    else:
        outputs = function(*arrays, **options)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
