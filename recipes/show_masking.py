r"""A local page that shows a masked image being reconstructed, with a slider for the mask ratio.

    pip install -e '.[web]'
    python -m recipes.show_masking --weights=runs/pretrained/checkpoints

Opens http://127.0.0.1:7860/, for this machine alone, and needs no network. Choose a picture: the
page shows it as the model's images are cut, its visible patches, what the model predicts of every
patch, and the prediction in its place among the visible patches. Any ratio works, also another
than that of the pretraining, for which the model was not trained.
"""

import contextlib
import fractions
import html
import logging
import time
from pathlib import Path

import numpy as np
from absl import flags

from . import image_files, image_memory, normalisation, pixel_range, program, saved_models

FLAGS = flags.FLAGS

flags.DEFINE_string("weights", None, "An FCMAE: the checkpoints of a pretraining.", required=True)
flags.DEFINE_integer("port", 7860, "Of the page.", lower_bound=1)
image_memory.define_flags()
flags.adopt_module_key_flags(image_memory)
normalisation.define_flags()
flags.adopt_module_key_flags(normalisation)
pixel_range.define_flags()
flags.adopt_module_key_flags(pixel_range)

_STEP = 0.05  # of the slider
_PICTURE_SIDE = 320  # pixels, of the shorter side of a picture on the page, at least
_TITLES = {
    "original": "Original, cut to the model's size",
    "masked": "Masked, as the model sees it",
    "reconstruction": "Prediction of every patch",
    "pasted": "Hidden patches predicted",
}


