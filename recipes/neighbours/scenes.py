"""Scenes to segment and to detect in: photographs of garments, pasted where it is known exactly.

The garments are the embedded images, so nothing is downloaded. A scene has three of them, of random
size, each somewhere in its own quarter, on a grey of random brightness.
"""

import dataclasses

import numpy as np

# What is told apart, by the classes of the embedded images.
KINDS = {
    "top": ("T-shirt/top", "Pullover", "Coat", "Shirt"),
    "trousers": ("Trouser",),
    "dress": ("Dress",),
    "shoe": ("Sandal", "Sneaker", "Ankle boot"),
    "bag": ("Bag",),
}
NUM_GARMENTS = 3
_DARKEST = 16  # of 255: what is darker in a photograph is its background
_FOUND = 0.5  # intersection over union


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
    """N scenes and what is in them.

    Attributes:
        images: float32 (N, H, W, C), normalised as the backbone expects it.
        masks: int32 (N, H, W), 0 = background, 1 + kind elsewhere.
        boxes: float32 (N, NUM_GARMENTS, 4), left, top, right and bottom in pixels.
        kinds: int32 (N, NUM_GARMENTS), a place in `KINDS`.
    """

    images: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    kinds: np.ndarray

    @property
    def one_hot_masks(self):
        """float32 (N, H, W, 1 + len(KINDS)).

        On PyTorch, Keras 3.15 cannot take the gradient of sparse crossentropy over maps.
        """
        return np.eye(1 + len(KINDS), dtype="float32")[self.masks]


def make_scenes(source, num_scenes, image_size, channels, seed):
    """Draws scenes from the garments of a source; the same ones for the same seed.

    Args:
        source: `ImageSource` of grey garments whose classes `KINDS` lists.
        num_scenes: int.
        image_size: (H, W) in pixels, of a scene.
        channels: 3 to normalise as ImageNet's photographs, 1 as the garments themselves.
        seed: int.
    """
    from keras_convnextv2.data.pipeline import preprocess

    height, width = image_size
    cell = np.array([height // 2, width // 2])
    if min(cell) < 16:
        raise ValueError(f"--image_size must be 32 pixels or more. Received: {height}x{width}")
    if channels not in (1, 3):
        raise ValueError(f"--weights takes images of {channels} channels; scenes have 1 or 3.")
    generator = np.random.default_rng(seed)
    kind_of_name = {name: kind for kind, names in enumerate(KINDS.values()) for name in names}
    unknown = [name for name in source.class_names if name not in kind_of_name]
    if unknown:
        raise ValueError(
            f"--data_dir: scenes are put together from images of {', '.join(kind_of_name)}, on "
            f"black. Received the classes {', '.join(unknown)}. Without the flag the embedded "
            "images are taken."
        )
    kind_of_class = [kind_of_name[name] for name in source.class_names]
    images = np.empty((num_scenes, height, width), "uint8")
    masks = np.zeros((num_scenes, height, width), "int32")
    boxes = np.empty((num_scenes, NUM_GARMENTS, 4), "float32")
    kinds = np.empty((num_scenes, NUM_GARMENTS), "int32")
    for scene in range(num_scenes):
        images[scene] = generator.integers(0, 100)
        for place, quarter in enumerate(generator.permutation(4)[:NUM_GARMENTS]):
            index = generator.integers(len(source))
            side = generator.integers(int(0.7 * min(cell)), min(cell) + 1)
            garment = source.read([index], (side, side))[0, :, :, 0]
            top, left = np.divmod(quarter, 2) * cell + generator.integers(0, cell - side + 1)
            spot = (scene, slice(top, top + side), slice(left, left + side))
            visible = garment >= _DARKEST
            images[spot][visible] = garment[visible]
            kinds[scene, place] = kind_of_class[source.labels[index]]
            masks[spot][visible] = 1 + kinds[scene, place]
            rows, columns = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
            boxes[scene, place] = (
                left + columns[0],
                top + rows[0],
                left + columns[-1] + 1,
                top + rows[-1] + 1,
            )
    images = images[..., None]
    if channels == 1:
        images = preprocess(images, source.mean, source.std)
    else:
        images = preprocess(np.repeat(images, 3, axis=-1))
    return Scenes(images, masks, boxes, kinds)


def mean_iou(masks, predicted):
    """Intersection over union of each kind and the background, averaged over those that occur.

    Args:
        masks, predicted: ints (N, H, W).
    """
    ratios = []
    for label in np.unique(masks):
        union = np.sum((masks == label) | (predicted == label))
        ratios.append(np.sum((masks == label) & (predicted == label)) / union)
    return float(np.mean(ratios))


def share_found(scenes, boxes, kinds, confidence):
    """The share of garments that are found.

    Of each scene as many boxes are looked at as there are garments: the most confident ones that
    do not overlap a more confident one by half. A garment is found where one of these overlaps it
    by half and names its kind.

    Args:
        scenes: `Scenes`.
        boxes: (N, D, 4), left, top, right and bottom in pixels.
        kinds: (N, D), places in `KINDS`.
        confidence: (N, D), -1 where there is no box.
    """
    found = 0
    for scene in range(len(boxes)):
        looked_at = []
        for box in np.argsort(-confidence[scene]):
            if len(looked_at) == NUM_GARMENTS or confidence[scene, box] < 0:
                break
            if not looked_at or np.max(_iou(boxes[scene, box], boxes[scene, looked_at])) < _FOUND:
                looked_at.append(box)
        for truth, kind in zip(scenes.boxes[scene], scenes.kinds[scene], strict=True):
            right = [box for box in looked_at if kinds[scene, box] == kind]
            found += bool(right) and np.max(_iou(truth, boxes[scene, right])) >= _FOUND
    return found / scenes.kinds.size


def _iou(box, boxes):
    """Intersection over union of (4,) with each of (D, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    union = np.prod(box[2:] - box[:2]) + areas - intersection
    return intersection / np.maximum(union, 1e-6)
