"""What is said of the columns of a table on the command line: ``--kind``, ``--missing`` and ``--unseen``."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from latentkit.cli.where import Token, split, tokens
from latentkit.core.errors import InvalidParameterError

__all__ = ["Unseen", "add_table_settings", "parse_kinds", "table_settings"]

_FORMS = "Write NAME=KIND, or NAME=A,B,C for categories in this order"


class Unseen(StrEnum):
    """What becomes of categories that the model was not fitted on."""

    unknown = "unknown"
    error = "error"


def table_settings(
    kinds: Sequence[str] | None, missing: Sequence[str] | None, unseen: Unseen | None = None
) -> dict[str, Any]:
    """Return what was typed as settings of an estimator that takes tables; only those that were given.

    Example:
        >>> table_settings(["zip=categorical"], ["-999"])
        {'kinds': {'zip': 'categorical'}, 'na_values': ('-999',)}
    """
    settings: dict[str, Any] = {"kinds": parse_kinds(kinds)} if kinds else {}
    if missing:
        settings["na_values"] = tuple(missing)
    return settings if unseen is None else {**settings, "unseen": unseen.value}


def add_table_settings(
    settings: dict[str, Any], known: Sequence[str], model: str, asked: dict[str, Any]
) -> dict[str, Any]:
    """Return the settings of a fit with those of its table; kinds are added to those that are there.

    Raises:
        InvalidParameterError: If the model takes no tables.
    """
    options = {"kinds": "--kind", "na_values": "--missing", "unseen": "--unseen"}
    for name in asked:
        if name not in known:
            raise InvalidParameterError(
                f"{options[name]} is for tables of mixed kinds, which --model {model} does not take. Use --model vae, "
                "or leave it out."
            )
    kinds = {**(settings.get("kinds") or {}), **asked.get("kinds", {})}
    return {**settings, **asked, **({"kinds": kinds} if kinds else {})}


def parse_kinds(texts: Sequence[str]) -> dict[str, str | tuple[str, ...]]:
    """Return kinds of columns from texts such as ``"age=real"`` or ``"size=S,M,L"``.

    Names and categories that hold one of ``, = | ..`` stand in quotes.

    Raises:
        InvalidParameterError: If it cannot be read, there is no such kind, or a column is named twice.

    Example:
        >>> parse_kinds(["age=real", 'size="S,X",M,L'])
        {'age': 'real', 'size': ('S,X', 'M', 'L')}
    """
    kinds: dict[str, str | tuple[str, ...]] = {}
    for text in texts:
        name, kind = _parsed(text)
        if name in kinds:
            raise InvalidParameterError(f"--kind names {name!r} twice. Leave one of them out.")
        kinds[name] = kind
    return kinds


def _parsed(text: str) -> tuple[str, str | tuple[str, ...]]:
    from latentkit.core.parameters import check_choice
    from latentkit.data.table.recognition import KINDS

    where = f"--kind {text}"
    name, *rest = tokens(text, where, _FORMS)
    if name.is_mark or len(rest) < 2 or rest[0] != Token("=", is_mark=True):
        raise InvalidParameterError(f"{where}: it is no NAME=KIND. {_FORMS}; quote what holds a mark.")
    values = split(rest[1:], ",")
    if any(len(value) != 1 or value[0].is_mark for value in values):
        raise InvalidParameterError(f"{where}: a category is empty, or holds a mark. {_FORMS}; quote such marks.")
    words = tuple(value[0].text for value in values)
    return name.text, words if len(words) > 1 else check_choice(where, words[0], KINDS)
