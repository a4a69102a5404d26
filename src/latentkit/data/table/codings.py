"""Codings: how the values of one column become codes with positions inside, and come back; one class for each way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias, cast, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.registry import Registry
from latentkit.data.table.quantising import cut

__all__ = [
    "MOST_CODES",
    "Allowed",
    "CategoryCoding",
    "Coding",
    "DigitsCoding",
    "LeftOutCoding",
    "NumberCoding",
    "categories_coding",
    "codings",
    "learn_numbers",
]

Floats: TypeAlias = NDArray[np.float64]

#: Categories up to which each is a code of one model column; more are written with two digits.
MOST_CODES = 1000


@final
@dataclass(frozen=True, slots=True)
class Allowed:
    """What a condition leaves of one model column.

    Attributes:
        codes: Whether a code is allowed, bool, shape (codes,), the missing code last where there is one.
        low: Lowest allowed position inside each code, in [0, 1), shape (codes,).
        high: End of the allowed positions inside each code, in (0, 1], shape (codes,).
    """

    codes: NDArray[np.bool_]
    low: Floats
    high: Floats


class Coding(Protocol):
    """How the values of a column are coded; values are float64 numbers, or indices of categories."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes in each model column, the missing code not counted."""
        ...

    def encode(self, values: Floats) -> Floats:
        """Return values, shape (n,), as codes and positions, shape (n, model columns); NaN stays NaN."""
        ...

    def decode(self, u: Floats) -> Floats:
        """Return codes and positions, shape (n, model columns), as values, shape (n,)."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the coding as JSON values."""
        ...


#: Every coding, by the name that stands in a description; each part makes one from its description.
codings: Registry[Callable[[dict[str, Any]], Coding]] = Registry("coding")


