"""All programs under one name: `keras-convnextv2 pretrain --output_dir=...`.

That command comes with the package; `python -m recipes` is the same in a clone. Each program is
also a module, as in `python -m recipes.pretrain`.
"""

import runpy
import sys

PROGRAMS = {
    "pretrain": "pretrain a backbone on images without labels",
    "finetune": "train a classifier, from pretrained weights or from scratch",
    "evaluate": "measure a classifier or a pretraining on images",
    "linear_probe": "measure features without training them",
    "report": "a page of a run, of several, or of the paper's experiments",
    "predict": "classify image files with any saved model or export",
    "export": "write a model for another runtime, and try it there",
    "show_masking": "a page that shows masks and reconstructions",
    "classify_in_browser": "a page that classifies with an export",
    "demo": "the main job from end to end on embedded images",
}


def main():
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "-help", "--help"):
        print(_usage())
        return
    if words[0] not in PROGRAMS:
        print(f"There is no program {ascii(words[0])}.\n\n{_usage()}", file=sys.stderr)
        sys.exit(2)
    sys.argv = words  # the program's own name is set by runpy
    try:
        runpy.run_module(f"{__package__}.{words[0]}", run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if error.name != "absl":
            raise
        print(
            "The programs need more than the package: pip install 'keras-convnextv2[recipes]'.",
            file=sys.stderr,
        )
        sys.exit(2)


def _usage():
    lines = [f"  {name:<20} {what}" for name, what in PROGRAMS.items()]
    return "\n".join(
        ["usage: keras-convnextv2 PROGRAM --FLAG=VALUE ... (PROGRAM --help lists its flags)", ""]
        + lines
    )


if __name__ == "__main__":
    main()
