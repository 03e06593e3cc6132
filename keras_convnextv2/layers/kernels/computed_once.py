import keras


def computed_once(numbers):
    """`numbers`, an int32 tensor, unchanged: as the result of an operation of its own.

    XLA on a CPU computes the arguments of a gather within its loop: what numbers segments of a
    thousand values, again for each value. It takes no sort into a loop, and this is one by keys
    that are in order already.
    """
    if keras.backend.backend() != "jax":
        return numbers
    import jax

    def as_sorted(numbers):
        flat = numbers.reshape(-1)
        keys = jax.lax.iota("int32", flat.size)
        return jax.lax.sort((keys, flat), num_keys=1)[1].reshape(numbers.shape)

    return jax.lax.platform_dependent(numbers, cpu=as_sorted, default=lambda numbers: numbers)
