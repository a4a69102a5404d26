"""Settings of a model from the command line: presets, --time, and --set key=value."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import parse_duration, suggestion

__all__ = [
    "Preset",
    "as_options",
    "combine",
    "in_words",
    "nearest_setting",
    "parse_settings",
    "parse_value",
    "setting_names",
    "with_epsilon",
]


class Preset(StrEnum):
    """How much time a training may take."""

    fast = "fast"
    good = "good"
    best = "best"


#: What each preset sets. Averaging weights costs little and smooths the last steps; an average over a long memory needs
#: a long training.
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"max_time": "1m", "weight_averaging": 0.99},
    "good": {"max_time": "5m", "weight_averaging": 0.995},
    "best": {"max_time": "30m", "weight_averaging": 0.999},
}


def setting_names(model: str) -> list[str]:
    """Names of the settings of a model.

    Raises:
        InvalidParameterError: If there is no such model.
    """
    import latentkit.estimators  # noqa: F401 (registers the models)
    from latentkit.estimators.registry import estimators

    return sorted(estimators[model]().get_params(deep=False))


def nearest_setting(word: str, names: Iterable[str]) -> str:
    """The name that is most like a word, or an empty text."""
    near = difflib.get_close_matches(word, list(names), n=1)
    return near[0] if near else ""


def parse_settings(texts: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Return settings from texts such as ``"latent_dim=8"``; the values are YAML.

    Args:
        texts: As typed.
        names: Settings that there are.
    Raises:
        InvalidParameterError: If a text is no key=value, or the key is unknown.

    Example:
        >>> parse_settings(
        ...     ["encoder=[500, 500]", "likelihood_options.variance=feature"], ["encoder", "likelihood_options"]
        ... )
        {'encoder': (500, 500), 'likelihood_options': {'variance': 'feature'}}
    """
    settings: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        key, dot, inner = path.strip().partition(".")
        key = key.replace("-", "_")
        if not equals or not key:
            raise InvalidParameterError(f"--set takes key=value, such as --set latent_dim=8; got {text!r}.")
        if key not in names:
            raise InvalidParameterError(
                f"--set: there is no setting {key!r}.{suggestion(key, names)} Choose one of: {', '.join(names)}."
            )
        parsed = parse_value(text, value)
        if dot:
            before = settings.get(key)
            settings[key] = {**(before if isinstance(before, dict) else {}), inner: parsed}
        else:
            settings[key] = parsed
    return settings


def combine(preset: str, time: str | None, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the settings of a fit: the preset's, overridden by --time, overridden by --set.

    Epochs that were asked for lift the preset's time budget; a time that was asked for does not.
    """
    combined: dict[str, Any] = {**PRESETS[preset], "random_state": seed}
    if "max_epochs" in settings:
        del combined["max_time"]
    if time is not None:
        parse_duration("--time", time)
        combined["max_time"] = time
    return {**combined, **settings}


def with_epsilon(model: str, settings: Mapping[str, Any], epsilon: float | None) -> dict[str, Any]:
    """Return settings with that of ``--epsilon``.

    Raises:
        InvalidParameterError: If the model cannot be trained with differential privacy, or --set says otherwise.

    Example:
        >>> with_epsilon("vae", {"beta": 2.0}, 3.0)
        {'beta': 2.0, 'epsilon': 3.0}
    """
    if epsilon is None:
        return dict(settings)
    if "epsilon" not in setting_names(model):
        raise InvalidParameterError(
            f"--epsilon trains with differential privacy, and --model {model} cannot. Use --model vae, or leave it out."
        )
    if settings.get("epsilon", epsilon) != epsilon:
        raise InvalidParameterError(
            f"--epsilon {epsilon:g} and --set epsilon={settings['epsilon']} say two things. Leave one of them out."
        )
    return {**settings, "epsilon": epsilon}


def parse_value(text: str, value: str) -> Any:
    """Return the value that YAML reads, with tuples for its lists; `text` is what was typed, for the message.

    Raises:
        InvalidParameterError: If it is no YAML.
    """
    import yaml

    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InvalidParameterError(
            f"--set {text}: the value is no YAML. Quote it for the shell, as in --set 'encoder=[500, 500]'."
        ) from error
    return _numbers(parsed)


def in_words(value: Any) -> str:
    """Return a value as :func:`parse_value` takes it, numbers with four figures that count.

    Example:
        >>> [in_words(value) for value in ((64, 32), 0.00012345, "flow", None)]
        ['[64,32]', '0.0001234', 'flow', 'null']
    """
    import json

    if isinstance(value, tuple):
        return "[" + ",".join(map(in_words, value)) + "]"
    if isinstance(value, float):
        value = float(f"{value:.4g}")
    return value if isinstance(value, str) else json.dumps(value)


def as_options(settings: Mapping[str, Any]) -> str:
    """Return settings as they are typed, from which :func:`parse_settings` makes them again.

    Example:
        >>> as_options({"beta": 1.0, "likelihood_options": {"variance": "shared"}})
        '--set beta=1.0 --set likelihood_options.variance=shared'
    """
    words = []
    for name, value in settings.items():
        inner = (
            {f"{name}.{key}": item for key, item in value.items()}
            if value and isinstance(value, dict)
            else {name: value}
        )
        words += [shlex.quote(f"{key}={in_words(item)}") for key, item in inner.items()]
    return " ".join(f"--set {word}" for word in words)


def _numbers(value: Any) -> Any:
    """YAML 1.1 takes 1e-3 for a text, and knows no tuples."""
    if isinstance(value, list):
        return tuple(_numbers(item) for item in value)
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, str):
        try:
            return float(value) if any(digit.isdigit() for digit in value) else value
        except ValueError:
            return value
    return value
