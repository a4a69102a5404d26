"""Finding what is wrong with data, and saying where: file, row, column and value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from latentkit.core.errors import DataError
from latentkit.data.dataset import AnyArray

__all__ = ["check_finite", "check_numeric", "chunks", "first_text", "from_source", "place", "show"]

_CHUNK_ELEMENTS = 1 << 20


def chunks(array: AnyArray) -> Iterator[slice]:
    """Yield slices of the first axis of about a million elements, so that no temporary is as large as the data."""
    rows = max(1, _CHUNK_ELEMENTS // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)


def from_source(source: str) -> str:
    """Return the beginning of a message about `source`: its name and a colon, or nothing where it has no name."""
    return f"{source}: " if source else ""


def show(value: object, limit: int = 40) -> str:
    """Return `value` as text that is short enough for a message."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= limit else text[: limit - 4] + "..." + text[0]


def place(index: Sequence[int], names: Sequence[str | int] | None = None) -> str:
    """Return where an element stands, counted from 0.

    Example:
        >>> place((5, 2), ["age", "height", "weight"])
        "row 5, column 2 ('weight')"
        >>> place((5, 2, 3))
        'image 5, element [2, 3]'
    """
    if len(index) == 1:
        return f"row {index[0]}"
    if len(index) == 2:
        name = f" ({names[index[1]]!r})" if names is not None else ""
        return f"row {index[0]}, column {index[1]}{name}"
    return f"image {index[0]}, element {list(map(int, index[1:]))}"


def check_finite(array: AnyArray, *, names: Sequence[str | int] | None = None, source: str = "") -> None:
    """Refuse NaN and infinity.

    Raises:
        DataError: If there are any; the message counts them, names the first place and says what to do.
    """
    if array.dtype.kind != "f":
        return
    n_nan = n_infinite = 0
    first: tuple[int, ...] | None = None
    for part in chunks(array):
        block = array[part]
        finite = np.isfinite(block)
        if finite.all():
            continue
        if first is None:
            where = np.argwhere(~finite)[0]
            first = (part.start + int(where[0]), *map(int, where[1:]))
        nan = int(np.isnan(block).sum())
        n_nan += nan
        n_infinite += int(finite.size - finite.sum()) - nan
    if first is None:
        return
    word = "NaN" if np.isnan(array[first]) else "infinity"
    counts = " and ".join(
        f"{n} {what}" for n, what in ((n_nan, "NaN (missing values)"), (n_infinite, "infinity (inf)")) if n
    )
    raise DataError(
        f"{from_source(source)}the data contain {counts}; the first is {word} at {place(first, names)} "
        "(counted from 0). Remove these rows or fill them in, for instance with sklearn.impute.SimpleImputer"
    )


def first_text(values: Iterable[Any]) -> tuple[int, Any] | None:
    """Return the position and value of the first entry that is not a number, or None where all are numbers.

    Missing entries (None, NaN) count as numbers here; a text of digits is text that can be read as a number.
    """
    for row, value in enumerate(values):
        if value is None or isinstance(value, bool | int | float | np.number | np.bool_):
            continue
        try:
            float(value)
        except (TypeError, ValueError):
            # pandas.NA and its like are missing values, and the only objects that differ from nothing and everything.
            if type(value).__name__ in {"NAType", "NaTType"}:
                continue
            return row, value
    return None


def check_numeric(array: AnyArray, *, source: str = "") -> AnyArray:
    """Return `array` with a dtype of numbers; objects and texts that hold numbers are converted.

    Raises:
        DataError: If there is text, or a kind of number that no model takes; row, column and value are named.
    """
    kind = array.dtype.kind
    if kind in "biuf":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if kind in "OUST":
        found = first_text(array.ravel())
        if found is None:
            return array.astype(np.float64)
        index = tuple(map(int, np.unravel_index(found[0], array.shape)))
        raise DataError(
            f"{from_source(source)}numbers are needed, but {place(index)} (counted from 0) holds {show(found[1])}. "
            "Leave such columns out or encode them as numbers first"
        )
    raise DataError(
        f"{from_source(source)}numbers are needed (float, integer or bool), but the array's dtype is {array.dtype}"
        + (". Complex data not supported: give real and imaginary parts as columns" if kind == "c" else "")
    )
