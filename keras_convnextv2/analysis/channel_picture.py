"""The picture of feature collapse: what single channels of a block see of one image."""

import math

import numpy as np

from keras_convnextv2.analysis.figures import new_figure, plain, save

NUM_CHANNELS = 64
_COLUMNS = 8  # of a sheet
_SHEETS_A_ROW = 4
_TILE = 24  # least pixels of a channel's side before the picture is scaled
_PERCENTILE = 99
_TICKS = 4  # of a colour bar; more would run into each other


def save_channel_maps(path, maps, count=NUM_CHANNELS, title=""):
    """Writes a PNG: one small square a channel, for each model a sheet.

    64 channels are shown, evenly from the first to the last. All channels of a sheet share one
    colour scale, from their smallest value to their 99th percentile (larger values have the same
    colour). So a dead channel is an even square in the colour of 0, a saturated one an even bright
    square, and channels that repeat each other look alike. Scales of different sheets differ, since
    GRN changes sizes. Source: arXiv 2301.00808, figure 3, which does not say its scale.

    Args:
        path: of the file.
        maps: {model's name: float (h, w, channels) of one image}.
        count: int, channels to show; all where there are fewer.
        title: str, above all.

    Raises:
        ValueError: no maps, of another rank, or values that are not finite.
        ModuleNotFoundError: matplotlib is not installed.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from keras_convnextv2.analysis import save_channel_maps
        >>> maps = np.random.default_rng(0).normal(size=(7, 7, 160))
        >>> save_channel_maps("channels.png", {"mine": maps})
        >>> Path("channels.png").exists()
        True
    """
    if not maps:
        raise ValueError("There are no maps to draw.")
    sheets = {name: _sheet(of_model, count) for name, of_model in maps.items()}
    columns = min(len(sheets), _SHEETS_A_ROW)
    rows = math.ceil(len(sheets) / columns)
    figure = new_figure(4.4 * columns, 4.6 * rows)
    from matplotlib.ticker import MaxNLocator  # after the error that names the extra

    if title:
        figure.suptitle(plain(title, 80), fontsize=11)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(sheets) :]:
        axes.remove()
    for axes, (name, (sheet, high)) in zip(panels, sheets.items(), strict=False):
        low = np.nanmin(sheet)
        image = axes.imshow(sheet, vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(plain(name, 40), fontsize=10)
        bar = figure.colorbar(
            image,
            ax=axes,
            orientation="horizontal",
            shrink=0.8,
            extend="max",
            ticks=MaxNLocator(_TICKS),
        )
        bar.ax.tick_params(labelsize=8)
    save(figure, path)


def _sheet(maps, count):
    """(squares of channels side by side with NaN between, the value of the brightest colour)."""
    maps = np.asarray(maps, "float64")
    if maps.ndim != 3 or 0 in maps.shape or count < 1:
        raise ValueError(f"Maps must be (h, w, channels). Received: shape {maps.shape}")
    if not np.isfinite(maps).all():
        raise ValueError("Maps hold NaN or infinite values. Look at the weights or the image.")
    height, width, channels = maps.shape
    places = np.linspace(0, channels - 1, min(count, channels)).round().astype(int)
    chosen = maps[..., places]
    zoom = math.ceil(_TILE / min(height, width))
    tiles = chosen.repeat(zoom, axis=0).repeat(zoom, axis=1)
    gap = max(zoom * max(height, width) // 12, 1)
    tiles = np.pad(tiles, [(0, gap), (0, gap), (0, 0)], constant_values=np.nan)
    rows = math.ceil(len(places) / _COLUMNS)
    empty = rows * _COLUMNS - len(places)
    tiles = np.pad(tiles, [(0, 0), (0, 0), (0, empty)], constant_values=np.nan)
    side_y, side_x = tiles.shape[:2]
    tiles = tiles.reshape(side_y, side_x, rows, _COLUMNS).transpose(2, 0, 3, 1)
    sheet = tiles.reshape(rows * side_y, _COLUMNS * side_x)  # rows of squares
    return sheet[:-gap, :-gap], np.percentile(chosen, _PERCENTILE)
