"""What a pretraining on many devices needs, on paper, and the table of it."""

from tools import arithmetic

POSITIVE = ("device_tflops", "utilisation", "link_gigabytes", "stored_kilobytes", "decode_rate")
SETTINGS = (
    *("devices", "epochs", "images", "batch_size", "image_size", "mask_ratio", "precision"),
    *("average_weights", *POSITIVE),
)
SECONDS_OF_A_DAY = 86400
# (heading, key of a row, what it is divided by, decimals)
COLUMNS = (
    ("parameters, M", "parameters", 1e6, 1),
    ("GFLOP an image", "operations_an_image", 1e9, 1),
    ("images/s", "images_a_second", 1, 0),
    ("images/s a device", "images_a_second_a_device", 1, 0),
    ("storage, MB/s", "storage_bytes_a_second", 1e6, 0),
    ("cores to decode", "decoding_cores", 1, 0),
    ("GB a device", "memory_bytes", 1e9, 1),
    ("sent a step, MB", "gradient_bytes_sent", 1e6, 0),
    ("to send, ms", "sending_seconds", 1e-3, 1),
    ("a step, ms", "step_seconds", 1e-3, 0),
    ("days", "seconds", SECONDS_OF_A_DAY, 2),
)


def check(settings):
    """Raises a ValueError for settings that no training can have."""
    for name in POSITIVE:
        value = settings[name]
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name} must be a number above 0. Received: {value}")
    if settings["utilisation"] > 1:
        raise ValueError(f"--utilisation must be at most 1. Received: {settings['utilisation']}")
    if settings["devices"] > 1 and settings["link_gigabytes"] is None:
        raise ValueError("--link_gigabytes must be given for more than one device.")
    if settings["batch_size"] % settings["devices"]:
        raise ValueError(
            "--batch_size must be a multiple of --devices. Received: "
            f"{settings['batch_size']} and {settings['devices']}"
        )
    if settings["batch_size"] > settings["images"]:
        raise ValueError(
            "--images must be a batch or more. Received: "
            f"{settings['images']} with --batch_size={settings['batch_size']}"
        )
    if settings["image_size"] % arithmetic.PATCH:
        raise ValueError(
            f"--image_size must be a multiple of {arithmetic.PATCH}. Received: "
            f"{settings['image_size']}"
        )


def plan(variant, settings):
    """What a pretraining of a variant needs.

    With A operations an image, n devices, a batch of b and P parameters:

        compute   b / n * A / (--device_tflops * 1e12 * --utilisation)
        send      2 (n - 1) / n * 4 P / (--link_gigabytes * 1e9)
        step      compute + send
        images/s  b / step
        storage   images/s * --stored_kilobytes * 1000
        cores     images/s / --decode_rate, rounded up
        memory    4 * 4 P, 5 * 4 P with an average of the weights, and for each of b / n images
                  what a step keeps of it and its H * W * 3 float32 pixels
        seconds   --epochs * (whole batches of --images) * step

    Args:
        variant: a name of `VARIANTS`.
        settings: dict of the flags in `SETTINGS`, checked.

    Returns:
        Dict of numbers by the keys of `COLUMNS`; times in seconds, sizes in bytes.
    """
    from keras_convnextv2.fcmae.masking import num_visible_patches

    size, devices, batch = (settings[name] for name in ("image_size", "devices", "batch_size"))
    cells = (size // arithmetic.PATCH) ** 2
    visible_share = num_visible_patches(cells, settings["mask_ratio"]) / cells
    of_a_device = batch // devices

    parameters = arithmetic.num_parameters(variant)
    operations = arithmetic.operations("pretrain", variant, size, 0, visible_share)
    operations_a_second = settings["device_tflops"] * 1e12 * settings["utilisation"]
    sent = arithmetic.gradient_bytes_sent(parameters, devices)
    sending = sent / (settings["link_gigabytes"] * 1e9) if sent else 0.0
    step = of_a_device * operations / operations_a_second + sending

    bytes_a_value = arithmetic.FLOAT32 if settings["precision"] == "float32" else 2
    kept = bytes_a_value * arithmetic.activation_values(variant, size, visible_share)
    pixels = arithmetic.FLOAT32 * arithmetic.CHANNELS * size**2
    return {
        "parameters": parameters,
        "operations_an_image": operations,
        "images_a_second": batch / step,
        "images_a_second_a_device": of_a_device / step,
        "storage_bytes_a_second": batch / step * settings["stored_kilobytes"] * 1000,
        "decoding_cores": -int(-batch / step // settings["decode_rate"]),
        "memory_bytes": arithmetic.weight_bytes(parameters, settings["average_weights"])
        + of_a_device * (kept + pixels),
        "gradient_bytes_sent": sent,
        "sending_seconds": sending,
        "step_seconds": step,
        "seconds": settings["epochs"] * (settings["images"] // batch) * step,
    }


def as_text(rows, settings):
    """The plan as a table, with what it rests on above."""
    words = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in settings.items() if value is not None
    )
    headings = ["variant", *(heading for heading, *_ in COLUMNS)]
    lines = [f"On paper: {words}", "", f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for row in rows:
        cells = (f"{row[key] / unit:,.{decimals}f}" for _, key, unit, decimals in COLUMNS)
        lines.append(f"| {' | '.join([row['variant'], *cells])} |")
    return "\n".join(lines)
