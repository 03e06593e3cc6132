"""Libraries that stand beside this one, each an optional extra."""

import importlib


def import_partner(package, extra):
    """The module `package`, or an error that says how to install it.

    Args:
        package: str, the name that is imported.
        extra: str, the extra of this package that installs it.

    Raises:
        ModuleNotFoundError: it, or a package that it needs, is not installed; `name` is `package`.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = "" if error.name == package else f" without {error.name}"
        raise ModuleNotFoundError(
            f"The package {package} cannot be imported{missing}. Install it: "
            f"pip install 'keras-convnextv2[{extra}]'",
            name=package,
        ) from error
