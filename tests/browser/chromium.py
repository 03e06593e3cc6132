"""Where Chromium is: `python -m tests.browser.chromium` prints its path, or fails with one line."""

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "there is no Chromium, which the tests of the web pages drive: install it (on Debian: apt-get "
    "install chromium), or set CHROMIUM to the path of Chromium or Chrome"
)


def find():
    """The path of the Chromium that CHROMIUM names, else of one on PATH; None if there is none."""
    named = os.environ.get("CHROMIUM")
    return next(filter(None, map(shutil.which, [named] if named else NAMES)), None)


if __name__ == "__main__":
    path = find()
    if path is None:
        sys.exit(MISSING)
    print(path)
