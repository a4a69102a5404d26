"""What is asked of a column: values, ranges and sets as people write them, and what they leave of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import suggestion
from latentkit.data.table.cells import LabelCells
from latentkit.data.table.codings import Allowed, CategoryCoding, DigitsCoding, NumberCoding
from latentkit.data.table.columns import Column
from latentkit.data.validation import show

__all__ = ["ask", "read_category", "read_value", "refuse_left_out"]


def ask(column: Column, condition: Any) -> tuple[Allowed, ...]:
    """Return what a condition leaves of each model column of a column.

    Args:
        column: The column.
        condition: As :meth:`latentkit.data.TableSchema.allowed` takes it.
    Raises:
        InvalidParameterError: If the column is left out, there is no such category, a range is asked of categories
            without order, or nothing is left.
    """
    refuse_left_out(column)
    has_missing, condition = _without_missing(condition)
    if has_missing and not column.missing.has_code:
        raise InvalidParameterError(f"column {column.name!r} was never missing, so it cannot be asked to be")
    parts = _chosen(column, condition)
    if not column.missing.has_code:
        return parts
    return tuple(
        Allowed(np.append(part.codes, has_missing), np.append(part.low, 0.0), np.append(part.high, 1.0))
        for part in parts
    )


def refuse_left_out(column: Column) -> None:
    """Refuse a column that the model does not see.

    Raises:
        InvalidParameterError: If it is one.
    """
    if column.is_left_out:
        raise InvalidParameterError(
            f"column {column.name!r} is left out ({column.kind}: {column.reason}), so nothing can be asked of it. Fit "
            f"with kinds={{{column.name!r}: ...}} (--kind {column.name}=...) if it is something else"
        )


def _without_missing(condition: Any) -> tuple[bool, Any]:
    """Return whether a condition allows "missing", and the rest of it."""
    if condition is None:
        return True, frozenset()
    if isinstance(condition, AbstractSet | list):
        return None in condition, [value for value in condition if value is not None]
    return False, condition


def _chosen(column: Column, condition: Any) -> tuple[Allowed, ...]:
    is_range = isinstance(condition, tuple)
    if is_range and len(condition) != 2:
        raise InvalidParameterError(
            f"a range for column {column.name!r} is a pair (low, high); got {condition!r}. Give several values as a set"
        )
    if isinstance(column.coding, NumberCoding):
        wanted = [condition] if is_range else [(value, value) for value in _several(condition)]
        parts = [
            column.coding.interval(read_value(column, low, -np.inf), read_value(column, high, np.inf))
            for low, high in wanted
        ]
        left = _union(parts, column.sizes[0] - column.missing.has_code)
        if wanted and not left.codes.any():
            ends = column.write(np.array([column.coding.low[0], column.coding.high[-1]])).to_pylist()
            raise InvalidParameterError(
                f"column {column.name!r} goes from {ends[0]} to {ends[1]}; nothing in it fits {condition!r}"
            )
        return (left,)
    assert isinstance(column.coding, CategoryCoding | DigitsCoding)
    if is_range:
        if not column.is_ordered:
            raise InvalidParameterError(
                f"column {column.name!r} holds categories without order, so a range makes no sense; give a set of "
                f"them, as in {set(condition)!r}"
            )
        low, high = (None if end is None else read_category(column, end) for end in condition)
        places = range(0 if low is None else low, column.coding.n if high is None else high + 1)
        if not places:
            raise InvalidParameterError(f"the range {condition!r} of column {column.name!r} is empty: {_order(column)}")
        return column.coding.chosen(places)
    return column.coding.chosen([read_category(column, value) for value in _several(condition)])


def _order(column: Column) -> str:
    assert isinstance(column.cells, LabelCells)
    return "the order is " + ", ".join(map(show, column.cells.categories[:12]))


def _several(condition: Any) -> Sequence[Any]:
    return list(condition) if isinstance(condition, AbstractSet | list) else [condition]


def _read(column: Column, value: Any) -> float:
    import pyarrow as pa

    try:
        return float(column.cells.read(pa.array([value.item() if isinstance(value, np.generic) else value]))[0])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, IndexError):
        return float("nan")


def read_value(column: Column, value: Any, default: float) -> float:
    """Return a value as people write it as a number of a column of numbers or times; `default` for None.

    Raises:
        InvalidParameterError: If it cannot be read as one.
    """
    if value is None:
        return default
    number = _read(column, value)
    if np.isnan(number):
        raise InvalidParameterError(
            f"column {column.name!r} is {column.kind} ({column.reason}); {value!r} cannot be read as that"
        )
    return number


def read_category(column: Column, value: Any) -> int:
    """Return the place of a category in a column of categories.

    Raises:
        InvalidParameterError: If there is no such category; the nearest is suggested.
    """
    place = _read(column, value)
    if np.isnan(place):
        assert isinstance(column.cells, LabelCells)
        names = column.cells.categories
        shown = ", ".join(map(show, names[:12])) + (", ..." if len(names) > 12 else "")
        raise InvalidParameterError(
            f"column {column.name!r} has no category {value!r}; it has {shown}.{suggestion(str(value), names)}"
        )
    return int(place)


def _union(parts: Sequence[Allowed], size: int) -> Allowed:
    codes, low, high = np.zeros(size, np.bool_), np.ones(size), np.zeros(size)
    for part in parts:
        low = np.where(part.codes, np.minimum(low, part.low), low)
        high = np.where(part.codes, np.maximum(high, part.high), high)
        codes |= part.codes
    return Allowed(codes, np.where(codes, low, 0.0), np.where(codes, high, 1.0))
