"""The experiments of tools.reproduce_ablations, as data.

The paper is arXiv 2301.00808; its figures are top-1 accuracies on ImageNet-1K, of Base unless the
group says otherwise. Flags are those of recipes.pretrain and recipes.finetune, beside what all runs
have in common.
"""

import dataclasses

FIRST_VERSION = ("--response=none", "--layer_scale=1e-6")  # ConvNeXt V1


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A row of the table.

    Args:
        name: str, unique in its group, without commas, which --only parts names at.
        paper: optional float, the paper's accuracy in percent.
        pretrain: flags of the pretraining; None: from scratch.
        finetune: flags of the fine-tuning.
        equal_cost: bool, from scratch, for so many epochs that it costs what the pretraining and
            fine-tuning of another row do together.
        longer: float, how many times the common number of epochs of pretraining.
    """

    name: str
    paper: float | None = None
    pretrain: tuple | None = ()
    finetune: tuple = ()
    equal_cost: bool = False
    longer: float = 1.0


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that are compared with each other.

    Args:
        name: str, for --only and names of files.
        title: str.
        source: str, where the numbers are from.
        experiments: tuple of `Experiment`.
        reference: name of the row that the others are compared with.
        headline: bool, whether it runs with --seeds, or with --other_seeds.
        reference_is_best: bool, whether the source has the reference above rows without a number.
    """

    name: str
    title: str
    source: str
    experiments: tuple
    reference: str
    headline: bool = False
    reference_is_best: bool = False

    def __getitem__(self, name):
        return next(row for row in self.experiments if row.name == name)


def _decoder(name, paper, *flags):
    return Experiment(name, paper, (*FIRST_VERSION, *flags))


def _response(name, paper):
    # What is so by default goes without a flag: the row shares its runs with the others'.
    return Experiment(name, paper, () if name == "grn" else (f"--response={name}",))


_V1 = Experiment("V1 FCMAE", 83.7, FIRST_VERSION)
_NONE = dataclasses.replace(_V1, name="none (V1)")
# What a step of latent prediction takes of time, in steps of FCMAE: 1.5 on a CPU at 64 pixels. In
# forward passes of the whole map, a backward pass as two, they are 2.2 and 1.2.
_LATENT_COST = 1.5
_HIERARCHICAL_COST = 3.5  # the same of a step with the hierarchical decoder

