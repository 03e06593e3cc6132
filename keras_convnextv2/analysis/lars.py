"""MAE's linear probe, by LARS, on features that were computed once.

Source: `main_linprobe.py` of github.com/facebookresearch/mae, read 2026-11-29. It crops and flips
images anew each epoch; here each image has one feature vector.
"""

import dataclasses
import math

import numpy as np

from keras_convnextv2.analysis.probes import ProbeResult, accuracy, checked, num_classes_of

_EPSILON = 1e-6  # of the batch norm
_RUNNING_SHARE = 0.1  # of a batch in the running statistics


@dataclasses.dataclass(frozen=True)
class LarsSettings:
    """How the linear layer is trained.

    Attributes:
        epochs, warmup_epochs: int.
        base_learning_rate: float, for 256 images a step: the rate is it times batch size / 256.
        weight_decay: float.
        momentum: float.
        trust_coefficient: float: a step of the kernel is this share of the kernel's norm, times
            the rate. The bias takes plain steps.
        batch_size: int, lowered to the number of images; MAE's is 16384.
        initial_std: float, of the kernel.

    Examples:
        >>> from keras_convnextv2.analysis import LarsSettings
        >>> LarsSettings().rate_at(0, steps_an_epoch=10), LarsSettings().rate_at(100, 10)
        (0.0, 0.4)
    """

    epochs: int = 90
    warmup_epochs: int = 10
    base_learning_rate: float = 0.1
    weight_decay: float = 0.0
    momentum: float = 0.9
    trust_coefficient: float = 0.001
    batch_size: int = 1024
    initial_std: float = 0.01

    def __post_init__(self):
        if not 0 <= self.warmup_epochs < self.epochs or self.batch_size < 2:
            raise ValueError(
                "The warm-up must be shorter than the epochs, and a batch two images or more. "
                f"Received: {self}"
            )

    def rate_at(self, step, steps_an_epoch):
        """The learning rate of a step from 0: linear from 0, then half a cosine to 0."""
        peak = self.base_learning_rate * self.batch_size / 256
        epoch = step / steps_an_epoch
        if epoch < self.warmup_epochs:
            return peak * epoch / self.warmup_epochs
        share = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return peak * 0.5 * (1 + math.cos(math.pi * share))


def lars_probe(train, test, settings=None, seed=0):
    """The accuracy of batch norm without scale and shift and a linear layer, trained by LARS.

    In NumPy, so that it is the same on every backend. Steps of LARS are so small that few images
    teach it little: at 1,000 images it takes 90 steps, at ImageNet's 1.28 million 112,000 of the
    same size. The settings have the number of steps.

    Args:
        train: (features (N, d), labels (N,)).
        test: the same.
        settings: `LarsSettings`; None takes MAE's, but for the batch size.
        seed: int, of the kernel and the order.

    Returns:
        `ProbeResult` with "accuracy", after the last epoch.

    Examples:
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import LarsSettings, lars_probe
        >>> labels = np.arange(80) % 2
        >>> features = np.random.default_rng(0).normal(size=(80, 3)) + 9 * labels[:, None]
        >>> train, test = (features[:40], labels[:40]), (features[40:], labels[40:])
        >>> result = lars_probe(train, test, LarsSettings(batch_size=20))
        >>> result.settings["steps"], result.settings["learning_rate"]
        (180, 0.0078125)
    """
    (x, y), (x_test, y_test) = checked(train, test)
    settings = settings or LarsSettings()
    if len(x) < 2:
        raise ValueError(f"Batch norm needs two training images or more. Received: {len(x)}")
    settings = dataclasses.replace(settings, batch_size=min(settings.batch_size, len(x)))
    head = _Head(x.shape[1], num_classes_of(y, y_test), settings, np.random.default_rng(seed))
    steps_an_epoch, step = len(x) // settings.batch_size, 0  # the remainder is left out
    for epoch in range(settings.epochs):
        order = np.random.default_rng([seed, epoch + 1]).permutation(len(x))
        for batch in range(steps_an_epoch):
            chosen = order[batch * settings.batch_size :][: settings.batch_size]
            head.step(x[chosen], y[chosen], settings.rate_at(step, steps_an_epoch))
            step += 1
    described = {
        **dataclasses.asdict(settings),
        "optimizer": "LARS",
        "learning_rate": settings.base_learning_rate * settings.batch_size / 256,
        "steps": step,
        "seed": seed,
        "train_images": len(x),
        "test_images": len(x_test),
        "features": "batch norm, no crops",
    }
    return ProbeResult("lars", {"accuracy": (accuracy(head.predict(x_test), y_test),)}, described)


class _Head:
    """Batch norm and a linear layer, with their running statistics and momenta; float32."""

    def __init__(self, width, num_classes, settings, rng):
        self.settings = settings
        self.mean = np.zeros(width, "float32")
        self.variance = np.ones(width, "float32")
        kernel = rng.normal(0.0, settings.initial_std, (width, num_classes))
        self.weights = [kernel.astype("float32"), np.zeros(num_classes, "float32")]
        self.momenta = [np.zeros_like(weight) for weight in self.weights]

    def step(self, x, labels, rate):
        mean, variance = x.mean(axis=0), x.var(axis=0)
        unbiased = variance * (len(x) / (len(x) - 1))
        self.mean += _RUNNING_SHARE * (mean - self.mean)
        self.variance += _RUNNING_SHARE * (unbiased - self.variance)
        normed = (x - mean) / np.sqrt(variance + _EPSILON)
        error = _softmax(normed @ self.weights[0] + self.weights[1])
        error[np.arange(len(x)), labels] -= 1
        error /= len(x)  # (B, K), the gradient of the mean cross-entropy at the logits
        for place, gradient in enumerate((normed.T @ error, error.sum(axis=0))):
            self._update(place, gradient, rate)

    def _update(self, place, gradient, rate):
        weight, settings = self.weights[place], self.settings
        if weight.ndim > 1:
            gradient = gradient + settings.weight_decay * weight
            size, length = np.linalg.norm(weight), np.linalg.norm(gradient)
            if size > 0 and length > 0:
                gradient = gradient * (settings.trust_coefficient * size / length)
        self.momenta[place] = settings.momentum * self.momenta[place] + gradient
        weight -= np.float32(rate) * self.momenta[place]

    def predict(self, x):
        normed = (x - self.mean) / np.sqrt(self.variance + _EPSILON)
        return (normed @ self.weights[0] + self.weights[1]).argmax(axis=1)


def _softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
