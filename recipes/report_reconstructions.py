"""What a pretraining drew of the same images over its epochs, as a report shows it."""

import dataclasses
import io

from .report_files import NotThere, Picture, embedded, embedded_bytes, read_picture

FOLDER = "reconstructions"
_MOST_ROWS = 8  # epochs that are shown below each other
_MOST_FRAMES = 60  # of the animation
_MOST_PIXELS = 2**22  # of a frame; those that a run keeps have an eighth of it
_WIDTH = 1060  # pixels of a page that a row may fill


@dataclasses.dataclass(frozen=True)
class Row:
    """Images side by side: what they are, and their `Picture`."""

    label: str
    picture: Picture


@dataclasses.dataclass(frozen=True)
class Reconstructions:
    """Pictures of a run.

    Args:
        rows: list of `Row`, of one size: originals, masked, and predictions by epoch.
        zoom: int, pixels of the page a pixel of an image.
        animation: GIF of all epochs, or None.
        whole: the picture that a finished run has, where it kept none of its epochs, or None.
        absent: list of str.
    """

    rows: list
    zoom: int = 1
    animation: Picture | None = None
    whole: Picture | None = None
    absent: list = dataclasses.field(default_factory=list)


def reconstructions_of(folder):
    """The `Reconstructions` of a run's folder; None where there are none."""
    from keras_convnextv2.analysis.reconstruction_frames import frames_in

    absent = []

    def read(path, *limit):
        try:
            return read_picture(path, *limit)
        except NotThere as error:
            absent.append(str(error))
            return None

    paths = frames_in(folder / FOLDER)
    if not paths:
        whole = folder / f"{FOLDER}.png"
        picture = read(whole) if whole.exists() else None
        found = Reconstructions([], whole=picture and embedded(picture), absent=absent)
        return found if picture or absent else None
    epochs = _spread(list(paths), _MOST_FRAMES)
    frames = {epoch: read(paths[epoch], _MOST_PIXELS) for epoch in epochs}
    frames = {epoch: frame for epoch, frame in frames.items() if frame is not None}
    # One of another size is of another run.
    sizes = [frame.size for frame in frames.values()]
    frames = {epoch: frame for epoch, frame in frames.items() if frame.size == sizes[-1]}
    if len(frames) < len(sizes):
        absent.append(f"{len(sizes) - len(frames)} pictures of epochs are of another size")
    if not frames:
        return Reconstructions([], absent=absent)
    rows = _once(folder, read) + _by_epoch(frames)
    zoom = _zoom(rows[-1].picture.width)
    return Reconstructions(rows, zoom, _animation(frames), absent=absent)


def _once(folder, read):
    """Rows of what is the same in all epochs."""
    found = ((name, read(folder / FOLDER / f"{name}.png")) for name in ("original", "masked"))
    return [Row(name, embedded(picture)) for name, picture in found if picture is not None]


def _by_epoch(frames):
    """Rows of predictions: the hidden patches by epoch, and every patch after the last one."""
    rows = []
    for epoch in _spread(list(frames), _MOST_ROWS):
        every_patch, pasted = _halves(frames[epoch])
        rows.append(Row(f"epoch {epoch}", embedded(pasted)))
    return [*rows, Row(f"every patch, epoch {epoch}", embedded(every_patch))]


def last_row(folder):
    """(epoch, `Picture` of the hidden patches pasted) of the last epoch kept; None without."""
    from keras_convnextv2.analysis.reconstruction_frames import frames_in

    for epoch, path in reversed(frames_in(folder / FOLDER).items()):
        try:
            return epoch, embedded(_halves(read_picture(path))[1])
        except NotThere:
            continue
    return None


def _halves(frame):
    """(prediction of every patch, that of hidden ones pasted): the frame's upper and lower half."""
    width, height = frame.size
    middle = height // 2
    return frame.crop((0, 0, width, middle)), frame.crop((0, middle, width, height))


def _animation(frames):
    from keras_convnextv2.analysis import save_reconstruction_animation

    if len(frames) < 2:
        return None
    content = io.BytesIO()
    size = save_reconstruction_animation(content, frames)
    return embedded_bytes(content.getvalue(), "gif", size)


def _zoom(width):
    return min(max(_WIDTH // max(width, 1), 1), 4)


def _spread(values, most):
    """At most so many of a list, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return values
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]
