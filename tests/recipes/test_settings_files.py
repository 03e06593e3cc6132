"""Each settings file of the recipes says what its column of the paper's tables says."""

import pytest

from recipes import flag_files

pytestmark = pytest.mark.one_backend

# base rate, weight decay, layer-wise decay and its kind, epochs, warm-up, smoothing, mixup, cutmix,
# drop path: after FCMAE, on ImageNet-1K.
FINETUNING_1K = {
    "atto": (2e-4, 0.3, 0.9, "single", 600, 0, 0.2, 0, 0, 0.1),
    "femto": (2e-4, 0.05, 0.9, "single", 600, 0, 0.2, 0.3, 0.3, 0),
    "pico": (2e-4, 0.3, 0.9, "single", 600, 0, 0.2, 0.3, 0.3, 0),
    "nano": (2e-4, 0.3, 0.9, "single", 600, 0, 0.2, 0.5, 0.5, 0.1),
    "tiny": (8e-4, 0.05, 0.9, "single", 300, 40, 0.1, 0.8, 1, 0.2),
    "base": (6.25e-4, 0.05, 0.6, "group", 100, 20, 0.1, 0.8, 1, 0.1),
    "large": (6.25e-4, 0.05, 0.6, "group", 100, 20, 0.1, 0.8, 1, 0.2),
    "huge": (1.25e-3, 0.05, 0.75, "single", 50, 10, 0.1, 0.8, 1, 0.3),
}
# layer-wise decay, drop path
INTERMEDIATE_22K = {
    "nano": (0.9, 0),
    "tiny": (0.9, 0),
    "base": (0.8, 0.1),
    "large": (0.8, 0.1),
    "huge": (0.8, 0.3),
}
# epochs, layer-wise decay, drop path, EMA, sizes
FINETUNING_22K_1K = {
    "nano": (90, 0.9, 0.1, 0.9999, (224, 384)),
    "tiny": (90, 0.9, 0.1, 0.9999, (224, 384)),
    "base": (30, 0.8, 0.2, 0.9999, (224, 384)),
    "large": (30, 0.8, 0.3, 0.9999, (224, 384)),
    "huge": (30, 0.85, 0.5, 0, (384, 512)),
}
# What all fine-tuning on ImageNet has.
SHARED = {
    "beta_2": 0.999,
    "min_learning_rate": 1e-6,
    "flip": "horizontal",
    "randaugment": "rand-m9-mstd0.5-inc1",
    "erase_probability": 0.25,
    "head_init_scale": 0.001,
    "validation_fraction": 0,
}


def values_of(name):
    """Numbers where they are some, by flag."""
    words = flag_files.expand([f"--flagfile={name}"])
    values = {}
    for word in words:
        flag, equals, text = word.removeprefix("--").partition("=")
        try:
            values[flag] = float(text) if equals else True
        except ValueError:
            values[flag] = text
    return values


def assert_says(values, **expected):
    assert {name: values.get(name) for name in expected} == expected


def test_pretraining():
    assert_says(
        values_of("pretrain"),
        base_learning_rate=1.5e-4,
        weight_decay=0.05,
        beta_2=0.95,
        batch_size=4096,
        warmup_epochs=40,
        epochs=800,
        crop_scale="0.2,1",
        flip="horizontal",
        mask_ratio=0.6,
        decoder_width=512,
        decoder_depth=1,
        normalize_targets=True,
        image_size=224,
    )


@pytest.mark.parametrize("variant", FINETUNING_1K)
def test_finetuning_on_imagenet_1k(variant):
    rate, decay, layers, kind, epochs, warmup, smoothing, mixup, cutmix, drop = FINETUNING_1K[
        variant
    ]
    assert_says(
        values_of(f"finetune_1k_{variant}"),
        variant=variant,
        image_size=224,
        evaluation_crop=0.875,
        batch_size=1024,
        base_learning_rate=rate,
        weight_decay=decay,
        layer_decay=layers,
        layer_decay_groups=kind,
        epochs=epochs,
        warmup_epochs=warmup,
        label_smoothing=smoothing,
        mixup=mixup,
        cutmix=cutmix,
        drop_path_rate=drop,
        ema_momentum=0.9999,
        **SHARED,
    )


