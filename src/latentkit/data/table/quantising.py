"""Cutting the numbers of a column into codes: frequent values for themselves, the rest in bins of many rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_ROWS", "cut", "n_bins"]

#: Rows that a code stands for at least: a value of fewer rows is somebody's own and is never a code of its own.
MIN_ROWS = 5
#: Columns of at most this many different values keep each of them, as far as `MIN_ROWS` allows.
FEW_VALUES = 130


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive different values, ``[start, stop)``: one value that is a code of its own, or values to be binned."""

    start: int
    stop: int
    rows: int
    is_atom: bool


def n_bins(n: int) -> int:
    """Number of quantile bins for n rows: about 20 rows each, 4 to 64, and 128 from 100,000 rows on."""
    return 128 if n >= 100_000 else int(np.clip(n // 20, 4, 64))


def cut(
    different: NDArray[np.float64],
    counts: NDArray[np.int64],
    *,
    step: float = 0.0,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return codes in ascending order, each from a low to a high end; the ends of an atom are equal.

    A value is an *atom* if its share is at least 1 / (4 B), B = ``n_bins(n)``, or if the column has at most 130
    different values, and always only with at least 5 rows. The rest is cut at quantiles, about n / B rows to a bin,
    and finer towards both ends of the column, where a bin would otherwise be as wide as the longest tail. Every bin
    has at least 5 rows: where fewer stand between two atoms, the lighter one joins them, unless it weighs as much as
    a whole bin.

    The ends of bins are round numbers between the data, not values of the data; the outermost ends are rounded
    outwards by up to a quarter of the outermost bin, unless at least 5 rows have the extreme value.

    Args:
        different: The different values, finite and ascending, at least one.
        counts: In how many rows each stands.
        step: Distance of the grid on which all values lie; 0 where there is none. Ends of bins then lie halfway
            between two points of the grid.
        lowest: Number below which no end may lie.
        highest: Number above which no end may lie.
    Returns:
        Low and high ends, shape (codes,) each.
    """
    unit = step or 1.0
    if step:
        different = np.rint(different / unit)
    n = int(counts.sum())
    rows_per_bin = n / n_bins(n)
    share = 1.0 if len(different) <= FEW_VALUES else rows_per_bin / 4
    runs = _merged(_runs(counts, counts >= max(MIN_ROWS, share)), rows_per_bin)
    pieces = [piece for run in runs for piece in _split(run, counts, rows_per_bin)]
    ends = _Ends(different, counts, half=0.5 if step else 0.0, lowest=lowest / unit, highest=highest / unit)
    low, high = ends.of(pieces)
    return _rounded(low * unit, step), _rounded(high * unit, step)


def _rounded(ends: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    # 0.1 + 0.2 is to be 0.3: half a step has one digit more than a step.
    return np.round(ends, max(0, 1 - math.floor(math.log10(step)))) if step else ends


def _runs(counts: NDArray[np.int64], atoms: NDArray[np.bool_]) -> list[_Run]:
    starts = np.flatnonzero(np.r_[True, atoms[1:] | atoms[:-1]])
    stops = np.r_[starts[1:], len(counts)]
    rows = np.add.reduceat(counts, starts)
    return [
        _Run(int(start), int(stop), int(n), bool(atoms[start]))
        for start, stop, n in zip(starts, stops, rows, strict=True)
    ]


def _merged(runs: list[_Run], rows_per_bin: float) -> list[_Run]:
    """Return the runs with every run of too few rows joined to its lighter neighbour, where there is a light one."""
    runs = list(runs)
    index = 0
    while index < len(runs):
        run = runs[index]
        light = [
            near
            for near in (index - 1, index + 1)
            if 0 <= near < len(runs) and runs[near].rows < max(rows_per_bin, MIN_ROWS + 1)
        ]
        if run.is_atom or run.rows >= MIN_ROWS or not light:
            index += 1
            continue
        near = min(light, key=lambda place: runs[place].rows)
        first, last = min(index, near), max(index, near)
        # What lies beyond the atom is no atom itself and becomes part of the same run.
        first -= first > 0 and near < index and not runs[first - 1].is_atom
        last += last + 1 < len(runs) and near > index and not runs[last + 1].is_atom
        rows = sum(part.rows for part in runs[first : last + 1])
        runs[first : last + 1] = [_Run(runs[first].start, runs[last].stop, rows, False)]
        index = first
    return runs


def _split(run: _Run, counts: NDArray[np.int64], rows_per_bin: float) -> list[_Run]:
    """Return bins of about `rows_per_bin` rows, and of half, a quarter, ... as many at the ends of the column."""
    if run.is_atom:
        return [run]
    rows = np.cumsum(counts[run.start : run.stop])
    n = max(1, round(run.rows / rows_per_bin))
    targets = run.rows * np.arange(1, n) / n
    halves = rows_per_bin * 0.5 ** np.arange(1, 32)
    halves = halves[halves >= 2 * MIN_ROWS]
    at_start = halves if run.start == 0 else halves[:0]
    at_end = run.rows - halves if run.stop == len(counts) else halves[:0]
    targets = np.sort(np.r_[targets, at_start, at_end])
    places = np.unique(np.searchsorted(rows, targets) + 1)
    pieces, start, done = [], 0, 0
    for place in places[places < len(rows)]:
        here = int(rows[place - 1])
        if here - done >= MIN_ROWS and run.rows - here >= MIN_ROWS:
            pieces.append(_Run(run.start + start, run.start + int(place), here - done, False))
            start, done = int(place), here
    return [*pieces, replace(run, start=run.start + start, rows=run.rows - done)]


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where codes begin and end: near their outermost values, on numbers as round as there is room for."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    half: float
    lowest: float
    highest: float

    def of(self, pieces: list[_Run]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first = self.values[[piece.start for piece in pieces]]
        last = self.values[[piece.stop - 1 for piece in pieces]]
        low, high = first.copy(), last.copy()
        binned = np.array([not piece.is_atom for piece in pieces])
        reach = np.where(binned, (last - first) / 4, 0.0)
        for left in range(len(pieces) - 1):
            right = left + 1
            a, b = last[left], first[right]
            near = b - a <= reach[left] + reach[right] + 2 * self.half
            if binned[left] and binned[right] and near:
                high[left] = low[right] = self._between(a, b)
                continue
            middle = (a + b) / 2
            if binned[left]:
                high[left] = self._between(a, max(a + 2 * self.half, min(middle, a + reach[left])))
            if binned[right]:
                low[right] = self._between(min(b - 2 * self.half, max(middle, b - reach[right])), b)
        if binned[0]:
            low[0] = self._outermost(first[0], float(-reach[0]), self.counts[0])
        if binned[-1]:
            high[-1] = self._outermost(last[-1], float(reach[-1]), self.counts[-1])
        return low, high

    def _between(self, a: float, b: float) -> float:
        """Return a round number from a to b; on a grid one that lies halfway between two of its points."""
        if not self.half:
            return _roundest(a, b)
        first, last = math.ceil(a), math.floor(b) - 1
        return _roundest(first, max(first, last)) + 0.5

    def _outermost(self, value: float, reach: float, count: int) -> float:
        half = math.copysign(self.half, reach)
        end = value if count >= MIN_ROWS else _roundest(*sorted((value, value + reach)))
        end = math.floor(end) if self.half and reach > 0 else math.ceil(end) if self.half else end
        # The grid's half step may pass a bound, since decoding rounds back; the value itself may not.
        return float(np.clip(end, min(value, self.lowest), max(value, self.highest))) + half


def _roundest(a: float, b: float) -> float:
    """Return the number from a to b with the fewest digits, near the middle.

    Example:
        >>> _roundest(1234.5, 1278.9), _roundest(41, 41), _roundest(0.034, 0.061)
        (1250.0, 41.0, 0.05)
    """
    if not b > a:
        return float(a)
    power = math.floor(math.log10(b - a))
    for factor in (10, 5, 2, 1):
        step = factor * 10.0**power
        near = round(round((a + b) / 2 / step) * step, max(0, -power))
        if a <= near <= b:
            return float(near)
    return float(a + b) / 2
