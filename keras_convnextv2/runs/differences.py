"""How the settings of a saved training differ from those of now."""

import json

import keras

_MOST = 5  # that are told


def settings_of(model):
    """What a training must have in common with the one that it goes on from, as JSON keeps it.

    Args:
        model: a compiled model.
    """
    config = keras.saving.serialize_keras_object(model)
    compiled = config.pop("compile_config", None) or {}
    settings = {
        "model": config,
        "loss": compiled.get("loss"),
        "optimizer": _arguments(model.optimizer),
        "trainable": [place for place, v in enumerate(model.variables) if v.trainable],
    }
    return json.loads(json.dumps(settings))


def _arguments(optimizer):
    """Without names of classes: a backend may have one of its own."""
    config = optimizer.get_config()
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        config["inner_optimizer"] = _arguments(inner)
    return config


def differences(saved, now):
    """One line for each setting that differs, of a few at most.

    Args:
        saved, now: what `settings_of` gives.

    Returns:
        List of str.
    """
    lines = list(_lines(saved, now, ""))
    more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return lines[:_MOST] + more


def _lines(saved, now, place):
    if isinstance(saved, dict) and isinstance(now, dict):
        for name in [*now, *(name for name in saved if name not in now)]:
            inner = f"{place}.{name}" if place else name
            if name == "name":  # Keras numbers them
                continue
            yield from _lines(saved.get(name), now.get(name), inner)
    elif saved != now:
        yield f"{place} was {_shown(saved)}, is {_shown(now)}"


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