@pytest.mark.parametrize("variant", INTERMEDIATE_22K)
def test_finetuning_on_imagenet_22k(variant):
    layers, drop = INTERMEDIATE_22K[variant]
    assert_says(
        values_of(f"intermediate_22k_{variant}"),
        variant=variant,
        image_size=224,
        batch_size=4096,
        base_learning_rate=2.5e-4,
        weight_decay=0.05,
        epochs=90,
        warmup_epochs=5,
        layer_decay=layers,
        drop_path_rate=drop,
        ema_momentum=0,
        **SHARED,
    )


@pytest.mark.parametrize(
    ("variant", "size"),
    [(variant, size) for variant, row in FINETUNING_22K_1K.items() for size in row[-1]],
)
def test_finetuning_on_imagenet_1k_after_22k(variant, size):
    epochs, layers, drop, average, _ = FINETUNING_22K_1K[variant]
    assert_says(
        values_of(f"finetune_22k_1k_{variant}_{size}"),
        variant=variant,
        image_size=size,
        evaluation_crop=0.875 if size == 224 else 1,  # resized without a crop
        batch_size=512,
        base_learning_rate=2.5e-5,
        weight_decay=1e-8,
        epochs=epochs,
        warmup_epochs=0,
        layer_decay=layers,
        drop_path_rate=drop,
        ema_momentum=average,
        mixup=0,
        cutmix=0,
        **SHARED,
    )


def test_every_file_is_held_by_one_of_these_or_shared_by_them():
    named = {"pretrain", "small_data", "finetune_1k", "intermediate_22k", "finetune_22k_1k"}
    named |= {f"finetune_1k_{variant}" for variant in FINETUNING_1K}
    named |= {f"intermediate_22k_{variant}" for variant in INTERMEDIATE_22K}
    for variant, row in FINETUNING_22K_1K.items():
        named |= {f"finetune_22k_1k_{variant}_{size}" for size in row[-1]}
    assert {path.stem for path in flag_files.SETTINGS.iterdir()} == named


def test_what_is_given_after_a_file_counts_also_where_it_is_said_in_another_way():
    words = ["--flagfile=finetune_1k_base", "--learning_rate=1e-3", "--depths=1,1,1,1"]
    expanded = flag_files.expand([*words, "--widths=4,6,8,12", "--epochs=3"])
    assert not any(word.startswith(("--base_learning_rate", "--variant")) for word in expanded)
    assert expanded.index("--epochs=100") < expanded.index("--epochs=3")
    # What a person says in two ways is left for the recipe to refuse.
    both = ["--base_learning_rate=1e-3", "--learning_rate=1e-3"]
    assert flag_files.expand(both) == both


@pytest.mark.parametrize("name", sorted(path.stem for path in flag_files.SETTINGS.iterdir()))
def test_a_dry_run_of_each_file_passes(run_recipe, shared_images_dir, tmp_path, name):
    recipe = "pretrain" if name == "pretrain" else "finetune"
    # Of 24 images the shortest of these trainings has 540 steps.
    batch = min(int(values_of(name).get("batch_size", 1024)), 2048)
    outcome = run_recipe(
        recipe,
        f"--flagfile={name}",
        f"--data_dir={shared_images_dir}",
        f"--output_dir={tmp_path / 'run'}",
        *("--depths=1,1,1,1", "--widths=4,6,8,12", "--stem_stride=1", "--image_size=16"),
        *("--batch_size=4", f"--accumulation_steps={batch // 4}", "--dry_run", "--json"),
    )
    assert outcome.status == 0, outcome.err
    steps = outcome.result["projected_steps"]
    assert steps == int(values_of(name).get("epochs", 50)) * (5 if name == "small_data" else 6)
    assert not (tmp_path / "run").exists()
