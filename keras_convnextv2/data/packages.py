"""Packages that only some files need."""

import importlib

from keras_convnextv2.data.image_source import ImageSourceError


def require(name, extra, reason, does="reads"):
    """Imports a package.

    Args:
        name: of the package, as it is imported.
        extra: of keras-convnextv2, which brings it.
        reason: str, the beginning of the error: what needs it.
        does: str, what the package does with that.

    Raises:
        ImageSourceError: it is not installed; names it and the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        raise ImageSourceError(
            f"{reason}, which the package {package} {does}. It cannot be imported ({error}). "
            f"Install it: pip install 'keras-convnextv2[{extra}]'"
        ) from error
