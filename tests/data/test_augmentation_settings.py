import numpy as np
import pytest

from keras_convnextv2.data import (
    IMAGENET_MEAN,
    Augmentation,
    ColourJitter,
    HorizontalFlip,
    Mixing,
    QuarterTurns,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
    RandomShift,
    VerticalFlip,
)

pytestmark = pytest.mark.one_backend

PAPER = "rand-m9-mstd0.5-inc1"


def test_nothing_is_on_by_default():
    augmentation = Augmentation()
    assert augmentation.framing([64, 96]) == (64, 96)
    assert augmentation.stages(IMAGENET_MEAN) == {
        "transforms": (),
        "normalised_transforms": (),
        "batch_transforms": (),
        "label_smoothing": 0.0,
    }
    assert not augmentation.gives_soft_labels


def test_the_papers_pretraining():
    augmentation = Augmentation(crop_scale=(0.2, 1), horizontal_flip=0.5)
    expected = RandomResizedCrop((224, 224), scale=(0.2, 1), ratio=(3 / 4, 4 / 3))
    assert augmentation.framing((224, 224)) == expected
    stages = augmentation.stages(IMAGENET_MEAN)
    assert stages.pop("transforms") == (HorizontalFlip(0.5),)
    assert not any(stages.values())


def test_the_papers_fine_tuning_of_base():
    augmentation = Augmentation(
        crop_scale=(0.08, 1),
        horizontal_flip=0.5,
        randaugment=PAPER,
        erase_probability=0.25,
        mixup=0.8,
        cutmix=1.0,
        label_smoothing=0.1,
    )
    fill = (124, 116, 104)  # 255 times ImageNet's mean
    assert augmentation.stages(IMAGENET_MEAN) == {
        "transforms": (
            HorizontalFlip(0.5),
            RandAugment(PAPER, fill=fill, interpolation="bicubic"),
        ),
        "normalised_transforms": (RandomErasing(0.25, area=(0.02, 1 / 3), aspect=(0.3, 1 / 0.3)),),
        "batch_transforms": (Mixing(0.8, 1.0, probability=1, switch_probability=0.5),),
        "label_smoothing": 0.1,
    }


def test_transforms_come_in_one_order_whatever_the_channels():
    augmentation = Augmentation(
        max_shift=2,
        horizontal_flip=0.5,
        vertical_flip=0.4,
        quarter_turns=True,
        randaugment=PAPER,
        randaugment_without=["Color"],
        colour_jitter=(0.1, 0.2, 0.0),
        cutmix=1.0,
    )
    stages = augmentation.stages([0.5, 1.0, 0.0, 0.1])
    options = {"channels": 4, "interpolation": "bicubic", "without": ("Color",)}
    assert stages["transforms"] == (
        RandomShift(2),
        HorizontalFlip(0.5),
        VerticalFlip(0.4),
        QuarterTurns(),
        RandAugment(PAPER, fill=(128, 255, 0, 26), **options),
        ColourJitter(0.1, 0.2, channels=4),
    )
    assert stages["batch_transforms"] == (Mixing(0.0, 1.0),)
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 4)).astype("uint8")
    for transform in stages["transforms"]:
        image = transform(image, np.random.default_rng(1))
        assert (image.shape, image.dtype) == ((12, 12, 4), "uint8")


@pytest.mark.parametrize("setting", ["mixup", "cutmix", "label_smoothing"])
def test_labels_become_soft_by(setting):
    assert Augmentation(**{setting: 0.1}).gives_soft_labels


def test_one_jitter_stands_for_three_without_hue():
    (jitter,) = Augmentation(colour_jitter=0.4).stages(IMAGENET_MEAN)["transforms"]
    assert jitter == ColourJitter(0.4, 0.4, 0.4, 0)
    (jitter,) = Augmentation(colour_jitter=(0, 0, 0, 0.1)).stages(IMAGENET_MEAN)["transforms"]
    assert jitter == ColourJitter(0, 0, 0, 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_scale": (0.5, 0.2)}, r"crop_scale: .* Received: \(0.5, 0.2\)"),
        ({"crop_ratio": (0, 2)}, r"crop_ratio: .* Received: \(0, 2\)"),
        ({"max_shift": -1}, "max_shift: .* Received: -1"),
        ({"horizontal_flip": 50}, "horizontal_flip: .* Received: 50"),
        ({"vertical_flip": -1}, "vertical_flip: .* Received: -1"),
        ({"randaugment": "auto"}, "randaugment: .* Received: 'auto'"),
        (
            {"randaugment": PAPER, "randaugment_without": ["x"]},
            r"randaugment: .* Received: \['x'\]",
        ),
        ({"colour_jitter": -0.4}, "colour_jitter: .* Received: -0.4"),
        ({"colour_jitter": (0.1, 0.1)}, r"colour_jitter: .* Received: \(0.1, 0.1\)"),
        ({"erase_probability": 25}, "erase_probability: .* Received: 25"),
        ({"mixup": -0.8}, "mixup and cutmix: `mixup_alpha` .* Received: -0.8"),
        ({"cutmix": -1}, "mixup and cutmix: `cutmix_alpha` .* Received: -1"),
        ({"label_smoothing": 1}, "label_smoothing: .* Received: 1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_settings_name(settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Augmentation(**settings)


def test_what_has_no_meaning_for_the_channels_is_refused_with_the_settings_name():
    for settings, name in (
        ({"randaugment": PAPER}, "randaugment: .*`Color`.*`randaugment_without`"),
        ({"colour_jitter": 0.4}, "colour_jitter: `saturation`"),
    ):
        with pytest.raises(ValueError, match=f"^{name}.* images of 2 channels"):
            Augmentation(**settings).stages([0.5, 0.5])


def test_quarter_turns_need_a_square_size():
    with pytest.raises(ValueError, match=r"^quarter_turns: .* Received: \(64, 96\)"):
        Augmentation(quarter_turns=True).framing((64, 96))
