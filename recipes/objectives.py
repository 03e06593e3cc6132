"""What a pretraining predicts: hidden pixels (FCMAE), or hidden features (latent prediction)."""

from absl import flags

from . import training_flags

FLAGS = flags.FLAGS

# What is said of one objective alone.
OF_ONE = {
    "fcmae": ("decoder", "decoder_width", "decoder_depth", "masking", "normalize_targets"),
    "latent": ("teacher_momentum",),
}
# Where latent prediction differs from EMBEDDED_RUN and FOLDER_RUN, whatever the images.
_LATENT_RUN = {"learning_rate": 1.5e-3, "beta_2": 0.999}
_MOMENTUM = 0.996  # of CNN-JEPA (arXiv 2408.07514), for long trainings
_SHARE_OF_RUN = 0.1  # that the teacher's average reaches over at most
_FEW_PATCHES = 16  # of an image: the paper's have 49


def define_flags():
    flags.DEFINE_enum(
        "objective",
        "fcmae",
        ["fcmae", "latent"],
        "Predict the pixels of hidden patches, as the paper does, or their features, as a moving "
        "average of the backbone sees them (CNN-JEPA, arXiv 2408.07514); with "
        "--learning_rate=1.5e-3 and --beta_2=0.999 by default.",
    )
    flags.DEFINE_float("mask_ratio", 0.6, "Share of each image's patches that is hidden.")
    flags.DEFINE_integer("decoder_width", None, "Channels of the decoder.")
    flags.DEFINE_integer("decoder_depth", 1, "Blocks of the decoder.", lower_bound=1)
    flags.DEFINE_string(
        "decoder",
        "block",
        "block, the paper's, unet, unet_without_skips, hierarchical (SparK's) or transformer "
        "(MAE's).",
    )
    flags.DEFINE_enum(
        "masking",
        "sparse",
        ["sparse", "input"],
        "Hidden positions are absent from every layer, or zeros in the images alone; the latter "
        "with --encoder_path=dense.",
    )
    flags.DEFINE_bool("normalize_targets", True, "Predict patches less their mean, over their std.")
    flags.DEFINE_float(
        "teacher_momentum",
        None,
        "Of --objective=latent: the share that the moving average keeps at the first update; it "
        "rises to 1. Default: 0.996, or less in a run of fewer than 2,500 updates, so that the "
        "average reaches over a tenth of it.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_enum(
        "encoder_path",
        "visible",
        ["visible", "dense"],
        "Compute the visible patches alone, or the whole map with hidden positions at zero.",
    )


def resolve(of_embedded, of_folder):
    """As `training_flags.resolve`, for the objective; flags of another one have no value then.

    Raises:
        ValueError: a flag of another objective was given, too.
    """
    own = FLAGS.objective
    (other,) = OF_ONE.keys() - {own}
    given = [f"--{name}" for name in OF_ONE[other] if FLAGS[name].present]
    if given:
        verb = "is" if len(given) == 1 else "are"
        raise ValueError(f"{', '.join(given)} {verb} of --objective={other}. Received: {own}")
    if own == "latent":
        of_embedded, of_folder = ({**run, **_LATENT_RUN} for run in (of_embedded, of_folder))
    settings = training_flags.resolve(of_embedded, of_folder)
    return settings.replaced(**dict.fromkeys(OF_ONE[other]))


def make_model(backbone, settings, num_updates):
    """The model to pretrain: an `FCMAE`, or a `LatentPrediction`, of a backbone.

    Args:
        backbone: `ConvNeXtV2Backbone`.
        settings: `Settings` that `resolve` gave.
        num_updates: int, those of the whole training.
    """
    import keras_convnextv2 as kc

    of_both = {
        "mask_ratio": settings.mask_ratio,
        "encoder_path": settings.encoder_path,
        "seed": settings.seed,
    }
    if settings.objective == "latent":
        momentum = settings.teacher_momentum
        if momentum is None:
            momentum = min(_MOMENTUM, max(1 - 1 / (_SHARE_OF_RUN * num_updates), 0.0))
        return kc.LatentPrediction(backbone, momentum=momentum, num_updates=num_updates, **of_both)
    of_fcmae = {name: getattr(settings, name) for name in OF_ONE["fcmae"]}
    return kc.FCMAE(backbone, **of_fcmae, **of_both)


def in_words(model):
    """What `announce` says of the model, {name: words}."""
    import keras_convnextv2 as kc

    is_latent = isinstance(model, kc.LatentPrediction)
    name = "predictor" if is_latent else "decoder"
    side = model.backbone.total_stride if is_latent else model.patch_size
    parameters = f"{getattr(model, name).count_params():,} in the {name}"
    said = {
        "model": f"{model.backbone.count_params():,} parameters in the backbone, {parameters}",
        "masks": f"{model.num_visible} of {model.num_patches} patches visible, each of "
        f"{side} x {side} pixels",
    }
    if model.num_patches < _FEW_PATCHES:
        said["few_patches"] = (
            f"an image has {model.num_patches} patches, which leaves little to learn from. A "
            "smaller --stem_stride or a larger --image_size gives more"
        )
    if is_latent:
        said["masks"] += f", in blocks in {model.block_share:.0%} of the batches"
        said["teacher"] = (
            f"a moving average of the backbone, of momentum {model.momentum:.4g} at first and 1 at "
            "the end"
        )
    return said
