"""Some rows and columns of a table: those that fit conditions, without those that are no data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeAlias, final

import numpy as np

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.data.table.columns import TEXT_MARKERS
from latentkit.data.table.text import TextTable

__all__ = ["Selection"]

Arrow: TypeAlias = Any

#: Values of a column that a message names.
_SHOWN = 8


@final
@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows and columns of a table are taken.

    Attributes:
        where: Conditions by column: a value, a list of values, or a pair (low, high) of which an end may be None. None
            stands for a missing cell. A row is taken if it fits all of them.
        leave_out: Columns that are no part of the data.
        is_strict: Whether the columns must be there; otherwise names of columns that are not are passed over.

    Example:
        >>> import pyarrow as pa
        >>> table = pa.table({"x": [1, 2, 3], "kind": ["a", "b", "a"]})
        >>> notes = []
        >>> Selection({"kind": "a"}).apply(table, "table.csv", notes).to_pydict(), notes
        ({'x': [1, 3]}, ['kept 2 of 3 rows where kind=a; the column kind is left out'])
    """

    where: Mapping[str, Any] = field(default_factory=dict)
    leave_out: Sequence[str] = ()
    is_strict: bool = True

    @property
    def pinned(self) -> tuple[str, ...]:
        """Columns that a condition leaves a single value, so that nothing can be learnt from them."""
        return tuple(name for name, wanted in self.where.items() if not isinstance(wanted, tuple | list))

    def later(self) -> Selection:
        """The selection for data that come after the fit: all rows, without the same columns where they are there."""
        return Selection({}, tuple(dict.fromkeys((*self.leave_out, *self.pinned))), is_strict=False)

    def apply(self, table: Any, source: str, notes: list[str], *, labels: str | None = None) -> Any:
        """Return the rows and columns of a table that are taken.

        Args:
            table: An Arrow table or a :class:`~latentkit.data.TextTable`.
            source: Where it came from, for messages.
            notes: Gets what was left out.
            labels: Column with the labels, which stays.
        Raises:
            InvalidParameterError: If there is no column of a name, or what is asked of it cannot be.
            DataError: If no row fits, or no column is left.
        """
        names = list(table.columns if isinstance(table, TextTable) else table.column_names)
        if self.is_strict:
            for option, wanted in (("--where", self.where), ("--leave-out", self.leave_out)):
                _check_names(wanted, names, source, option)
        n = len(table)
        table = self._rows(table, names, source)
        out = [name for name in dict.fromkeys((*self.leave_out, *self.pinned)) if name in names and name != labels]
        if len(out) == len(names):
            raise DataError(f"{source}: no column is left: {_listed(out)} are left out. Leave fewer out")
        for name in out:
            table = table.without(name) if isinstance(table, TextTable) else table.drop_columns([name])
        told = [f"kept {len(table):,} of {n:,} rows where {self._words()}"] if self.where else []
        if out and self.is_strict:
            told.append(f"the column{'s' * (len(out) > 1)} {_listed(out)} {'are' if len(out) > 1 else 'is'} left out")
        notes += ["; ".join(told)] if told else []
        return table

    def _rows(self, table: Any, names: Sequence[str], source: str) -> Any:
        if not self.where:
            return table
        fits = np.ones(len(table), np.bool_)
        for name, wanted in self.where.items():
            column = table.arrays[names.index(name)] if isinstance(table, TextTable) else table.column(name)
            values, places = _distinct(column)
            fits_value = _predicate(name, wanted)
            mask = np.array([fits_value(value) for value in values], np.bool_)[places]
            if not mask.any():
                raise DataError(f"{source}: no row has {_condition(name, wanted)}. {_holds(name, values, wanted)}")
            fits &= mask
        rows = np.flatnonzero(fits)
        if not len(rows):
            raise DataError(f"{source}: no row fits {self._words()} together. Ask for less")
        return table.take(rows)

    def _words(self) -> str:
        return " and ".join(_condition(name, wanted) for name, wanted in self.where.items())


def _check_names(wanted: Any, names: Sequence[str], source: str, option: str) -> None:
    for name in wanted:
        if name not in names:
            raise InvalidParameterError(
                f"{option}: {source} has no column {name!r}; it has: {', '.join(names[:20])}"
                f"{', ...' if len(names) > 20 else ''}.{suggestion(name, names)}"
            )


def _distinct(column: Arrow) -> tuple[list[Any], Any]:
    """Return the different values of a column, missing ones as None, and which of them stands in each row."""
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    coded = array.dictionary_encode(null_encoding="encode")
    values = [_plain(value) for value in coded.dictionary.to_pylist()]
    return values, coded.indices.to_numpy(zero_copy_only=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip()
        return None if value in TEXT_MARKERS else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _predicate(name: str, wanted: Any) -> Callable[[Any], bool]:
    """What says whether a value fits."""
    if isinstance(wanted, tuple):
        low, high = wanted
        read = _reader(name, [end for end in wanted if end is not None])
        least, most = (None if end is None else read(end) for end in (low, high))

        def is_inside(value: Any) -> bool:
            read_value = read(value)
            return (
                read_value is not None
                and (least is None or read_value >= least)
                and (most is None or read_value <= most)
            )

        return is_inside
    alternatives = wanted if isinstance(wanted, list) else [wanted]
    return lambda value: any(_is_same(value, other) for other in alternatives)


def _is_same(value: Any, wanted: Any) -> bool:
    if value is None or wanted is None:
        return value is None and wanted is None
    if str(value) == str(wanted):
        return True
    if isinstance(value, bool):
        return str(value).lower() == str(wanted).lower()
    number = _number(value)
    return number is not None and number == _number(wanted)


def _reader(name: str, ends: Sequence[Any]) -> Callable[[Any], Any]:
    """What reads the values of a range: as numbers, or as dates."""
    for read in (_number, _time):
        if all(read(end) is not None for end in ends):
            return read
    raise InvalidParameterError(
        f"--where: a range of {name!r} goes between numbers, or dates such as 2024-01-31; got {' .. '.join(ends)!r}. "
        f"Name values instead: {name}=A|B."
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    try:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    except (TypeError, ValueError):
        return None


def _condition(name: str, wanted: Any) -> str:
    if isinstance(wanted, tuple):
        low, high = ("" if end is None else end for end in wanted)
        return f"{name}={low}..{high}"
    return f"{name}={'|'.join('' if value is None else str(value) for value in _several(wanted))}"


def _several(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _holds(name: str, values: Sequence[Any], wanted: Any) -> str:
    """What the column holds instead, for messages."""
    known = sorted(str(value) for value in values if value is not None)
    shown = f"{name!r} holds: {', '.join(known[:_SHOWN])}{', ...' if len(known) > _SHOWN else ''}."
    asked = next((str(value) for value in _several(wanted) if value is not None), "")
    return shown if isinstance(wanted, tuple) else f"{shown}{suggestion(asked, known)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
