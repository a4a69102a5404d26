"""Checking options: what is allowed, said once, with messages that tell what to do."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

from latentkit.core.errors import InvalidParameterError

__all__ = ["check_choice", "check_integer", "check_real", "parse_duration", "suggestion"]

_DURATION = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)\s*h)?\s*(?:(?P<m>\d+(?:\.\d+)?)\s*m(?:in)?)?\s*(?:(?P<s>\d+(?:\.\d+)?)\s*s)?"
)


def suggestion(word: str, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest option, or an empty string where none is near.

    Example:
        >>> suggestion("gausian", ["gaussian", "bernoulli"])
        " Did you mean 'gaussian'?"
        >>> suggestion("zebra", ["gaussian", "bernoulli"])
        ''
    """
    near = difflib.get_close_matches(word, list(options), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_real(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    inclusive: tuple[bool, bool] = (True, True),
    hint: str = "",
) -> float:
    """Return `value` as a finite float within its interval.

    Raises:
        InvalidParameterError: If it is not a real number or lies outside; the message shows the interval and `hint`.

    Example:
        >>> check_real("beta", 4, low=0.0)
        4.0
        >>> check_real("beta", -1.0, low=0.0, hint="Use 0 to drop it.")
        Traceback (most recent call last):
            ...
        latentkit.core.errors.InvalidParameterError: beta must be a float in [0, inf); got -1.0. Use 0 to drop it.
    """
    left, right = inclusive[0] and low != -math.inf, inclusive[1] and high != math.inf
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        number = float(value)
        if (number >= low if left else number > low) and (number <= high if right else number < high):
            return number
    interval = f"{'[' if left else '('}{low:g}, {high:g}{']' if right else ')'}"
    raise InvalidParameterError(f"{name} must be a float in {interval}; got {value!r}.{' ' + hint if hint else ''}")


def check_integer(name: str, value: object, *, low: int = 0, high: int | None = None, hint: str = "") -> int:
    """Return `value` as an int of at least `low` and at most `high`.

    Raises:
        InvalidParameterError: If it is not an integer or lies outside.

    Example:
        >>> check_integer("latent_dim", 16, low=1)
        16
        >>> check_integer("latent_dim", 2.5, low=1)
        Traceback (most recent call last):
            ...
        latentkit.core.errors.InvalidParameterError: latent_dim must be an integer of at least 1; got 2.5.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)
        if number >= low and (high is None or number <= high):
            return number
    bound = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise InvalidParameterError(f"{name} must be an integer {bound}; got {value!r}.{' ' + hint if hint else ''}")


def check_choice(name: str, value: object, options: Sequence[str]) -> str:
    """Return `value` if it is one of `options`.

    Raises:
        InvalidParameterError: If it is not; the message lists the options and suggests the nearest.

    Example:
        >>> check_choice("precision", "auto", ["auto", "float32"])
        'auto'
    """
    if isinstance(value, str) and value in options:
        return value
    raise InvalidParameterError(
        f"{name} must be one of: {', '.join(options)}; got {value!r}.{suggestion(str(value), options)}"
    )


def parse_duration(name: str, value: object) -> float:
    """Return seconds from a number of seconds or a text such as ``"90s"``, ``"5m"`` or ``"1h30m"``.

    Raises:
        InvalidParameterError: If it is neither, or not above zero.

    Example:
        >>> parse_duration("time", "1m30s"), parse_duration("time", 12)
        (90.0, 12.0)
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        return check_real(name, value, low=0.0, inclusive=(False, True))
    if isinstance(value, str):
        text = value.strip().lower()
        match = _DURATION.fullmatch(text)
        if match and any(match.groups()):
            hours, minutes, seconds = (float(part or 0) for part in match.group("h", "m", "s"))
            total = 3600 * hours + 60 * minutes + seconds
            if total > 0:
                return total
        elif text.replace(".", "", 1).isdigit() and float(text) > 0:
            return float(text)
    raise InvalidParameterError(
        f"{name} must be a duration above zero such as 90s, 5m or 1h30m (a plain number counts seconds); got {value!r}."
    )
