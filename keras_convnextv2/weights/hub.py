"""Weights on the Hugging Face hub, through its own client: cache, offline mode and tokens."""

import re
from pathlib import Path

from keras_convnextv2.weights.errors import WeightsError
from keras_convnextv2.weights.folders import CONFIG_NAME, INDEX_NAME, WEIGHTS_NAMES, part_names

SCHEME = "hf://"


def download(handle):
    """Downloads a model's config and weights, or finds them in the client's cache.

    Args:
        handle: "hf://owner/name" or "hf://owner/name@revision".

    Returns:
        Path of the folder that holds them.

    Raises:
        WeightsError: no such model, no weights in it, no access or no connection.
    """
    match = re.fullmatch(rf"{SCHEME}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", handle)
    if not match:
        raise WeightsError(
            f"Expected {SCHEME}owner/name or {SCHEME}owner/name@revision. Received: {handle}"
        )
    _fetch(handle, *match.groups(), CONFIG_NAME)
    for name in WEIGHTS_NAMES:
        found = _fetch(handle, *match.groups(), name)
        if found is None:
            continue
        for part in part_names(found) if name == INDEX_NAME else ():
            if _fetch(handle, *match.groups(), part) is None:
                raise WeightsError(f"{handle} lacks {part}, a part of its weights.")
        return found.parent
    raise WeightsError(
        f"{handle} has none of {', '.join(WEIGHTS_NAMES)}, or, with HF_HUB_OFFLINE set, none of "
        "them in the cache."
    )


def _fetch(handle, repository, revision, name):
    """Path of a file of a repository, or None where it has none (offline: the cache)."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{handle} needs huggingface_hub: pip install huggingface_hub"
        ) from error
    try:
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            return None
        raise WeightsError(
            f"{handle}: the hub cannot be reached, and {name} is not in the cache."
        ) from error
    except errors.EntryNotFoundError:
        return None
    # A wrong name, no access, a download cut short: of many types, some of the HTTP library's.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{handle}: {name} was not downloaded: {reason}") from error
