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
    names = ", ".join(WEIGHTS_NAMES)
    if _client(handle).constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"HF_HUB_OFFLINE is set, and the cache holds no weights of {handle} ({names}). Unset "
            "it, or load them once where there is a connection."
        )
    raise WeightsError(f"{handle} holds no weights: none of {names}.")


def _client(handle):
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{handle} needs huggingface_hub: pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _fetch(handle, repository, revision, name):
    """Path of a file of a repository, or None where it has none (offline: the cache)."""
    client = _client(handle)
    try:
        return Path(client.hf_hub_download(repository, name, revision=revision))
    except client.errors.LocalEntryNotFoundError as error:
        if client.constants.HF_HUB_OFFLINE:
            return None
        raise WeightsError(
            f"{handle}: the hub does not answer, and {name} is not in the cache. Try again later. "
            f"Cause: {_reason(error.__cause__ or error)}"
        ) from error
    except client.errors.EntryNotFoundError:
        return None
    except (client.errors.HfHubHTTPError, client.errors.HFValidationError) as error:
        # A wrong name, no access: the client says what to do.
        raise WeightsError(f"{handle}: {name} was refused: {_reason(error)}") from error
    except Exception as error:  # of many types, some of the HTTP library's
        raise WeightsError(
            f"{handle}: {name} was not downloaded: {_reason(error)}. Try again."
        ) from error


def _reason(error):
    """An error's message in one line."""
    return " ".join(str(error).split()).rstrip(".")
