"""Probabilities as integers: what an entropy coder works with, the same on every machine."""

from __future__ import annotations

from functools import cached_property
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DamagedArchiveError, InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["MOST_PRECISION", "FrequencyTables", "integer_frequencies"]

Integers = NDArray[np.int64]

#: Bits of a probability, at most: a coder's state leaves room for no more.
MOST_PRECISION: Final = 32
_MOST_SLOTS: Final = 1 << 20  # of all tables together, up to which the symbol of each slot is looked up


def integer_frequencies(probabilities: NDArray[np.floating], precision: int, *, least: int = 1) -> Integers:
    r"""Return frequencies that stand for probabilities, whole numbers.

    .. math:: f_i \ge m, \qquad \sum_i f_i = 2^b, \qquad f_i / 2^b \approx p_i

    Each gets what it is due, rounded down, and m at the least; what is left over goes to those whose rounding lost
    most, what is too much is taken from the largest. It works with floating-point numbers: a table is made once, and
    kept.

    Args:
        probabilities: At least 0, of any sum above 0 in the last dimension, shape (..., n).
        precision: Bits b.
        least: 1 where any symbol may come; 0 where they are only ever drawn, which leaves the tails to the others.

    Returns:
        Frequencies, int64, the shape of `probabilities`.

    Raises:
        InvalidParameterError: If there are more symbols than the precision has room for, or a probability is negative,
            infinite or NaN.

    Example:
        >>> integer_frequencies(np.array([0.5, 0.25, 0.25, 0.0]), 4)
        array([7, 4, 4, 1])
    """
    precision = check_integer("precision", precision, low=1, high=MOST_PRECISION)
    p = np.asarray(probabilities, np.float64)
    n, whole = p.shape[-1], 1 << precision
    if n > whole:
        raise InvalidParameterError(f"{n} symbols need {n.bit_length()} bits of precision at least; got {precision}.")
    totals = p.sum(-1, keepdims=True)
    if not ((p >= 0.0).all() and np.isfinite(totals).all() and (totals > 0.0).all()):
        raise InvalidParameterError("probabilities must be finite, at least 0, and not all of a table 0.")
    due = (p / totals * whole).reshape(-1, n)
    frequencies = np.maximum(np.floor(due), float(least)).astype(np.int64)
    for row, wanted in zip(frequencies, due, strict=True):
        left = whole - int(row.sum())
        if left > 0:
            order = np.argsort(row - wanted, kind="stable")
            row += left // n
            row[order[: left % n]] += 1
        while left < 0:  # many that are all but impossible take from those that are not
            largest = int(row.argmax())
            second = int(np.partition(row, -2)[-2])
            taken = min(-left, max(1, int(row[largest]) - second))
            row[largest] -= taken
            left += taken
    shaped: Integers = frequencies.reshape(p.shape)
    return shaped


@final
class FrequencyTables:
    """Several distributions of one alphabet, as cumulated frequencies.

    Symbol s of a table has the slots from its start to that of s + 1, of :math:`2^b` in all.

    Args:
        frequencies: At least `least`, shape (tables, n); each table adds up to :math:`2^b`.
        precision: Bits b.
        least: See :func:`integer_frequencies`.

    Attributes:
        precision: Bits b.
        starts: Where the slots of each symbol start, and where those of the last end, shape (tables, n + 1).
        n_symbols: How many symbols a table has.

    Raises:
        DamagedArchiveError: If these are no such frequencies. Tables come from files.

    Example:
        >>> coin = FrequencyTables(np.array([[3, 1]]), 2)
        >>> coin.intervals(np.array([0, 0]), np.array([0, 1]))
        (array([0, 3]), array([3, 1]))
        >>> coin.symbols(np.array([0, 0]), np.array([2, 3]))
        array([0, 1])
    """

    def __init__(self, frequencies: NDArray[np.integer], precision: int, *, least: int = 1) -> None:
        counts = np.asarray(frequencies)
        if counts.ndim != 2 or counts.dtype.kind not in "iu" or not 1 <= precision <= MOST_PRECISION:
            raise DamagedArchiveError("these are no tables of frequencies.")
        # each by itself first, so that sums cannot wrap around
        whole = 1 << precision
        if counts.size == 0 or counts.min() < least or counts.max() > whole:
            raise DamagedArchiveError(f"a frequency is not between {least} and {whole:,}.")
        starts = np.zeros((len(counts), counts.shape[1] + 1), np.int64)
        np.cumsum(counts, axis=1, dtype=np.int64, out=starts[:, 1:])
        if (starts[:, -1] != whole).any():
            raise DamagedArchiveError(f"the frequencies of a table do not add up to {whole:,}.")
        self.precision = precision
        self.starts = starts
        self.n_symbols = int(counts.shape[1])
        self._flat = starts.ravel()
        self._slots: NDArray[np.int64] | None = None
        if len(counts) * whole <= _MOST_SLOTS:
            symbols = np.tile(np.arange(counts.shape[1]), len(counts))
            self._slots = np.repeat(symbols, counts.ravel())

    @classmethod
    def of(cls, probabilities: NDArray[np.floating], precision: int, *, least: int = 1) -> FrequencyTables:
        """Return tables of probabilities, shape (tables, n); see :func:`integer_frequencies`."""
        frequencies = integer_frequencies(np.atleast_2d(probabilities), precision, least=least)
        return cls(frequencies, precision, least=least)

    @property
    def frequencies(self) -> Integers:
        """Frequencies, shape (tables, n)."""
        return np.diff(self.starts, axis=1)

    def intervals(self, tables: Integers, symbols: Integers) -> tuple[Integers, Integers]:
        """Return starts and frequencies of symbols, each of its table, int64."""
        places = tables * (self.n_symbols + 1) + symbols
        starts = self._flat[places]
        return starts, self._flat[places + 1] - starts

    def symbols(self, tables: Integers, slots: Integers) -> Integers:
        """Return the symbols that have slots, each of its table, int64."""
        if self._slots is not None:
            found: Integers = self._slots[(tables << self.precision) + slots]
            return found
        first = tables * (self.n_symbols + 1)
        if self.n_symbols == 2:
            return (slots >= self._flat[first + 1]).astype(np.int64)
        buckets, shift = self._outline
        at = tables * buckets.shape[1] + (slots >> shift)
        low, high = buckets.take(at), buckets.take(at + 1)
        while (low < high).any():
            middle = (low + high + 1) >> 1
            is_there = self._flat[first + middle] <= slots
            low, high = np.where(is_there, middle, low), np.where(is_there, high, middle - 1)
        return np.asarray(low)

    @cached_property
    def _outline(self) -> tuple[Integers, int]:
        """Symbols of slots that are 2^shift apart, and of the last one, each table's in a row; and the shift."""
        bits = min(self.precision, (_MOST_SLOTS // len(self.starts)).bit_length() - 1)
        shift = self.precision - max(0, bits)
        slots = np.arange(0, (1 << self.precision) + 1, 1 << shift)
        slots[-1] -= 1
        return np.stack([np.searchsorted(row, slots, side="right") - 1 for row in self.starts]), shift

    def bits(self, tables: Integers, symbols: Integers) -> float:
        """Return what symbols cost, each of its table, in bits."""
        return float(self.precision * np.size(symbols) - np.log2(self.intervals(tables, symbols)[1]).sum())
