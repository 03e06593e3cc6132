"""Pictures of what FCMAE sees, predicts and completes."""

import numpy as np

_ROWS = ("original", "masked", "reconstruction", "pasted")
_GREY = 128
_GAP = 4
_LABEL_WIDTH = 96


def draw_reconstructions(fcmae, images, mean, std, hidden=None):
    """What `save_reconstructions` puts into its rows, as pixels.

    Args:
        fcmae: `FCMAE`.
        images: (B, H, W, C) float, normalised. Of 2 channels the first is shown in grey, of more
            than 3 the first three as red, green and blue.
        mean, std: C floats each, what the images were normalised with.
        hidden: optional (B, h, w), 1 = hidden.

    Returns:
        {"original", "masked", "reconstruction", "pasted"}: uint8 (B, H, W, 3) each, hidden pixels
        grey in "masked".
    """
    images = np.asarray(images, "float32")
    results = fcmae.reconstruct(images, hidden)
    height, width, channels = images.shape[1:]
    cells = results["hidden"]
    spread = np.kron(cells, np.ones((1, height // cells.shape[1], width // cells.shape[2])))

    def pixels(batch):
        restored = (batch * np.asarray(std) + np.asarray(mean)) * 255
        restored = np.clip(np.round(restored), 0, 255).astype("uint8")
        return restored[..., :3] if channels >= 3 else restored[..., :1].repeat(3, axis=-1)

    rows = {name: pixels(images if name == "original" else results[name]) for name in _ROWS}
    rows["masked"] = np.where(spread[..., None] == 1, np.uint8(_GREY), rows["masked"])
    return rows


def save_reconstructions(path, fcmae, images, mean, std, hidden=None, zoom=None):
    """Writes one PNG: a column an image; original, masked, reconstruction and pasted below.

    "Reconstruction" shows the prediction of every patch; visible patches are not in the loss, so
    only the hidden ones mean anything. "Pasted" is the prediction in its place among the visible
    patches.

    Args:
        path: the PNG file.
        fcmae: `FCMAE`.
        images: (B, H, W, C) float, normalised; of other C than 1 and 3 see there.
        mean, std: C floats each, what the images were normalised with.
        hidden: optional (B, h, w), 1 = hidden.
        zoom: int, side of an image's pixel in the picture; by default what makes an image about
            128 pixels high.
    """
    import PIL.Image
    import PIL.ImageDraw

    rows = draw_reconstructions(fcmae, images, mean, std, hidden)
    height, width = rows["original"].shape[1:3]
    zoom = zoom or max(128 // height, 1)
    cell_height, cell_width = height * zoom + _GAP, width * zoom + _GAP
    size = (_LABEL_WIDTH + cell_width * len(images), cell_height * len(rows) + _GAP)
    picture = PIL.Image.new("RGB", size, "white")
    draw = PIL.ImageDraw.Draw(picture)
    for row, (name, tiles) in enumerate(rows.items()):
        top = _GAP + row * cell_height
        draw.text((6, top + cell_height // 2 - 8), name, fill="black")
        for column, image in enumerate(tiles):
            tile = PIL.Image.fromarray(image).resize(
                (width * zoom, height * zoom), PIL.Image.Resampling.NEAREST
            )
            picture.paste(tile, (_LABEL_WIDTH + column * cell_width, top))
    picture.save(path, format="PNG")
