"""What to search, from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentkit.cli.settings import parse_value
from latentkit.core.errors import InvalidParameterError

__all__ = ["parse_search"]


def parse_search(texts: Sequence[str]) -> dict[str, Any]:
    """Return what to search from texts such as ``"latent_dim=2:64"``, ``"prior=normal,vamp"`` or ``"dropout"``.

    Args:
        texts: As typed.
    Returns:
        By name a pair of numbers, a list of values, or None for what is recognised.
    Raises:
        InvalidParameterError: If a text is none of these.

    Example:
        >>> parse_search(["latent-dim=2:64", "encoder=[500,500],[200]", "dropout"])
        {'latent_dim': (2, 64), 'encoder': [(500, 500), (200,)], 'dropout': None}
    """
    asked: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        name = path.strip().replace("-", "_")
        if not name or (equals and not value.strip()):
            raise InvalidParameterError(
                f"--search takes NAME=LOW:HIGH, NAME=a,b,c or NAME, such as latent_dim=2:64; got {text!r}."
            )
        asked[name] = _asked(text, value) if equals else None
    return asked


def _asked(text: str, value: str) -> Any:
    low, colon, high = value.partition(":")
    if colon:
        ends = tuple(parse_value(text, end) for end in (low, high))
        if all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
            return ends
        raise InvalidParameterError(f"--search {text}: a range goes from a number to a number, as in latent_dim=2:64.")
    return list(parse_value(text, f"[{value}]"))
