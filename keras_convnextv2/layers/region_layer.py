import keras


class RegionLayer(keras.layers.Layer):
    """A layer that is called as `layer(x, region)`.

    Keras takes only tensors by position; this passes the region on by name.
    """

    def __call__(self, x, region=None, **options):
        if region is not None:
            options["region"] = region
        return super().__call__(x, **options)

    def compute_output_shape(self, x_shape, hidden_shape=None):  # Keras's names for them
        return x_shape