GROUPS = (
    Group(
        "codesign",
        "Model and pretraining together",
        "table 3",
        (
            Experiment("V1 supervised", 83.8, None, FIRST_VERSION),
            _V1,
            Experiment("V2 supervised", 84.3, None),
            Experiment("V2 FCMAE", 84.6),
        ),
        "V2 FCMAE",
        headline=True,
    ),
    Group(
        "grn_in_finetuning",
        "GRN in pretraining and in fine-tuning",
        "table 2f",
        (
            Experiment("in neither (V1)", 83.7, FIRST_VERSION),
            Experiment(
                "dropped at fine-tuning", 78.8, (), ("--response=none", "--allow_other_blocks")
            ),
            Experiment(
                "added at fine-tuning",
                80.6,
                FIRST_VERSION,
                ("--response=grn", "--allow_other_blocks"),
            ),
            Experiment("in both (V2)", 84.6),
        ),
        "in both (V2)",
        headline=True,
    ),
    Group(
        "masking",
        "Sparse and naive masking",
        "section 3; the encoder is V1",
        (
            Experiment(
                "naive: the images alone",
                79.3,
                (*FIRST_VERSION, "--masking=input", "--encoder_path=dense"),
            ),
            dataclasses.replace(_V1, name="sparse"),
        ),
        "sparse",
        headline=True,
    ),
    Group(
        "model_and_decoder",
        "Does the ConvNet need GRN, or another decoder?",
        "table 3; the hierarchical decoder with V1: SparK, arXiv 2301.03580, another recipe. As "
        "long in epochs, of which one with the hierarchical decoder takes 3.5 times the time; and "
        "the block of the decoder has GRN with V1 too, as in the official code",
        (
            dataclasses.replace(_V1, name="V1 one block"),
            Experiment("V1 hierarchical", 84.8, (*FIRST_VERSION, "--decoder=hierarchical")),
            Experiment("V2 one block", 84.6),
            Experiment("V2 hierarchical", None, ("--decoder=hierarchical",)),
        ),
        "V2 one block",
        headline=True,
    ),
    Group(
        "decoder_at_equal_cost",
        "The hierarchical decoder, or longer with one block",
        "not in the paper",
        (
            Experiment("V1 hierarchical", None, (*FIRST_VERSION, "--decoder=hierarchical")),
            Experiment(
                "V1 one block at equal cost", None, FIRST_VERSION, longer=_HIERARCHICAL_COST
            ),
        ),
        "V1 one block at equal cost",
    ),
    Group(
        "equal_cost",
        "Pretraining, or supervised at the same total cost",
        "not in the paper",
        (
            Experiment("supervised longer", None, None, equal_cost=True),
            Experiment("FCMAE and fine-tuned"),
        ),
        "FCMAE and fine-tuned",
        headline=True,
    ),
    Group(
        "objective",
        "What is predicted: pixels, or features",
        "not in the paper; in its appendix D FCMAE has 84.9, MoCo v3 (contrastive) 83.7",
        (
            Experiment("latent prediction", None, ("--objective=latent",)),
            Experiment("FCMAE"),
            Experiment("FCMAE at equal cost", longer=_LATENT_COST),
        ),
        "FCMAE",
    ),
    Group(
        "grn_aggregation",
        "GRN: what a channel's response is",
        "table 2a; none: table 2d",
        (_NONE, _response("grn_average", 83.7), _response("grn_l1", 84.3), _response("grn", 84.6)),
        "grn",
    ),
    Group(
        "grn_normalisation",
        "GRN: how responses are normalised",
        "table 2b, whose best divides by the sum; grn is that of the code, which divides by the "
        "mean; none: table 2d",
        (
            _NONE,
            _response("grn_standardise", 84.5),
            _response("grn_inverse_sum", 83.8),
            _response("grn_sum", 84.6),
            _response("grn", 84.6),
        ),
        "grn",
    ),
    Group(
        "grn_residual",
        "GRN: the residual connection",
        "table 2c",
        (_response("grn_no_residual", 84.0), _response("grn", 84.6)),
        "grn",
    ),
    Group(
        "responses",
        "GRN, and what may stand in its place",
        "tables 2d and 2e",
        (
            _NONE,
            *(
                _response(name, paper)
                for name, paper in (
                    ("lrn", 83.2),
                    ("bn", 80.5),
                    ("ln", 83.8),
                    ("se", 84.4),
                    ("cbam", 84.5),
                    ("grn", 84.6),
                )
            ),
        ),
        "grn",
    ),
    Group(
        "decoder",
        "The decoder",
        "table 1a; the encoder is V1",
        (
            _decoder("unet", 83.7, "--decoder=unet"),
            _decoder("unet_without_skips", 83.5, "--decoder=unet_without_skips"),
            _decoder("transformer", 83.4, "--decoder=transformer"),
            _decoder("block", 83.7),
        ),
        "block",
    ),
    Group(
        "decoder_depth",
        "Blocks of the decoder",
        "table 1b; the encoder is V1",
        tuple(
            _decoder(str(depth), paper, *([f"--decoder_depth={depth}"] if depth > 1 else []))
            for depth, paper in ((1, 83.7), (2, 83.5), (4, 83.7), (8, 83.6), (12, 83.3))
        ),
        "1",
    ),
    Group(
        "decoder_width",
        "Channels of the decoder; the paper's are 4 times as many",
        "table 1c; the encoder is V1",
        tuple(
            _decoder(str(width), paper, *([f"--decoder_width={width}"] if width != 128 else []))
            for width, paper in ((32, 83.5), (64, 83.7), (128, 83.7), (192, 83.6), (256, 83.5))
        ),
        "128",
    ),
    Group(
        "mask_ratio",
        "Share of the patches that is hidden",
        "appendix D, figure 8: best at 0.6; the encoder is V1 here, and not told there. Whole "
        "patches are hidden: of the 16 of an image of 64 pixels 5, 8, 10, 12 and 15",
        tuple(
            _decoder(str(ratio), None, *([f"--mask_ratio={ratio}"] if ratio != 0.6 else []))
            for ratio in (0.3, 0.5, 0.6, 0.75, 0.9)
        ),
        "0.6",
        reference_is_best=True,
    ),
    Group(
        "targets",
        "Targets",
        "section 3: normalised, without a comparison",
        (Experiment("plain", None, ("--nonormalize_targets",)), Experiment("normalised")),
        "normalised",
    ),
)


def selected(names):
    """The groups, with the rows alone that are asked for.

    Args:
        names: list of str, groups, or group/row; empty: all.

    Raises:
        ValueError: a name that is none; it lists the groups, or the group's rows.
    """
    if not names:
        return GROUPS
    known = {group.name: group for group in GROUPS}
    wanted = {}
    for name in names:
        of_group, _, row = name.partition("/")
        if of_group not in known:
            raise ValueError(f"--only is of {', '.join(known)}. Received: {name!r}")
        rows = [experiment.name for experiment in known[of_group].experiments]
        if row and row not in rows:
            raise ValueError(
                f"--only: {of_group} has the rows {'; '.join(rows)}. Received: {row!r}"
            )
        wanted.setdefault(of_group, set()).update([row] if row else rows)
    return tuple(
        dataclasses.replace(
            group,
            experiments=tuple(row for row in group.experiments if row.name in wanted[group.name]),
        )
        for group in GROUPS
        if group.name in wanted
    )
