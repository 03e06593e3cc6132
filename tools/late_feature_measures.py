"""All that `tools.measure_late_features` measures of a model."""

import dataclasses

import numpy as np

from recipes.progress_line import ProgressLine
from tools import probed_models

RANKING_IMAGES = 200  # whose maps say which channels are redundant or weak: each position counts


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        fractions: {"5%": 0.05, ...} of the channels that a probe gets.
        draws: int, of channels and rotations.
        removed: {"50%": 0.5, ...} of the channels that are removed.
        removal_draws: int, of random orders.
        blocks: block names, or None for the last of the third and of the fourth stage.
        ablation_images: int, training images at most for the means and for probes of what is left.
        seed: int.
    """

    fractions: dict
    draws: int
    removed: dict
    removal_draws: int
    blocks: tuple | None
    ablation_images: int
    seed: int


def measure(probed, options):
    """A dict that JSON can hold: "about", "subsets", "components", "removals" and "fixed"."""
    from keras_convnextv2.analysis import BlockFeatures

    last = last_blocks(probed.model)
    blocks = options.blocks or (last["stage2"], last["stage3"])
    known = BlockFeatures(probed.model).names
    BlockFeatures(probed.model, blocks)  # or a name that is none would be found only in the end
    pooled = {split: stage_features(probed, split) for split in ("train", "test")}
    say = ProgressLine(f"{probed.name}: probes of channels and components")
    pairs = {
        stage: [(pooled[split][stage], getattr(probed, split).labels) for split in pooled]
        for stage in pooled["train"]
    }
    subsets = {}
    for stage, pair in pairs.items():
        subsets[stage] = _subsets(*pair, options)
        say(len(subsets), len(pairs) + 1)
    stage = list(pairs)[-1]
    components = {stage: _components(*pairs[stage], options)}
    say.end("measured")
    removals = {
        block: {where: _removals(probed, block, where, options) for where in ("response", "output")}
        for block in blocks
    }
    has_grn = probed.about()["response"] == "grn"
    return {
        "about": probed.about(),
        "subsets": subsets,
        "components": components,
        "removals": removals,
        "fixed": _fixed(probed, known, options) if has_grn else [],
    }


def stage_features(probed, split):
    """{"stage0": (N, width), ...}: the mean over positions of each stage's output."""
    from keras_convnextv2.analysis import BlockFeatures

    last = last_blocks(probed.model)
    say = ProgressLine(f"{probed.name}: {len(getattr(probed, split)):,} {split} images")
    features = BlockFeatures(probed.model, last.values(), "output")
    found = features.measure(probed.batches(split), {"pooled": _over_positions}, say)
    say.end("computed")
    return {stage: found[block]["pooled"] for stage, block in last.items()}


def last_blocks(model):
    """{"stage0": name of its last block, ...}."""
    from keras_convnextv2.analysis import BlockFeatures

    return {name.partition("_")[0]: name for name in BlockFeatures(model).names}


def _over_positions(maps):
    return maps.mean(axis=(1, 2))


def _subsets(train, test, options):
    """{share of labels: {share of channels: accuracies}}."""
    from keras_convnextv2.analysis import channel_subset_probe

    def probe(pair, draw):
        fractions, seed = tuple(options.fractions.values()), options.seed + draw
        return channel_subset_probe(pair, test, fractions, options.draws, seed)

    return _of_all_labels(train, probe)


def _components(train, test, options):
    """{share of labels: {"4 components", "4 rotated": accuracies}}."""
    from keras_convnextv2.analysis import principal_component_probe

    width = train[0].shape[1]
    counts = [2**power for power in range(width.bit_length()) if 2**power < width] + [width]

    def probe(pair, draw):
        seed = options.seed + draw
        return principal_component_probe(pair, test, counts, options.draws, seed, basis=train[0])

    return _of_all_labels(train, probe)


def _of_all_labels(train, probe):
    """What `probe(labelled pair, draw)` found, the draws of labels one after the other."""
    found = {}
    for share, pairs in probed_models.labelled_pairs(*train).items():
        results = [probe(pair, draw).accuracies for draw, pair in enumerate(pairs)]
        found[share] = {
            what: [value for result in results for value in result[what]] for what in results[0]
        }
    return found


def _removals(probed, block, where, options):
    """{"channels", "labels": how many, "rows": [a dict each]} of channels removed at one place."""
    from keras_convnextv2.analysis import Ablation, BlockFeatures, removal_order
    from keras_convnextv2.analysis.removal_order import ORDERS

    few = probed.batches("train", RANKING_IMAGES)
    maps = BlockFeatures(probed.model, [block], where).measure(few, {"maps": lambda maps: maps})
    maps = maps[block]["maps"]
    num_channels = maps.shape[-1]
    ways = ["frozen"]
    if where == "response" and probed.about()["response"] != "none":
        ways.append("recomputed")
    rows, ablations = (
        [{"by": "none", "removed": "0%", "relative": "frozen", "draw": 0}],
        [Ablation()],
    )
    for by in ORDERS:
        for draw in range(options.removal_draws if by == "random" else 1):
            order = removal_order(maps, by, options.seed + draw)
            for share, fraction in options.removed.items():
                removed = order[: round(fraction * num_channels)]
                for relative in ways:
                    row = {"by": by, "removed": share, "relative": relative, "draw": draw}
                    rows.append(row)
                    ablations.append(Ablation({block: removed}, relative))
    _measure_rows(probed, [block], where, rows, ablations, options)
    labels = len(probed_models.limited(probed.train, options.ablation_images))
    return {"channels": num_channels, "labels": labels, "rows": rows}


def _fixed(probed, names, options):
    """Rows of N as it is, at its mean in the last block, and at its mean in all."""
    from keras_convnextv2.analysis import Ablation

    rows = []
    for words, blocks in (("in the last block", names[-1:]), ("in all blocks", names)):
        of_blocks = [{"relative": way, "where": words} for way in ("frozen", "mean")]
        ablations = [Ablation(relative=row["relative"]) for row in of_blocks]
        _measure_rows(probed, blocks, "response", of_blocks, ablations, options)
        rows += of_blocks
    return rows


def _measure_rows(probed, blocks, where, rows, ablations, options):
    """Puts "probe", {share of labels: accuracies}, into each row, and "head" of a classifier."""
    from keras_convnextv2.analysis import MeanAblation

    count = options.ablation_images
    train = probed.batches("train", count)
    of = blocks[0] if len(blocks) == 1 else "all blocks"
    say = ProgressLine(f"{probed.name}: {len(rows)} changes, {where} of {of}")
    ablation = MeanAblation(probed.model, blocks, train, where)
    total = len(train) + len(probed.batches("test"))
    outputs = [
        ablation.outputs(train, ablations, lambda done, _: say(done, total)),
        ablation.outputs(
            probed.batches("test"), ablations, lambda done, _: say(len(train) + done, total)
        ),
    ]
    labels = probed_models.limited(probed.train, count).labels
    for row, of_train, of_test in zip(rows, *outputs, strict=True):
        row["probe"] = probed_models.probed_accuracies(
            of_train["features"], labels, of_test["features"], probed.test.labels
        )
        if probed.has_head:
            right = of_test["logits"].argmax(axis=1) == np.asarray(probed.test.labels)
            row["head"] = float(np.mean(right))
    say.end("measured")
