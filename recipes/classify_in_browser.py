r"""Puts together a web page that classifies pictures in the browser, from an exported classifier.

    python -m recipes.export --weights=runs/finetuned --output=model.onnx
    npm ci --ignore-scripts --prefix recipes/web
    python -m recipes.classify_in_browser --model=model.onnx --output_dir=site --serve

The page runs a .onnx by ONNX Runtime and a .tflite by LiteRT, in WebAssembly on the visitor's CPU.
The folder holds all that it needs, so that any server of static files can serve it (--serve does on
this machine alone); the page loads nothing from elsewhere, and no picture leaves the browser. It
reads pictures as recipes.predict does. A server that sends the two headers of `HEADERS`, as --serve
does, lets the model use several threads.
"""

import contextlib
import functools
import http.server
import json
import shutil
import sys
from pathlib import Path

from absl import flags

from . import artefacts, image_files, model_flags, program
from .printable import printable

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "A classifier as .onnx or .tflite file.", required=True)
flags.DEFINE_string("output_dir", None, "Folder for the site, new or made by this.", required=True)
flags.DEFINE_string(
    "image_size",
    None,
    "Size in pixels, H or HxW, needed for a model that takes any. Default: the model's.",
)
flags.DEFINE_bool("serve", False, "Serve the site to this machine, until Ctrl-C.")
flags.DEFINE_integer("port", 8000, "Of --serve; 0: any that is free.", lower_bound=0)
artefacts.define_flags()
flags.adopt_module_key_flags(artefacts)

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
PAGE = Path(__file__).parent / "web"
PAGE_SCRIPTS = ("classify.js", "pixels.js", "probabilities.js", "runtimes.js")
PAGE_FILES = ("index.html", "style.css", "icon.svg", *PAGE_SCRIPTS)
# Of each kind of artefact: files in node_modules, and what they are called in the site.
RUNTIME_FILES = {
    "onnx": {
        "onnxruntime-web/dist/ort.wasm.min.mjs": "ort.wasm.min.mjs",
        "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.mjs",
        "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    },
    "litert": {
        "@litertjs/core/dist/index.js": "litert.js",
        "@litertjs/wasm-utils/dist/index.js": "wasm-utils.js",
        **{
            f"@litertjs/core/wasm/{name}": name
            for build in ("compat", "threaded", "")
            for ending in ("js", "wasm")
            for name in [f"litert_wasm_{build}{'_' if build else ''}internal.{ending}"]
        },
    },
}
_BARE_IMPORT = 'from "@litertjs/wasm-utils"'  # which a browser cannot resolve by itself
_LARGEST_MODEL = 2**31  # bytes; WebAssembly's memory holds little more
_MARK = "artefact.json"


def main():
    folder = Path(FLAGS.output_dir)
    size = model_flags.given_image_size()
    make_site(Path(FLAGS.model), folder, size, FLAGS.trusted)
    print(f"The site is in {printable(folder)}; serve that folder as it is.")
    if FLAGS.serve:
        server = make_server(folder, FLAGS.port)
        print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def make_site(model_path, folder, image_size=None, trusted=False):
    """Writes the site of a model into a folder.

    Args:
        model_path: Path of a .onnx or .tflite file.
        folder: Path, new, empty, or of an earlier site.
        image_size: (H, W) to give the model, where it takes any.
        trusted: as in `open_artefact`.

    Raises:
        ValueError: a model that the page cannot run, a folder of other things, or no runtime.
    """
    from keras_convnextv2.export.runtimes import kind_of

    kind = kind_of(model_path)
    if kind not in RUNTIME_FILES:
        raise ValueError(
            f"--model: the page runs .onnx and .tflite files. Received: {model_path}. Make one "
            "with recipes.export."
        )
    artefact = artefacts.open_model(str(model_path), trusted=trusted)
    description = _describe(artefact, model_path, image_size)
    if description["input"].get("pixel_range"):
        print(
            f"{model_path} was trained on pixels of more than 8 bits; a browser gives it 8 bits of "
            "each, without their pixel range.",
            file=sys.stderr,
        )
    if model_path.stat().st_size >= _LARGEST_MODEL or _companion(model_path).exists():
        raise ValueError(f"--model: {model_path} is too large for a browser (2 GB).")
    runtime = _runtime_files(kind)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output_dir: {folder} is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).is_file():
        raise ValueError(
            f"--output_dir: {folder} holds other things than a site of this program. Name a new "
            "folder."
        )
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "runtime").mkdir(parents=True)
    (folder / _MARK).write_text(json.dumps(description, indent=1, allow_nan=False) + "\n")
    for name in PAGE_FILES:
        shutil.copyfile(PAGE / name, folder / name)
    for source, name in runtime.items():
        shutil.copyfile(source, folder / "runtime" / name)
    if kind == "litert":
        script = folder / "runtime" / "litert.js"
        text = script.read_text(encoding="utf-8")
        text = text.replace(_BARE_IMPORT, 'from "./wasm-utils.js"')
        script.write_text(text, encoding="utf-8")
    shutil.copyfile(model_path, folder / description["file"])


