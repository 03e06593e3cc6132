import itertools

import keras

from keras_convnextv2.layers import ops
from keras_convnextv2.layers.grn_formula import guarded_root
from keras_convnextv2.layers.region_layer import RegionLayer
from keras_convnextv2.layers.regions import region_of


def _average(x, region):
    return region.sum(x) / region.count(x)


def _l1(x, region):
    return region.sum(keras.ops.abs(x))


AGGREGATIONS = {"average": _average, "l1": _l1, "l2": ops.norm_over_positions}


def _by_mean(energy, epsilon):
    return energy / (keras.ops.mean(energy, axis=-1, keepdims=True) + epsilon)


def _by_sum(energy, epsilon):
    return energy / (keras.ops.sum(energy, axis=-1, keepdims=True) + epsilon)


def _by_inverse_sum(energy, epsilon):
    return 1.0 / (keras.ops.sum(energy, axis=-1, keepdims=True) + epsilon)


def _standardised(energy, epsilon):
    difference = energy - keras.ops.mean(energy, axis=-1, keepdims=True)
    variance = keras.ops.mean(keras.ops.square(difference), axis=-1, keepdims=True)
    return difference / (guarded_root(keras.ops, variance) + epsilon)


NORMALISATIONS = {
    "mean": _by_mean,
    "sum": _by_sum,
    "inverse_sum": _by_inverse_sum,
    "standardise": _standardised,
}


@keras.saving.register_keras_serializable(package="keras_convnextv2")
class ResponseNormalization(RegionLayer):
    """GRN of which each part may be another: those that table 2 of the paper compares.

        G_c = aggregation over positions of x_c
        N_c = normalisation over channels of G
        output = gamma * (x * N) + beta + x

    Over the visible positions of one image: "average" is their mean, "l1" the sum of |x_c|, "l2"
    the root of the sum of x_c^2. "mean" is G / (mean G + epsilon), "sum" G / (sum G + epsilon),
    "inverse_sum" 1 / (sum G + epsilon), the same for all channels, and "standardise"
    (G - mean G) / (deviation of G + epsilon). The defaults are GRN itself, without its fast paths.

    Statistics are float32. An average may be below 0, and its mean over channels near 0, where it
    is divided by.

    Source: ConvNeXt V2 (arXiv 2301.00808), section 4, table 2a to 2c.

    Args:
        aggregation: "average", "l1" or "l2".
        normalisation: "mean", "sum", "inverse_sum" or "standardise".
        residual: bool, whether x is added at the end.
        affine: bool, whether there are gamma and beta. gamma begins at 0, so that the layer begins
            as the identity, but without `residual` at 1.
        epsilon: float, added to what is divided by.

    Call arguments:
        x: features (B, H, W, C), or those of `region`.
        region: where they are, one of `layers.regions`; the whole map by default.

    Returns:
        The shape and dtype of `x`.
    """

    def __init__(
        self,
        aggregation="l2",
        normalisation="mean",
        residual=True,
        affine=True,
        epsilon=1e-6,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value, known in (
            ("aggregation", aggregation, AGGREGATIONS),
            ("normalisation", normalisation, NORMALISATIONS),
        ):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {value!r}")
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: {epsilon!r}")
        self.aggregation = aggregation
        self.normalisation = normalisation
        self.residual = residual
        self.affine = affine
        self.epsilon = epsilon
        self.gamma = self.beta = None

    def build(self, input_shape):
        if self.affine:
            shape = (input_shape[-1],)
            initializer = "zeros" if self.residual else "ones"
            self.gamma = self.add_weight(
                shape=shape, initializer=initializer, autocast=False, name="gamma"
            )
            self.beta = self.add_weight(
                shape=shape, initializer="zeros", autocast=False, name="beta"
            )

    def call(self, x, region=None):
        region = region_of(region, None)
        wide_x = keras.ops.cast(x, "float32")
        energy = AGGREGATIONS[self.aggregation](wide_x, region)  # (B, 1, 1, C)
        gain = NORMALISATIONS[self.normalisation](energy, self.epsilon)
        if self.affine:
            gain = keras.ops.cast(self.gamma, "float32") * gain
        y = wide_x * (1.0 + gain if self.residual else gain)
        if self.affine:
            y = y + keras.ops.cast(self.beta, "float32")
        return ops.narrowed(y, x.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "aggregation": self.aggregation,
            "normalisation": self.normalisation,
            "residual": self.residual,
            "affine": self.affine,
            "epsilon": self.epsilon,
        }


def named_options():
    """Yields (name, options) of all but GRN itself, named after what differs from it.

    As "grn_l1", or "grn_average_standardise_no_residual_no_affine".
    """
    for aggregation, normalisation, residual, affine in itertools.product(
        ("l2", "l1", "average"), NORMALISATIONS, (True, False), (True, False)
    ):
        options = {
            "aggregation": aggregation,
            "normalisation": normalisation,
            "residual": residual,
            "affine": affine,
        }
        words = ["grn"]
        words += [aggregation] if aggregation != "l2" else []
        words += [normalisation] if normalisation != "mean" else []
        words += [] if residual else ["no_residual"]
        words += [] if affine else ["no_affine"]
        if len(words) > 1:
            yield "_".join(words), options
