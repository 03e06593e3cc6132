r"""Makes a page of a run, of several beside each other, or of the paper's experiments in small.

    python -m recipes.report --run=runs/pretrained --output=report.html
    python -m recipes.report --run=runs/finetuned --run=runs/scratch
    python -m recipes.report --ablations=ablations

The page is one file that needs no network: curves are drawn within it, pictures are part of it. It
is read on a phone or on paper as well, light or dark. Of a run it has the result, the curves, what
probes and measures found, reconstructions over epochs, the test of a classifier, settings and
versions; of several which settings differ, and their results and curves in one picture; of
tools.reproduce_ablations each group beside the paper's numbers. A run may be still going, or have
lost files: the page shows what is there and names the rest. Nothing in the run's folder is changed.
"""

from pathlib import Path

from absl import flags

from . import program

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "run",
    [],
    "Folder of a run, or of recipes.evaluate; more than one are compared. Default: none.",
)
flags.DEFINE_string("ablations", None, "Folder of tools.reproduce_ablations. Default: none.")
flags.DEFINE_string(
    "output", "report.html", "The page. An earlier report there is replaced, no other file."
)
flags.DEFINE_bool("json", False, "Print the result as one JSON object.")

_MARK = '<meta name="generator" content="keras-convnextv2 report">'
_MARK_WITHIN = 2000  # bytes from the beginning


def main():
    if bool(FLAGS.run) == bool(FLAGS.ablations):
        raise ValueError("Give --run, once or several times, or --ablations.")
    path = Path(FLAGS.output)
    _check(path)

    from keras_convnextv2.whole_files import whole_file

    from . import report_page

    if FLAGS.ablations:
        page = report_page.of_ablations(FLAGS.ablations)
    elif len(FLAGS.run) == 1:
        page = report_page.of_run(FLAGS.run[0])
    else:
        page = report_page.of_runs(FLAGS.run)
    with whole_file(path) as unfinished:
        unfinished.write_text(page.html, encoding="utf-8")
    result = {"report": str(path), "bytes": len(page.html.encode())}
    program.print_result({**result, **({"absent": page.absent} if page.absent else {})}, FLAGS.json)


def _check(path):
    """Raises ValueError where something else than a report would be replaced."""
    if path.is_dir():
        raise ValueError(f"--output: {path} is a folder. Name a file, such as report.html.")
    if not path.exists():
        return
    with path.open("rb") as file:
        if _MARK.encode() not in file.read(_MARK_WITHIN):
            raise ValueError(
                f"--output: {path} is no report of this program, and is not replaced. "
                "Name another file."
            )


if __name__ == "__main__":
    program.run(main)
