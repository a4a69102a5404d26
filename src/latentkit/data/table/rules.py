"""Rules between axes: constraints as bounds that the known cells of a row set to its other cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.data.containers import Name
from latentkit.data.table.axes import Axis

__all__ = ["Bounds", "OrderRule", "RangeRule", "Rule", "SumRule", "contradict"]

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

#: Passes after which the bounds of rules that set each other are taken as they are.
_PASSES = 100
#: By what part of it a number of single precision may miss what it stands for.
_SINGLE = 1e-6


class Bounds:
    """The lowest and highest values that are left of the cells of some rows.

    Args:
        low: Lowest values of each axis, shape (n,).
        high: Highest values.
        is_open: Which cells rules may narrow, shape (n,); the others are known, or may be missing.
    """

    def __init__(self, low: dict[Name, Floats], high: dict[Name, Floats], is_open: Mapping[Name, Bools]) -> None:
        self.low, self.high = low, high
        self._is_open = is_open

    def narrow(self, axis: Axis, low: Floats, high: Floats) -> None:
        """Take in that the cells of an axis lie from `low` to `high`."""
        name = axis.name
        is_open = self._is_open[name]
        self.low[name] = np.where(is_open, np.maximum(self.low[name], low), self.low[name])
        self.high[name] = np.where(is_open, np.minimum(self.high[name], high), self.high[name])

    @property
    def are_empty(self) -> bool:
        """Whether nothing is left of an axis in any row."""
        return any(bool((self.low[name] > self.high[name]).any()) for name in self.low)

    def copied(self) -> list[Floats]:
        """Return the ends, to see whether they change."""
        return [*self.low.values(), *self.high.values()]


class Rule(Protocol):
    """A constraint on axes."""

    @property
    def text(self) -> str:
        """The constraint as it is typed."""
        ...

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes that it is about."""
        ...

    def narrow(self, bounds: Bounds) -> None:
        """Narrow the bounds of each axis by those of the others."""
        ...

    def holds(self, values: Mapping[Name, Floats]) -> Bools:
        """Whether it holds in rows whose values are these, shape (n,) each, NaN where missing; then it holds."""
        ...


@final
@dataclass(frozen=True)
class RangeRule:
    """An axis lies from `low` to `high`, both on its grid."""

    text: str
    axis: Axis
    low: float
    high: float

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.axis,)

    def narrow(self, bounds: Bounds) -> None:
        bounds.narrow(self.axis, np.array(self.low), np.array(self.high))

    def holds(self, values: Mapping[Name, Floats]) -> Bools:
        cells = values[self.axis.name]
        return ~((cells < self.low) | (cells > self.high))


@final
@dataclass(frozen=True)
class OrderRule:
    """One axis is not above (strictly: below) another."""

    text: str
    low: Axis
    high: Axis
    strict: bool

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.low, self.high)

    def narrow(self, bounds: Bounds) -> None:
        below, above = bounds.low[self.low.name], bounds.high[self.high.name]
        bounds.narrow(self.high, self.high.above(below, strict=self.strict), np.array(np.inf))
        bounds.narrow(self.low, np.array(-np.inf), self.low.below(above, strict=self.strict))

    def holds(self, values: Mapping[Name, Floats]) -> Bools:
        low, high = values[self.low.name], values[self.high.name]
        return ~(low >= high) if self.strict else ~(low > high)


@final
@dataclass(frozen=True)
class SumRule:
    """An axis is the sum of others, less further ones, rounded to its own grid."""

    text: str
    total: Axis
    plus: tuple[Axis, ...]
    minus: tuple[Axis, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.total, *self.plus, *self.minus)

    def narrow(self, bounds: Bounds) -> None:
        total = self.total
        low, high = self._ends(bounds, None)
        bounds.narrow(total, total.snap(low), total.snap(high))
        slack = self._slack
        for place, axis in enumerate((*self.plus, *self.minus)):
            rest_low, rest_high = self._ends(bounds, place)
            low = bounds.low[total.name] - slack - rest_high
            high = bounds.high[total.name] + slack - rest_low
            if place >= len(self.plus):
                low, high = -high, -low
            bounds.narrow(axis, axis.above(low), axis.below(high))

    def holds(self, values: Mapping[Name, Floats]) -> Bools:
        total = values[self.total.name]
        sums = self.total.snap(_signed(self, values, values, None)[0])
        single = _SINGLE if getattr(self.total.column.cells, "type", "") in ("float", "halffloat") else 1e-12
        miss = np.maximum(self.total.step / 4, single * np.abs(total))
        return ~(np.abs(total - sums) > miss)

    @property
    def _slack(self) -> float:
        """By how much the sum may miss the total, which is rounded."""
        finest = min(axis.step for axis in (*self.plus, *self.minus))
        return 0.0 if self.total.step and finest >= self.total.step else self.total.step / 2

    def _ends(self, bounds: Bounds, without: int | None) -> tuple[Floats, Floats]:
        return _signed(self, bounds.low, bounds.high, without)


def _signed(
    rule: SumRule, low: Mapping[Name, Floats], high: Mapping[Name, Floats], without: int | None
) -> tuple[Floats, Floats]:
    """The lowest and highest sum of the terms but one."""
    lowest: Floats | None = None
    highest: Floats | None = None
    for place, axis in enumerate((*rule.plus, *rule.minus)):
        if place == without:
            continue
        name, is_added = axis.name, place < len(rule.plus)
        least, most = (low[name], high[name]) if is_added else (-high[name], -low[name])
        # Not from zero: the sum is to be the one that adding the columns in this order gives, bit by bit.
        lowest, highest = (least, most) if lowest is None or highest is None else (lowest + least, highest + most)
    if lowest is None or highest is None:
        return np.array(0.0), np.array(0.0)
    return lowest, highest


def contradict(rules: Sequence[Rule]) -> bool:
    """Whether no row can keep all of the rules, as far as their bounds tell."""
    axes = {axis.name: axis for rule in rules for axis in rule.axes}
    bounds = Bounds(
        {name: np.array([axis.lowest]) for name, axis in axes.items()},
        {name: np.array([axis.highest]) for name, axis in axes.items()},
        {name: np.ones(1, np.bool_) for name in axes},
    )
    for _ in range(_PASSES):
        before = bounds.copied()
        for rule in rules:
            rule.narrow(bounds)
        if bounds.are_empty:
            return True
        if all(np.array_equal(old, new) for old, new in zip(before, bounds.copied(), strict=True)):
            break
    return _has_strict_circle([rule for rule in rules if isinstance(rule, OrderRule)])


def _has_strict_circle(rules: Sequence[OrderRule]) -> bool:
    """Whether a column would have to be below itself."""
    reached = {(rule.low.name, rule.high.name): rule.strict for rule in rules}
    names = {name for pair in reached for name in pair}
    for middle in names:
        for low in names:
            for high in names:
                if (low, middle) in reached and (middle, high) in reached:
                    is_strict = reached[low, middle] or reached[middle, high] or reached.get((low, high), False)
                    reached[low, high] = is_strict
    return any(is_strict for (low, high), is_strict in reached.items() if low == high)
