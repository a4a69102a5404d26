"""Conditions on columns, as they are typed: ``sex=Female,age=30..40``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError

__all__ = ["Token", "parse_columns", "parse_where", "read_where", "split", "tokens"]

#: A text in quotes (doubled inside), a mark, or what stands between.
_PATTERN = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|\.\.|[=|,]|(?:(?!\.\.)[^=|,"\'])+|.', re.DOTALL)
_FORMS = "Write NAME=VALUE, NAME=LOW..HIGH (LOW.. and ..HIGH are open), or NAME=A|B, with commas between columns"


class Token(NamedTuple):
    """A word, or one of the marks ``.. = | ,``, as it was typed."""

    text: str
    is_mark: bool
    is_quoted: bool = False


def parse_where(texts: Sequence[str], schema: Any) -> dict[Any, Any]:
    """Return conditions on columns as :meth:`latentkit.VAE.sample` takes them.

    Args:
        texts: Each one or several conditions with commas between them: ``name=value``, ``name=low..high`` with both
            ends or one, ``name=a|b``. Names and values that hold one of ``, = | ..`` stand in quotes, single or double.
            A value that is empty or a marker of what is missing, such as ``?``, asks for a missing cell.
        schema: Of the run.
    Raises:
        InvalidParameterError: If it cannot be read, or a column is named twice.
        UnsupportedOperationError: If the run is none of a table of mixed kinds.

    Example:
        >>> import pyarrow as pa
        >>> from latentkit.data import learn_table_schema
        >>> schema = learn_table_schema(pa.table({"age": [31, 45, 62] * 9, "from": ["Bonn", "Ulm", "Bonn, south"] * 9}))
        >>> parse_where(["age=30..40,from=Bonn|'Bonn, south'"], schema)
        {'age': ('30', '40'), 'from': ['Bonn', 'Bonn, south']}
    """
    if schema.kind != "table":
        raise UnsupportedOperationError(
            f"--where asks for values of columns, and this run is one of {schema.kind}, which has no columns to ask. "
            "Fit a table of mixed kinds (fit --table, for one of numbers alone), or use --condition or --label."
        )

    def locate(word: str) -> tuple[Any, Sequence[str]]:
        name = next((name for name in schema.feature_names if str(name) == word), word)
        schema.locate(name)
        return name, next(column.missing.markers for column in schema.columns if column.name == name)

    return _conditions(texts, locate)


def read_where(texts: Sequence[str]) -> dict[str, Any]:
    """Return conditions on columns of a table that is not read yet, as :class:`latentkit.data.Selection` takes them.

    Args:
        texts: As for :func:`parse_where`; whether there are such columns is seen when the table is read.
    Raises:
        InvalidParameterError: If it cannot be read, or a column is named twice.

    Example:
        >>> read_where(["attack=normal,duration=..60"])
        {'attack': 'normal', 'duration': (None, '60')}
    """
    return _conditions(texts, lambda word: (word, ("",)))


def parse_columns(option: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns from texts such as ``"attack,difficulty"``; names that hold a mark stand in quotes.

    Raises:
        InvalidParameterError: If there is no name between two commas.

    Example:
        >>> parse_columns("--leave-out", ["attack,difficulty", "'a,b'"])
        ('attack', 'difficulty', 'a,b')
    """
    forms = "Write NAME, or NAME,NAME"
    names = []
    for text in texts:
        for part in split(tokens(text, f"{option} {text}", forms), ","):
            if len(part) != 1 or part[0].is_mark:
                shown = "".join(token.text for token in part)
                raise InvalidParameterError(
                    f"{option} {text}: {shown!r} is no name of a column. {forms}; quote what holds a mark."
                )
            names.append(part[0].text)
    return tuple(dict.fromkeys(names))


def _conditions(texts: Sequence[str], locate: Callable[[str], tuple[Any, Sequence[str]]]) -> dict[Any, Any]:
    """Read conditions; `locate` gives the name of the column that a word names, and what is missing in it."""
    wanted: dict[Any, Any] = {}
    for text in texts:
        parts = split(tokens(text, f"--where {text}", _FORMS), ",")
        if not all(parts):
            raise InvalidParameterError(f"--where {text}: there is nothing between two commas, or at an end. {_FORMS}.")
        for part in parts:
            name, value = _condition(part, locate, text)
            if name in wanted:
                raise InvalidParameterError(f"--where names {name!r} twice. Ask for several values with {name}=A|B.")
            wanted[name] = value
    return wanted


def tokens(text: str, where: str, forms: str) -> list[Token]:
    """Return what was typed in words and marks; what stands in quotes is one word.

    Args:
        text: As typed.
        where: What messages begin with.
        forms: What messages say can be written.
    Raises:
        InvalidParameterError: If a quote is not closed.
    """
    found = []
    for match in _PATTERN.finditer(text):
        token = match.group()
        if token[0] in "\"'":
            if len(token) < 2 or token[-1] != token[0]:
                raise InvalidParameterError(f"{where}: a quote is not closed. {forms}.")
            found.append(Token(token[1:-1].replace(token[0] * 2, token[0]), is_mark=False, is_quoted=True))
        elif token in ("..", "=", "|", ","):
            found.append(Token(token, is_mark=True))
        elif token.strip():
            found.append(Token(token.strip(), is_mark=False))
    return found


def split(words: Sequence[Token], mark: str) -> list[list[Token]]:
    """Return what stands between marks of a kind."""
    parts: list[list[Token]] = [[]]
    for token in words:
        if token.is_mark and token.text == mark:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _condition(
    words: Sequence[Token], locate: Callable[[str], tuple[Any, Sequence[str]]], text: str
) -> tuple[Any, Any]:
    if len(words) < 2 or words[0].is_mark or words[1] != Token("=", is_mark=True):
        shown = "".join(token.text for token in words)
        raise InvalidParameterError(f"--where {text}: {shown!r} is no condition. {_FORMS}; quote what holds a mark.")
    name, markers = locate(words[0].text)
    alternatives = split(words[2:], "|")
    ranges = [split(part, "..") for part in alternatives]
    if len(ranges) == 1 and len(ranges[0]) == 2:
        low, high = (None if not end else _one(end, text) for end in ranges[0])
        if low is None and high is None:
            raise InvalidParameterError(f"--where {text}: the range of {name!r} has no end. {_FORMS}.")
        return name, (low, high)
    if any(len(part) > 1 for part in ranges):
        raise InvalidParameterError(
            f"--where {text}: one range, or several values, can be asked of {name!r}. {_FORMS}."
        )
    values = [_value(part, markers, text) for part in alternatives]
    return name, values if len(values) > 1 else values[0]


def _one(words: Sequence[Token], text: str) -> str:
    if len(words) != 1 or words[0].is_mark:
        shown = "".join(token.text for token in words)
        raise InvalidParameterError(f"--where {text}: {shown!r} is no value. {_FORMS}; quote what holds a mark.")
    return words[0].text


def _value(words: Sequence[Token], markers: Sequence[str], text: str) -> str | None:
    if not words:
        return None
    value = _one(words, text)
    return None if value in markers and not words[0].is_quoted else value
