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
    config.pop("compile_config", None)
    settings = {
        "model": config,
        "loss": _loss(model),
        "optimizer": _arguments(model.optimizer),
        "trainable": [place for place, v in enumerate(model.variables) if v.trainable],
    }
    return json.loads(json.dumps(settings))


def _loss(model):
    """The loss by its arguments; functions by their names, since their code has line numbers."""
    return keras.tree.map_structure(_named, model.loss)


def _named(loss):
    if not isinstance(loss, keras.losses.Loss):
        return getattr(loss, "__name__", loss if isinstance(loss, str) else type(loss).__name__)
    plain = (str, int, float, bool)
    arguments = {name: v for name, v in vars(loss).items() if isinstance(v, plain)}
    arguments |= {
        name: v for name, v in getattr(loss, "_fn_kwargs", {}).items() if isinstance(v, plain)
    }
    return {"class": type(loss).__name__, **arguments}


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