class Masking:
    """An FCMAE that reconstructs one image file at a time, under any mask ratio."""

    def __init__(self, weights):
        import keras_convnextv2 as kc

        fcmae = saved_models.load(weights)
        if not isinstance(fcmae, kc.FCMAE):
            raise ValueError(
                f"--weights: {weights} holds no FCMAE, which alone has a decoder. Name the "
                "checkpoints of a pretraining."
            )
        # This path takes any number of hidden patches in one compiled function; results are equal.
        fcmae.encoder_path = "dense"
        *self.image_size, self.channels = fcmae.backbone.image_shape
        image_files.check_channels(self.channels, f"--weights: {weights}")
        normalisation.settle(fcmae.backbone, weights)
        self.mean, self.std = fcmae.backbone.normalisation
        self.pixel_range = pixel_range.known(fcmae.backbone.pixel_range, weights)
        self.fcmae = fcmae
        # The first call compiles, which the first picture would wait for.
        black = np.zeros((1, *fcmae.backbone.image_shape), "float32")
        fcmae.reconstruct(black, self.hidden(fcmae.mask_ratio, 0))

    def num_hidden(self, ratio):
        """How many patches a ratio hides: as in training, but at least one and not all."""
        num_patches = self.fcmae.num_patches
        visible = int(num_patches * (1 - fractions.Fraction(str(round(float(ratio), 4)))))
        return num_patches - min(max(visible, 1), num_patches - 1)

    def hidden(self, ratio, seed):
        """The mask (1, h, w) of a ratio. A larger ratio of one seed hides more of the same."""
        from keras_convnextv2.fcmae.masking import draw_noise, hide_all_but, stream_seed

        num_patches = self.fcmae.num_patches
        noise = draw_noise(stream_seed(int(seed), "show"), 0, 0, 1, num_patches)
        hidden = hide_all_but(num_patches - self.num_hidden(ratio), noise)

        import keras

        return keras.ops.convert_to_numpy(hidden).reshape(1, *self.fcmae.grid)

    def draw(self, path, ratio, seed):
        """{name in `_TITLES`: uint8 (H, W, 3)} of an image file."""
        from keras_convnextv2.analysis.reconstructions import draw_reconstructions
        from keras_convnextv2.data import preprocess
        from keras_convnextv2.data.pixel_survey import find_pixel_range

        used_range = find_pixel_range([path], self.pixel_range)
        pixels = image_files.read(path, self.image_size, self.channels, used_range)[None]
        images = preprocess(pixels, self.mean, self.std)
        hidden = self.hidden(ratio, seed)
        rows = draw_reconstructions(self.fcmae, images, self.mean, self.std, hidden)
        zoom = -(-_PICTURE_SIDE // min(self.image_size))
        return {name: rows[name][0].repeat(zoom, axis=0).repeat(zoom, axis=1) for name in _TITLES}


def make_page(masking):
    """The page of a `Masking`, as `gradio.Blocks` that has not been launched."""
    import gradio

    from keras_convnextv2.data import ImageSourceError

    def show(path, ratio, seed):
        nothing = [None] * len(_TITLES)
        if path is None:
            return [*nothing, _count(masking, ratio)]
        try:
            pictures = masking.draw(path, ratio, seed or 0)
        except ImageSourceError:
            name = html.escape(Path(path).name)
            return [*nothing, f"**{name} cannot be read as a picture. Choose another file.**"]
        return [*pictures.values(), f"{html.escape(Path(path).name)}: {_count(masking, ratio)}"]

    # Uploaded files and pictures made of them are deleted after an hour and when the page ends.
    options = {"analytics_enabled": False, "delete_cache": (600, 3600)}
    with gradio.Blocks(title="A masked image, reconstructed", **options) as page:
        gradio.Markdown(f"# A masked image, reconstructed\n{_explain(masking)}")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                file = gradio.UploadButton(
                    "Choose a picture", file_types=["image"], variant="primary", elem_id="picture"
                )
                ratio = gradio.Slider(
                    minimum=_STEP,
                    maximum=1 - _STEP,
                    step=_STEP,
                    value=round(round(masking.fcmae.mask_ratio / _STEP) * _STEP, 2),
                    label="Mask ratio",
                    elem_id="ratio",
                    buttons=[],
                )
                count = gradio.Markdown(_count(masking, ratio.value), elem_id="count")
                seed = gradio.Number(
                    value=0, precision=0, minimum=0, label="Mask number", elem_id="seed"
                )
                another = gradio.Button("Another mask", elem_id="another")
            with gradio.Column(scale=2, min_width=320):
                names = list(_TITLES)
                outputs = []
                for pair in (names[:2], names[2:]):
                    with gradio.Row():
                        outputs += [_make_picture(name) for name in pair]
        gradio.on(
            [file.upload, ratio.change, seed.change],
            show,
            [file, ratio, seed],
            [*outputs, count],
            trigger_mode="always_last",
            show_progress="hidden",  # it would flicker with each move of the slider
            api_visibility="private",
        )
        another.click(lambda seed: (seed or 0) + 1, seed, seed, api_visibility="private")
    return page


def _make_picture(name):
    import gradio

    with gradio.Column(min_width=200):
        gradio.Markdown(f"**{_TITLES[name]}**")
        return gradio.Image(
            format="png",
            interactive=False,
            show_label=False,
            buttons=["download"],
            alt_text=_TITLES[name],
            height=_PICTURE_SIDE,
            elem_id=name,
        )


def _explain(masking):
    fcmae = masking.fcmae
    (height, width), (rows, columns) = masking.image_size, fcmae.grid
    text = (
        f"Images of {width} x {height} pixels in {columns} x {rows} patches; pretrained with "
        f"{fcmae.mask_ratio:.0%} of them hidden. Of the prediction only the hidden patches mean "
        "something: visible ones are not in the loss."
    )
    if fcmae.normalize_targets:
        text += " A patch's mean and contrast are not predicted, but taken from the original."
    return text


def _count(masking, ratio):
    return f"{masking.num_hidden(ratio)} of {masking.fcmae.num_patches} patches hidden"


def launch(page, port, **options):
    """Serves a page on 127.0.0.1 alone, without anything from or to the network."""
    import gradio

    return page.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        quiet=True,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        theme=gradio.themes.Default(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        **options,
    )


def main():
    import gradio  # noqa: F401 - before the weights are read, if it is missing

    page = make_page(Masking(FLAGS.weights))
    logging.getLogger("httpx").setLevel(logging.WARNING)  # by which gradio asks its own page
    try:
        launch(page, FLAGS.port, prevent_thread_lock=True)
    except OSError as error:
        raise ValueError(f"--port: {FLAGS.port} cannot be used ({error}).") from error
    print(f"http://127.0.0.1:{FLAGS.port}/ (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    page.close(verbose=False)


if __name__ == "__main__":
    program.run(main)