def make_server(folder, port):
    """An HTTP server of a folder, on 127.0.0.1 only; not started."""
    handler = functools.partial(_IsolatingHandler, directory=str(folder))
    try:
        return _Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise ValueError(f"--port: {port} cannot be used ({error.strerror}).") from error


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # a browser may leave early
            super().handle_error(request, client_address)


class _IsolatingHandler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def send_head(self):
        try:
            return super().send_head()
        except ValueError:  # of a path that no file can have, as one with a null byte
            self.send_error(http.HTTPStatus.NOT_FOUND, "File not found")
            return None

    def end_headers(self):
        for name, value in {**HEADERS, "Cache-Control": "no-cache"}.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format, *arguments):
        pass


def _describe(artefact, model_path, image_size):
    """What the page is told of the artefact."""
    metadata = artefact.metadata
    if metadata["output"]["kind"] == "features":
        raise ValueError(
            f"--model: {model_path} is a backbone, which tells no classes apart. Export a "
            "fine-tuned classifier."
        )
    shape = metadata["input"]["shape"]
    image_files.check_channels(shape[-1], str(model_path))
    if artefact.kind == "litert" and None in shape:
        raise ValueError(
            f"--model: LiteRT in a browser runs fixed sizes only, and {model_path} takes any. "
            "Export with --batch_size=1 and an --image_size, or as .onnx."
        )
    height, width = artefacts.image_size_for(artefact, str(model_path), image_size)
    variant = metadata["variant"]
    if not isinstance(variant, str):
        depths, widths = (", ".join(map(str, variant[part])) for part in ("depths", "widths"))
        variant = f"of depths {depths} and widths {widths}"
    licence = metadata["licence"]
    return {
        **metadata,
        "kind": artefact.kind,
        "name": model_path.name,
        "file": f"model{model_path.suffix}",
        "image_size": [height, width],
        "summary": f"ConvNeXt V2 {variant}, {metadata['precision']}, {width} x {height} pixels",
        "licence_text": f"Licence of the model: {licence or 'not stated'}.",
    }


def _companion(model_path):
    """Where an ONNX file of over 2 GB keeps its weights."""
    return model_path.with_name(f"{model_path.name}.data")


def _runtime_files(kind):
    """{path: name in the site} of a kind's runtime."""
    files = {PAGE / "node_modules" / source: name for source, name in RUNTIME_FILES[kind].items()}
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise ValueError(
            f"the browser's runtimes are not installed ({missing.name} is not there): "
            "npm ci --ignore-scripts --prefix recipes/web in the clone (it needs Node.js)."
        )
    return files


if __name__ == "__main__":
    program.run(main)
