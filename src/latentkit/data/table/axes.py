"""Axes: columns whose values have an order, as numbers that can be compared, and bounds of them as parts of codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.data.containers import Name
from latentkit.data.table.asking import read_category, read_value, refuse_left_out
from latentkit.data.table.cells import LabelCells, TextTimeCells, TimeCells
from latentkit.data.table.codings import Allowed, CategoryCoding, NumberCoding
from latentkit.data.table.columns import Column

__all__ = ["Axis", "is_axis"]

Floats: TypeAlias = NDArray[np.float64]

#: By what part of a step of its grid a number may miss it.
_MISS = 1e-6
#: Part of a bin's width that stands for one value of a column without a grid.
_POINT = 1e-3


def is_axis(column: Column) -> bool:
    """Whether the values of a column have an order: numbers, dates and times, and categories that were given one."""
    return isinstance(column.coding, NumberCoding) or (column.is_ordered and isinstance(column.coding, CategoryCoding))


@final
@dataclass(frozen=True)
class Axis:
    """A column whose values have an order, as float64 numbers: themselves, seconds, or places of categories.

    Attributes:
        column: The column.
        place: Its model column.

    Raises:
        InvalidParameterError: If its values have no order.
    """

    column: Column
    place: int

    def __post_init__(self) -> None:
        """Check that there is an order."""
        refuse_left_out(self.column)
        if not is_axis(self.column):
            raise InvalidParameterError(
                f"column {self.name!r} is {self.column.kind} ({self.column.reason}): its values have no order and "
                "cannot be compared or added. Hold it by a condition, or by combinations: (a, b)."
            )

    @property
    def name(self) -> Name:
        """Name of the column."""
        return self.column.name

    @property
    def is_number(self) -> bool:
        """Whether values are numbers, which can be added."""
        return isinstance(self.column.coding, NumberCoding) and not self.unit

    @property
    def unit(self) -> str:
        """What can be compared with each other: ``""`` for numbers, else a word for the kind of time, or the order."""
        cells = self.column.cells
        if isinstance(cells, LabelCells):
            return "order " + " < ".join(cells.categories)
        if isinstance(cells, TextTimeCells):
            return "date" if "{Y}" in cells.template else "time of day"
        if isinstance(cells, TimeCells):
            zoned = "date with a time zone" if "tz=" in cells.type else "date"
            word = cells.type.partition("[")[0]
            return {"time32": "time of day", "time64": "time of day", "duration": "duration"}.get(word, zoned)
        return ""

    @property
    def step(self) -> float:
        """Distance of the grid on which the values lie; 0 where there is none."""
        return self.column.coding.step if isinstance(self.column.coding, NumberCoding) else 1.0

    @property
    def can_be_missing(self) -> bool:
        """Whether cells may be missing."""
        return self.column.missing.has_code

    @cached_property
    def _codes(self) -> tuple[Floats, Floats, Floats, Floats, float]:
        """Of each code where it starts, its width, its lowest and its highest value; and the width of a point."""
        coding = self.column.coding
        if isinstance(coding, NumberCoding):
            start, stop = np.array(coding.low), np.array(coding.high)
        else:
            start = stop = np.arange(coding.sizes[0], dtype=np.float64)
        width = stop - start
        inner = np.minimum(width / 2, self.step / 2)
        point = self.step or _POINT * float(width[width > 0].min(initial=np.inf))
        return start, width, start + inner, stop - inner, point if np.isfinite(point) else 0.0

    @property
    def lowest(self) -> float:
        """The lowest value that is decoded."""
        return float(self._codes[2][0])

    @property
    def highest(self) -> float:
        """The highest value that is decoded."""
        return float(self._codes[3][-1])

    # Values

    def values(self, rows: Floats) -> Floats:
        """Return the values of codes and positions, shape (n, model columns), NaN where unknown or missing."""
        return self.column.values(rows[:, [self.place]])

    def is_known(self, rows: Floats) -> NDArray[np.bool_]:
        """Whether the cells of rows are known, shape (n,); what is known to be missing is known."""
        return ~np.isnan(rows[:, self.place])

    def read(self, value: Any, default: float) -> float:
        """Return a value as people write it as a number of the axis; `default` for None.

        Raises:
            InvalidParameterError: If it cannot be read as one.
        """
        if value is None:
            return default
        if isinstance(self.column.cells, LabelCells):
            return float(read_category(self.column, value))
        return read_value(self.column, value, default)

    def show(self, value: float) -> str:
        """Return a number of the axis as the column writes it."""
        return str(self.column.write(np.array([value]))[0])

    def snap(self, values: Floats) -> Floats:
        """Return values rounded to the grid, where there is one."""
        coding = self.column.coding
        return coding.snap(values) if isinstance(coding, NumberCoding) else np.rint(values)

    def above(self, values: Floats, *, strict: bool = False) -> Floats:
        """Return the lowest values of the axis that are not below (strictly: above) the given ones."""
        if not self.step:
            return np.nextafter(values, np.inf) if strict else values
        places = values / self.step
        return self.snap((np.floor(places + _MISS) + 1 if strict else np.ceil(places - _MISS)) * self.step)

    def below(self, values: Floats, *, strict: bool = False) -> Floats:
        """Return the highest values of the axis that are not above (strictly: below) the given ones."""
        return -self.above(-values, strict=strict)

    # Codes

    def encode(self, values: Floats) -> Floats:
        """Return values as codes with positions, shape (n,); one between two codes is put into the nearer."""
        return self.column.coding.encode(values)[:, 0]

    def hull(self, allowed: Allowed) -> tuple[float, float]:
        """Return the lowest and the highest value of what is left of the codes; an empty range where there is none."""
        start, width, *_ = self._codes
        codes = np.flatnonzero(allowed.codes[: len(start)])
        if not len(codes):
            return np.inf, -np.inf
        first, last = codes[0], codes[-1]
        low, high = start[first] + width[first] * allowed.low[first], start[last] + width[last] * allowed.high[last]
        return float(self.above(low)), float(self.below(high))

    def parts(self, low: Floats, high: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return which parts of the codes hold values from `low` to `high`, both included.

        Args:
            low: Lowest values, shape (n,), on the grid.
            high: Highest values, shape (n,).
        Returns:
            First and last positions inside each code, shape (n, codes), the missing code not counted; both are 0 where
            a code is left out.
        """
        start, _, least, most, point = self._codes
        miss = _MISS * self.step
        half = np.where(low < high, self.step, point) / 2
        first, last = np.searchsorted(most, low - miss), np.searchsorted(least, high + miss, side="right") - 1
        codes = np.arange(len(start))
        is_inside = (codes >= first[:, None]) & (codes <= last[:, None])
        begin = self._position(low - half, np.minimum(first, len(start) - 1), 0.0)
        end = self._position(high + half, np.maximum(last, 0), 1.0)
        lows = np.where(codes == first[:, None], begin[:, None], np.float32(0.0))
        highs = np.where(codes == last[:, None], end[:, None], np.float32(1.0))
        return np.where(is_inside, lows, np.float32(0.0)), np.where(is_inside, highs, np.float32(0.0))

    def _position(self, values: Floats, codes: NDArray[np.int64], of_atom: float) -> NDArray[np.float32]:
        start, width, *_ = self._codes
        wide = np.where(width > 0, width, 1.0)[codes]
        inside = np.clip((values - start[codes]) / wide, 0.0, 1.0)
        return np.where(width[codes] > 0, inside, of_atom).astype(np.float32)
