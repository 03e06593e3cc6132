"""A SavedModel as a layer of tf_keras, which is Keras 2."""

from keras_convnextv2.export.partner_packages import import_partner


def saved_model_layer(path, name=None):
    """A SavedModel that `export_model` wrote, as a layer of tf_keras to train on.

    Any reusable SavedModel would do. It takes what the SavedModel takes; where sizes are open
    there, they are here.

    Args:
        path: str or Path of the folder.
        name: optional str, of the layer.

    Returns:
        A `tf_keras.layers.Layer` whose weights are the SavedModel's.

    Raises:
        ModuleNotFoundError: tf_keras is not installed.
        OSError: there is no SavedModel at `path`.

    Examples:
        >>> import tf_keras, keras_convnextv2 as kc
        >>> from keras_convnextv2.export import export_model, saved_model_layer
        >>> small = kc.Variant(depths=(1, 1, 1, 1), widths=(8, 16, 32, 64))
        >>> report = export_model(kc.ConvNeXtV2Backbone(small, (64, 64, 3)), "backbone")
        >>> images = tf_keras.Input((64, 64, 3))
        >>> features = saved_model_layer("backbone")(images)
        >>> features.shape.as_list()
        [None, 2, 2, 64]
    """
    tf_keras = import_partner("tf_keras", extra="tf-keras")
    import tensorflow as tf

    served = tf.saved_model.load(str(path))

    class SavedModelLayer(tf_keras.layers.Layer):
        """Calls the SavedModel; tf_keras finds its weights in `served_weights`."""

        def __init__(self):
            super().__init__(name=name)
            self.served_weights = list(served.trainable_variables)

        def call(self, images, training=False):
            return served(images, training=bool(training))

    return SavedModelLayer()
