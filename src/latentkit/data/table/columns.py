"""One column of a table: its kind, how its cells are written, how its values are coded, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.data.containers import Name
from latentkit.data.table.cells import Cells, cells_kinds, is_number, is_text
from latentkit.data.table.codings import Coding, codings

__all__ = ["TEXT_MARKERS", "Column", "Missing", "is_numeral", "markers_of", "nulls"]

Arrow: TypeAlias = Any
Floats: TypeAlias = NDArray[np.float64]

#: What stands for a missing value in files of text.
TEXT_MARKERS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")


@final
@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing in a column.

    Attributes:
        share: Share of the rows in which it was missing when the schema was learnt.
        has_code: Whether "missing" is a code, the last: it is where anything was missing.
        markers: Texts that stand for a missing value, besides null and NaN.
        written: The text that is written for a missing value; None writes null.
    """

    share: float = 0.0
    has_code: bool = False
    markers: tuple[str, ...] = ()
    written: str | None = None


@final
@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name.
        kind: What it is, in a word: ``"count"``, ``"categorical"``, ``"date"``, ...
        reason: Why it was taken for that.
        cells: How its values are written.
        coding: How its values become codes.
        missing: What is missing, and how that is written.
        is_ordered: Whether its categories have an order, so that a range of them makes sense.
    """

    name: Name
    kind: str
    reason: str
    cells: Cells
    coding: Coding
    missing: Missing
    is_ordered: bool = False

    @property
    def is_left_out(self) -> bool:
        """Whether the model does not see it."""
        return not self.coding.sizes

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each model column, the missing code counted."""
        return tuple(size + self.missing.has_code for size in self.coding.sizes)

    @property
    def missing_codes(self) -> tuple[int | None, ...]:
        """The code of "missing" in each model column."""
        return tuple(size if self.missing.has_code else None for size in self.coding.sizes)

    def read(self, cells: Arrow) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the values of an Arrow column, shape (n,), NaN where there is none, and what is missing."""
        missing = nulls(cells, self.missing.markers)
        return np.where(missing, np.nan, self.cells.read(cells)), missing

    def encode(self, cells: Arrow) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the codes of an Arrow column, shape (n, model columns), what is missing and what is not known."""
        values, missing = self.read(cells)
        unknown = np.isnan(values) & ~missing
        u = self.coding.encode(values)
        if self.missing.has_code:
            sizes = np.array(self.coding.sizes)
            u = np.where(u >= sizes, u + 1, u)  # the missing code lies between the last value and what is beyond it
            u[missing] = sizes + 0.5
        return u, missing, unknown

    def values(self, u: Floats) -> Floats:
        """Return codes, shape (n, model columns), as values, shape (n,); NaN where missing."""
        sizes = np.array(self.coding.sizes)
        missing = np.isnan(u).any(axis=1)
        if self.missing.has_code:
            code = np.floor(u)
            missing |= (code == sizes).any(axis=1)
            u = np.where(code > sizes, u - 1, u)
        values = self.coding.decode(u)
        values[missing] = np.nan
        return values

    def write(self, values: Floats) -> Arrow:
        """Return values, shape (n,), as the cells of an Arrow column."""
        import pyarrow as pa

        cells = self.cells.write(values)
        if self.missing.written is None or not cells.null_count:
            return cells
        return cells.fill_null(pa.scalar(self.missing.written).cast(cells.type))

    def describe(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        return {
            "name": self.name,
            "kind": self.kind,
            "reason": self.reason,
            "cells": self.cells.describe(),
            "coding": self.coding.describe(),
            "missing": {
                "share": self.missing.share,
                "has_code": self.missing.has_code,
                "markers": list(self.missing.markers),
                "written": self.missing.written,
            },
            "is_ordered": self.is_ordered,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Column:
        """Return the column that :meth:`describe` described."""
        missing = description["missing"]
        return cls(
            description["name"],
            description["kind"],
            description["reason"],
            cells_kinds[description["cells"]["type"]](description["cells"]),
            codings[description["coding"]["type"]](description["coding"]),
            Missing(float(missing["share"]), bool(missing["has_code"]), tuple(missing["markers"]), missing["written"]),
            bool(description["is_ordered"]),
        )


def nulls(cells: Arrow, markers: Sequence[str]) -> NDArray[np.bool_]:
    """Return which cells of an Arrow column are missing: null, NaN, or one of the markers, shape (n,)."""
    import pyarrow as pa
    from pyarrow import compute as pc

    missing = np.array(cells.is_null(nan_is_null=True), np.bool_)
    if not markers:
        return missing
    if is_text(cells.type):
        plain = cells.cast(cells.type.value_type) if pa.types.is_dictionary(cells.type) else cells
        longest = max(len(marker.encode()) for marker in markers) + 4  # blanks around it, or zeros behind its point
        short = np.asarray(pc.fill_null(pc.less_equal(pc.binary_length(plain), longest), False), np.bool_)
        if short.any():
            few = pc.utf8_trim_whitespace(plain if short.all() else plain.filter(pa.array(short)))
            found = pc.is_in(few, pa.array(markers, few.type))
            whole = [re.escape(marker) for marker in markers if re.fullmatch(r"-?\d+", marker)]
            if whole:
                found = pc.or_(found, pc.match_substring_regex(few, rf"^({'|'.join(whole)})[.,]0+$"))
            missing[short] |= np.asarray(found, np.bool_)
        return missing
    numbers = [float(marker) for marker in markers if is_numeral(marker)]
    if not numbers or not is_number(cells.type):
        return missing
    # In the column's own precision, in which -99.9 may be another number than in double precision.
    kind = cells.type if pa.types.is_floating(cells.type) else pa.float64()
    found = pc.is_in(cells.cast(kind, safe=False), pa.array(numbers).cast(kind, safe=False))
    return missing | np.asarray(found, np.bool_)


def markers_of(na_values: Any) -> tuple[str, ...]:
    """Return what stands for a missing value, one thing or several, as texts; NaN and None always do.

    Example:
        >>> markers_of(-999.0), markers_of(["unknown", 99, None])
        (('-999',), ('unknown', '99'))
    """
    several = na_values if isinstance(na_values, Sequence | AbstractSet | np.ndarray) else [na_values]
    each = [na_values] if isinstance(na_values, str) else list(several)
    return tuple(_as_text(value) for value in each if not (value is None or value != value))  # noqa: PLR0124 (NaN)


def _as_text(value: Any) -> str:
    is_whole = isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer()
    return str(int(value)) if is_whole else str(value)


def is_numeral(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
