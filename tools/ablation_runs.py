"""Which runs the rows of tools.reproduce_ablations are made of: recipes, with their flags."""

import dataclasses
import re

from recipes import objectives

PRETRAIN = ("--learning_rate=1.5e-3",)  # as measured in docs/results.md
DECODER = ("--decoder_width=128",)  # the same, of what has a decoder
FROM_WEIGHTS = ("--layer_decay=0.9",)  # the paper's for its small models
FINETUNE = ("--validation_fraction=0",)  # the last epoch counts, and every label is trained on
COMMON_FLAGS = {
    "pretraining": [*PRETRAIN],
    "with a decoder": [*DECODER],
    "fine-tuning": [*FINETUNE],
    "from a pretraining": [*FROM_WEIGHTS],
}
# Of the settings, what recipes.pretrain and recipes.finetune without --weights need of the model.
_SIZE = ("variant", "depths", "widths", "stem_stride")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of a recipe; equal ones are one.

    Args:
        name: str, of its folder.
        recipe: "pretrain" or "finetune".
        words: flags, a tuple of str, but for --output_dir and --weights.
        weights: `Run` of the pretraining, or None.
        work: float, images that it passes, one in pretraining counted as its share of the cost.
    """

    name: str
    recipe: str
    words: tuple
    weights: "Run | None" = None
    work: float = 0.0

    def command(self, folder):
        """The words of the command line after the recipe's name, of outputs under `folder`."""
        weights = [] if self.weights is None else [f"--weights={self.weights.folder(folder)}"]
        return [*self.words, *weights, f"--output_dir={self.folder(folder)}"]

    def folder(self, folder):
        return folder / "runs" / self.name


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all runs have in common.

    Args:
        settings: dict, of the flags of tools.reproduce_ablations that bear on results: "data_dir",
            "variant", "depths", "widths", "image_size", "stem_stride", "pretrain_epochs",
            "finetune_epochs", "labels_per_class", "precision", "pretrain_flags", "finetune_flags",
            "pretrain_cost", and of the images "num_images" and "num_labelled".
    """

    settings: dict

    def run_of(self, experiment, seed):
        """The fine-tuning of a row, a `Run`; what it needs is its `weights`."""
        pretraining = None
        if experiment.pretrain is not None:
            pretraining = self._pretraining(experiment, seed)
        start = "scratch"
        if pretraining is not None:
            start = pretraining.name.removeprefix("pretrain-").removesuffix(f"-seed-{seed}")
        epochs = self.settings["finetune_epochs"]
        if experiment.equal_cost:
            epochs = self.equal_cost_epochs()
        size = self._given(*_SIZE) if pretraining is None else []
        words = (
            *self._given("data_dir", "image_size", "labels_per_class", "precision"),
            *size,
            *FINETUNE,
            *(FROM_WEIGHTS if pretraining else ()),
            f"--epochs={epochs}",
            *self.settings["finetune_flags"],
            *experiment.finetune,
            *_of_all(seed),
        )
        own = [f"--epochs={epochs}"] if experiment.equal_cost else []
        name = _name("finetune", start, (*experiment.finetune, *own), seed)
        return Run(name, "finetune", words, pretraining, epochs * self.settings["num_labelled"])

    def equal_cost_epochs(self):
        """Epochs on the labels alone that cost what pretraining and fine-tuning do together."""
        settings = self.settings
        pretraining = settings["pretrain_epochs"] * settings["num_images"]
        pretraining *= settings["pretrain_cost"] / settings["num_labelled"]
        return settings["finetune_epochs"] + round(pretraining)

    def _pretraining(self, experiment, seed):
        settings, flags = self.settings, experiment.pretrain
        epochs = round(settings["pretrain_epochs"] * experiment.longer)
        own = [f"--epochs={epochs}"] if epochs != settings["pretrain_epochs"] else []
        is_latent = "--objective=latent" in flags
        words = (
            *self._given("data_dir", "image_size", *_SIZE, "precision"),
            *PRETRAIN,
            *(() if is_latent else DECODER),
            f"--epochs={epochs}",
            *(flag for flag in settings["pretrain_flags"] if not (is_latent and _is_fcmae(flag))),
            *flags,
            *_of_all(seed),
        )
        work = epochs * settings["num_images"] * settings["pretrain_cost"]
        return Run(_name("pretrain", "", (*flags, *own), seed), "pretrain", words, None, work)

    def _given(self, *names):
        words = []
        for name in names:
            value = self.settings[name]
            if value not in (None, "", []):
                text = ",".join(map(str, value)) if isinstance(value, list) else value
                words.append(f"--{name}={text}")
        return words


def in_order(groups, seeds, other_seeds, plan):
    """The runs of all rows, each once, a pretraining before what needs it.

    Of a group seed follows on seed, so that its rows can be compared as soon as the first is done.

    Returns:
        List of `Run`.
    """
    found = {}
    for group in groups:
        for seed in range(seeds if group.headline else other_seeds):
            for experiment in group.experiments:
                run = plan.run_of(experiment, seed)
                if run.weights is not None:
                    found.setdefault(run.weights.name, run.weights)
                found.setdefault(run.name, run)
    return list(found.values())


def _is_fcmae(flag):
    """Whether a flag is of FCMAE alone, which latent prediction refuses."""
    name = flag.lstrip("-").partition("=")[0]
    return {name, name.removeprefix("no")} & set(objectives.OF_ONE["fcmae"])


def _of_all(seed):
    return (f"--seed={seed}", "--keep_checkpoints=1", "--json")


def _name(recipe, start, flags, seed):
    """The same for the same flags, and no other's: of letters that any file system takes."""
    own = "-".join(re.sub(r"[^\w.]+", "_", flag.lstrip("-")) for flag in flags)
    if not start:  # a pretraining
        return f"{recipe}-{own or 'paper'}-seed-{seed}"
    return "--".join([f"{recipe}-{start}", *([own] if own else [])]) + f"-seed-{seed}"