@final
@dataclass(frozen=True)
class NumberCoding:
    r"""Numbers: frequent values are atoms, the others lie in bins.

    .. math:: u = j + (x - low_j) / (high_j - low_j), \quad x = low_j + (high_j - low_j) (u - j)

    An atom has low_j = high_j and u = j + 1/2. What lies between two codes belongs to the nearer one; what lies beyond
    all of them continues the outermost bin, below 0 or from the number of codes on.

    Attributes:
        low: Lower ends, ascending.
        high: Upper ends.
        step: Distance of the grid on which the values lie, such as 1 or 0.01; 0 where there is none.
        lowest: Number below which nothing is decoded.
        highest: Number above which nothing is decoded.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    step: float = 0.0
    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def sizes(self) -> tuple[int, ...]:
        return (len(self.low),)

    @cached_property
    def _arrays(self) -> tuple[Floats, Floats, Floats]:
        low, high = np.array(self.low), np.array(self.high)
        return low, high - low, (high[:-1] + low[1:]) / 2

    @cached_property
    def _end_widths(self) -> tuple[float, float]:
        """By how much a value grows with u beyond the first and the last code."""
        width = self._arrays[1]
        spare = float(self.high[-1] - self.low[0]) / len(self.low) or self.step or 1.0
        return float(width[0]) or spare, float(width[-1]) or spare

    def encode(self, values: Floats) -> Floats:
        low, width, between = self._arrays
        code = np.searchsorted(between, values, side="right")
        wide = np.where(width > 0, width, 1.0)[code]
        position = np.where(width[code] > 0, (values - low[code]) / wide, 0.5)
        # Single precision must not lift the end of a code to the beginning of the next.
        highest = np.nextafter((code + 1).astype(np.float32), np.float32(0)).astype(np.float64) - code
        u = code + np.clip(position, 0.0, highest)
        below, above = values < self.low[0] - self.step / 4, values > self.high[-1] + self.step / 4
        u = np.where(below, np.minimum((values - self.low[0]) / self._end_widths[0], -1e-6), u)
        u = np.where(above, len(low) + (values - self.high[-1]) / self._end_widths[1], u)
        return np.where(np.isnan(values), np.nan, u)[:, None]

    def decode(self, u: Floats) -> Floats:
        low, width, _ = self._arrays
        flat = u[:, 0]
        known = np.where(np.isnan(flat), 0.0, flat)
        code = np.clip(np.floor(known), 0, len(low) - 1).astype(np.int64)
        values = low[code] + width[code] * np.clip(known - code, 0.0, 1.0)
        if self.step:
            # Half a step in from the ends of a bin lie the first and last points of the grid in it.
            inner = np.minimum(width[code] / 2, self.step / 2)
            values = np.clip(self.snap(values), low[code] + inner, low[code] + width[code] - inner)
        below, above = known < 0, known >= len(low)
        values = np.where(below, self.low[0] + known * self._end_widths[0], values)
        values = np.where(above, self.high[-1] + (known - len(low)) * self._end_widths[1], values)
        values = np.clip(self.snap(values), self.lowest, self.highest)
        return np.where(np.isnan(flat), np.nan, values)

    def snap(self, values: Floats) -> Floats:
        """Return values rounded to the grid, where there is one."""
        if not self.step:
            return values
        if self.step >= 1:
            return np.rint(values / self.step) * self.step
        return np.round(values, round(-math.log10(self.step)))

    def interval(self, low: float, high: float) -> Allowed:
        """Return which codes hold values from `low` to `high`, both included, and what part of each."""
        start, width, _ = self._arrays
        half = self.step / 2
        wide = np.where(width > 0, width, 1.0)
        first = np.where(width > 0, np.clip((low - half - start) / wide, 0, 1), 0.0)
        last = np.where(width > 0, np.clip((high + half - start) / wide, 0, 1), 1.0)
        inside = (start <= high) & (start + width >= low)
        codes = inside & ((last > first) | (low == high) | (width == 0))
        return Allowed(codes, np.where(codes, first, 0.0), np.where(codes, last, 1.0))

    def describe(self) -> dict[str, Any]:
        codes = [[low] if low == high else [low, high] for low, high in zip(self.low, self.high, strict=True)]
        bounds = [None if math.isinf(end) else end for end in (self.lowest, self.highest)]
        return {"type": "number", "codes": codes, "step": self.step, "bounds": bounds}


@codings.register("number")
def _number_coding(description: dict[str, Any]) -> NumberCoding:
    lowest, highest = description["bounds"]
    return NumberCoding(
        tuple(float(code[0]) for code in description["codes"]),
        tuple(float(code[-1]) for code in description["codes"]),
        float(description["step"]),
        -math.inf if lowest is None else float(lowest),
        math.inf if highest is None else float(highest),
    )


def learn_numbers(
    different: Floats,
    counts: NDArray[np.int64],
    *,
    step: float = 0.0,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> NumberCoding:
    """Return the coding of numbers; the arguments are those of :func:`~latentkit.data.table.quantising.cut`."""
    low, high = cut(different, counts, step=step, lowest=lowest, highest=highest)
    return NumberCoding(tuple(low.tolist()), tuple(high.tolist()), step, lowest, highest)


@final
@dataclass(frozen=True)
class CategoryCoding:
    """Categories, a code each: u = j + 1/2 for the category of place j.

    Attributes:
        n: Number of categories.
    """

    n: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.n,)

    def encode(self, values: Floats) -> Floats:
        return values[:, None] + 0.5

    def decode(self, u: Floats) -> Floats:
        return np.clip(np.floor(u[:, 0]), 0, self.n - 1)

    def chosen(self, places: Sequence[int]) -> tuple[Allowed, ...]:
        """Return what is left of the model column by the categories of these places."""
        return (_only(places, self.n),)

    def describe(self) -> dict[str, Any]:
        return {"type": "category", "n": self.n}


@codings.register("category")
def _category_coding(description: dict[str, Any]) -> CategoryCoding:
    return CategoryCoding(int(description["n"]))


@final
@dataclass(frozen=True)
class DigitsCoding:
    """Very many categories, as two digits: place = first * base + second, most frequent categories first.

    The base is the square root of the number of categories, so that 300,000 of them need two model columns of 548
    codes, and nothing of the size of a one-hot matrix.

    Attributes:
        n: Number of categories, at least 2.
    """

    n: int

    @property
    def base(self) -> int:
        """Number of codes of the second digit."""
        return math.isqrt(self.n - 1) + 1

    @property
    def sizes(self) -> tuple[int, ...]:
        return (-(-self.n // self.base), self.base)

    def encode(self, values: Floats) -> Floats:
        return np.stack(np.divmod(values, self.base), axis=1) + 0.5

    def decode(self, u: Floats) -> Floats:
        first, second = (np.clip(np.floor(u[:, digit]), 0, size - 1) for digit, size in enumerate(self.sizes))
        # The last first digit may have fewer seconds than the others.
        left = self.n - (self.sizes[0] - 1) * self.base
        second = np.where(first == self.sizes[0] - 1, second % left, second)
        return cast(Floats, first * self.base + second)

    def chosen(self, places: Sequence[int]) -> tuple[Allowed, ...]:
        """Return what is left of the two digits by the categories of these places.

        Raises:
            InvalidParameterError: If the digits of these categories would also make others.
        """
        digits = ({place // self.base for place in places}, {place % self.base for place in places})
        if len(digits[0]) * len(digits[1]) != len(set(places)):
            raise InvalidParameterError(
                f"a column of {self.n} categories can be held at one of them at a time; got {len(set(places))}. Ask "
                "for one after the other"
            )
        return tuple(_only(sorted(digit), size) for digit, size in zip(digits, self.sizes, strict=True))

    def describe(self) -> dict[str, Any]:
        return {"type": "digits", "n": self.n}


@codings.register("digits")
def _digits_coding(description: dict[str, Any]) -> DigitsCoding:
    return DigitsCoding(int(description["n"]))


def categories_coding(n: int) -> CategoryCoding | DigitsCoding:
    """Return the coding of n categories: one model column of up to 1,000 codes, or two digits."""
    return CategoryCoding(n) if n <= MOST_CODES else DigitsCoding(n)


@final
@dataclass(frozen=True)
class LeftOutCoding:
    """A column that the model does not see: no model column; what is decoded is the number of the row."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return ()

    def encode(self, values: Floats) -> Floats:
        return np.empty((len(values), 0))

    def decode(self, u: Floats) -> Floats:
        return np.arange(len(u), dtype=np.float64)

    def describe(self) -> dict[str, Any]:
        return {"type": "left out"}


@codings.register("left out")
def _left_out_coding(description: dict[str, Any]) -> LeftOutCoding:
    return LeftOutCoding()


def _only(places: Sequence[int], size: int) -> Allowed:
    codes = np.zeros(size, np.bool_)
    codes[list(places)] = True
    return Allowed(codes, np.zeros(size), np.ones(size))
