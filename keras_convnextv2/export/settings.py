"""What an artefact is to be: its input, its output, its precision, what it says of itself."""

import dataclasses
import importlib.metadata

import numpy as np

PRECISIONS = ("float32", "float16", "dynamic_int8", "int8")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of an artefact, checked.

    Args:
        input_shape: (batch, height, width, channels); all but channels may be None.
        dtype: "float32" for images normalised outside, "uint8" for pixels as they are.
        mean, std: a float a channel each, for images in 0..1: what the model's images are
            normalised with, outside or inside.
        output: "logits", "probabilities" or "features".
        precision: one of `PRECISIONS`.
        class_names: optional tuple of str.
        licence: optional str, of the weights.
        pixel_range: optional (low, high), the values in files of more than 8 bits that become 0
            and 255 before the artefact or its caller normalises them.
        temperature: float, what logits are divided by before they become probabilities: in the
            artefact where its output is those, else by its caller.
        multi_label: bool, whether these are the sigmoid of each logit, not the softmax of all.
    """

    input_shape: tuple
    dtype: str
    mean: tuple
    std: tuple
    output: str
    precision: str = "float32"
    class_names: tuple | None = None
    licence: str | None = None
    pixel_range: tuple | None = None
    temperature: float = 1.0
    multi_label: bool = False

    @property
    def is_integer(self):
        """Whether outputs are judged by the first class alone."""
        return "int8" in self.precision

    def as_float(self, pixels):
        """The images that the model takes for uint8 (N, H, W, C), as `data.preprocess` does it."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        return ((pixels / 255 - mean) / std).astype("float32")

    def as_input(self, pixels):
        """The images that the artefact takes for uint8 (N, H, W, C)."""
        return pixels if self.dtype == "uint8" else self.as_float(pixels)

    def output_shape(self, network):
        """The shape of the output, None where it is open."""
        batch, *size, _ = self.input_shape
        if network.num_classes is not None:
            return (batch, network.num_classes)
        rows, columns = (side and side // network.total_stride for side in size)
        return (batch, rows, columns, network.variant.widths[-1])

    def metadata(self, network):
        """What an artefact carries, as JSON can hold it."""
        return {
            "library": f"keras-convnextv2 {importlib.metadata.version('keras-convnextv2')}",
            "model": "backbone" if network.num_classes is None else "classifier",
            "variant": network.variant.name or network.variant.get_config(),
            "stem_stride": network.stem_stride,
            "total_stride": network.total_stride,
            "precision": self.precision,
            "input": {
                "name": "images",
                "shape": list(self.input_shape),
                "dtype": self.dtype,
                "mean": list(self.mean),
                "std": list(self.std),
                **({"pixel_range": list(self.pixel_range)} if self.pixel_range else {}),
            },
            "output": {
                "name": "outputs",
                "kind": self.output,
                **({"temperature": self.temperature} if self.temperature != 1 else {}),
                **({"multi_label": True} if self.multi_label else {}),
            },
            "class_names": None if self.class_names is None else list(self.class_names),
            "licence": self.licence,
        }
