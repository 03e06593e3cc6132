"""Running a function of arrays on the current backend."""

import keras


def compute(function, *arrays, **options):
    """What `function` returns, as NumPy arrays.

    On JAX it runs as one program, since operation by operation JAX would compile each; there
    Keras's random state does not advance.
    """

    def pure(*arrays):
        with keras.StatelessScope():
            return function(*arrays, **options)

    if keras.backend.backend() == "jax":
        import jax

        outputs = jax.jit(pure)(*arrays)
    else:
        outputs = function(*arrays, **options)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
