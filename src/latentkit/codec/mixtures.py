"""Mixtures of learnt tables and of logistic distributions, as frequencies of whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.curves import exponential_curve, logistic_curve
from latentkit.codec.frequencies import FrequencyTables
from latentkit.core.errors import DamagedArchiveError
from latentkit.core.parameters import check_integer

__all__ = ["LEVELS_PER_NAT", "LOGITS_PER_NAT", "LOWEST_LEVEL", "MEANS_PER_SYMBOL", "TABLE_BITS", "MixtureTables"]

Small = NDArray[np.int32]
Whole = NDArray[np.integer]

#: What a network's outputs are worth: a logit in nats, a mean in symbols, the logarithm of a scale in nats.
LOGITS_PER_NAT: Final = 32
MEANS_PER_SYMBOL: Final = 16
LEVELS_PER_NAT: Final = 8
#: Level 0 is a scale of one symbol; this one is of a tenth.
LOWEST_LEVEL: Final = -18
HIGHEST_LEVEL: Final = 45
#: Precision of a component, of the weights, and of both together.
TABLE_BITS: Final = 14
_WEIGHT_BITS: Final = 13

_MOST_BELOW: Final = 16 * LOGITS_PER_NAT - 1  # logits further below the largest do not count
_EXPONENTIAL_BITS: Final = 15
_CURVE_PER_UNIT: Final = 128
_CURVE_HALF: Final = 12 * _CURVE_PER_UNIT  # beyond it the curve is 0 or 1 in 14 bits
_SLOPE_BITS: Final = 10
_FEWEST: Final = 16  # symbols
_MOST: Final = 512  # with which products of slopes have room in 32 bits


@final
@dataclass(frozen=True, slots=True)
class Mixtures:
    """Distributions of n symbols, one each; the numbers of one component stand side by side.

    Attributes:
        weights: Of the components, shape (components, n).
        offsets: The argument of the logistic ones' curve at symbol 0, shape (logistics, n).
        slopes: Of them: how much the curve's argument grows with a symbol, shape (logistics, n).
    """

    weights: Small
    offsets: Small
    slopes: Small

    def __len__(self) -> int:
        return int(self.weights.shape[1])

    def __getitem__(self, places: slice | Whole) -> Mixtures:
        each = self.weights, self.offsets, self.slopes
        if isinstance(places, slice):
            return Mixtures(*(rows[:, places] for rows in each))
        # an index would lay them out the other way round
        return Mixtures(*(rows.take(places, axis=1) for rows in each))


@final
class MixtureTables:
    r"""Distributions of whole numbers from 0 to n - 1 whose weights, means and scales a network gives.

    .. math:: F(s) = \sum_k w_k C_k(s)
              + \sum_j w_j \left\lfloor 2^{14} \sigma\left(\tfrac{s - 1/2 - \mu_j}{\varsigma_j}\right) \right\rceil
              + \tfrac{2^{14}}{n} s

    is the number of slots, of :math:`2^{27}`, of the symbols below s. C are learnt tables; logistic distributions are
    looked up in a curve; the last term keeps every symbol possible. Weights are whole numbers that add up to
    :math:`2^{13} - 1`, in proportion to exponentials of what the network gives. F(0) is 0 and F(n) is :math:`2^{27}`:
    the outermost symbols take what lies beyond them. All of it is arithmetic of whole numbers, or of 64-bit numbers
    that hold them.

    Args:
        tables: The learnt ones, of precision 14 and n symbols; n is a power of two from 16 to 512.
        n_logistics: How many logistic components there are.

    Attributes:
        n_symbols: n.
        n_outputs: What a network gives for a symbol: a logit for each component, then the means, then levels of scales.
        precision: 27.

    Raises:
        DamagedArchiveError: If the tables are not of this kind.

    References:
        Salimans et al., 2017, PixelCNN++, arXiv:1701.05517 (mixtures of discretised logistic distributions).

    Example:
        >>> tables = FrequencyTables(np.array([[16384 - 15] + [1] * 15]), 14)
        >>> mixtures = MixtureTables(tables, n_logistics=1)
        >>> zero_or_about_seven = mixtures.of(np.array([[0, 0, 16 * 7, 0]]))
        >>> starts, frequencies = mixtures.intervals(zero_or_about_seven, np.array([7]))
        >>> round(float(frequencies[0]) / 2**mixtures.precision, 2)  # half of a logistic distribution's 0.24
        0.12
    """

    def __init__(self, tables: FrequencyTables, *, n_logistics: int) -> None:
        n = tables.n_symbols
        if tables.precision != TABLE_BITS or not _FEWEST <= n <= _MOST or n & (n - 1):
            raise DamagedArchiveError(
                f"tables of {n} symbols and precision {tables.precision} make no mixtures: {TABLE_BITS} it has to be, "
                f"and a power of two from {_FEWEST} to {_MOST}."
            )
        self.tables, self.n_symbols, self.precision = tables, n, TABLE_BITS + _WEIGHT_BITS
        self.n_tables, self.n_logistics = len(tables.starts), check_integer("n_logistics", n_logistics, low=0)
        self.n_outputs = self.n_tables + 3 * self.n_logistics
        self._floor = (1 << TABLE_BITS) // n
        self._starts = tables.starts.astype(np.int32)
        n_levels = HIGHEST_LEVEL - LOWEST_LEVEL + 1
        per_sixteenth = _SLOPE_BITS + (_CURVE_PER_UNIT // MEANS_PER_SYMBOL).bit_length() - 1
        slopes = exponential_curve(n_levels, per_unit=LEVELS_PER_NAT, bits=per_sixteenth, first=LOWEST_LEVEL)
        self._slopes = slopes.astype(np.int32)
        self._curve = logistic_curve(_CURVE_HALF, per_unit=_CURVE_PER_UNIT, bits=TABLE_BITS).astype(np.int32)
        exponential = exponential_curve(_MOST_BELOW + 1, per_unit=LOGITS_PER_NAT, bits=_EXPONENTIAL_BITS)
        self._exponential = exponential.astype(np.float64)

    @property
    def means(self) -> slice:
        """Where the means stand among a network's outputs."""
        start = self.n_tables + self.n_logistics
        return slice(start, start + self.n_logistics)

    def of(self, outputs: Whole) -> Mixtures:
        """Return the distributions that a network's outputs stand for, shape (n, outputs); any whole numbers do."""
        n_components = self.n_tables + self.n_logistics
        rows = np.ascontiguousarray(outputs.T)  # what is done to each component of all n goes quickest along n
        logits, means, levels = np.split(rows, [n_components, n_components + self.n_logistics])
        below = logits.max(0) - logits
        shares = self._exponential.take(below, mode="clip")
        totals = shares.sum(0)
        whole = (1 << _WEIGHT_BITS) - 1
        # rounded correctly, a quotient of whole numbers as small as these has the right floor
        shares *= whole
        shares /= totals
        weights = shares.astype(np.int32)
        numbers = np.arange(n_components, dtype=np.int32)[:, None]
        first = np.where(below == 0, numbers, n_components).min(0)
        weights[first, np.arange(len(first))] += whole - weights.sum(0, dtype=np.int32)
        slopes = self._slopes.take(levels.clip(LOWEST_LEVEL, HIGHEST_LEVEL) - LOWEST_LEVEL)
        most = self.n_symbols * MEANS_PER_SYMBOL
        offsets = means.clip(-most // 2, most + most // 2).astype(np.int32, copy=False)
        offsets += MEANS_PER_SYMBOL // 2
        offsets *= -slopes
        offsets += _CURVE_HALF << _SLOPE_BITS
        slopes *= MEANS_PER_SYMBOL
        return Mixtures(weights, offsets, slopes)

    def intervals(self, mixtures: Mixtures, symbols: Whole) -> tuple[Small, Small]:
        """Return starts and frequencies of symbols, each of its distribution, shape (n,), int32."""
        starts, ends = self._below(mixtures, symbols), self._below(mixtures, symbols + 1)
        starts[symbols == 0] = 0
        ends[symbols == self.n_symbols - 1] = 1 << self.precision
        ends -= starts
        return starts, ends

    def symbols(self, mixtures: Mixtures, slots: Whole) -> tuple[Small, Small, Small]:
        """Return the symbols that have slots, each of its distribution, their starts and their frequencies, int32."""
        slots = slots.astype(np.int32)
        symbols, starts = np.zeros((2, len(slots)), np.int32)
        ends = np.full(len(slots), 1 << self.precision, np.int32)
        step = self.n_symbols // 2
        while step:
            middle = symbols + np.int32(step)
            below = self._below(mixtures, middle)
            is_there = below <= slots
            np.copyto(symbols, middle, where=is_there)
            np.copyto(starts, below, where=is_there)
            np.copyto(ends, below, where=~is_there)
            step //= 2
        return symbols, starts, ends - starts

    def _below(self, mixtures: Mixtures, symbols: Whole) -> Small:
        """F as the formula has it, of symbols that are not the outermost, shape (n,), int32."""
        heights = np.empty(mixtures.weights.shape, np.int32)
        self._starts.take(symbols, axis=1, out=heights[: self.n_tables], mode="clip")
        places = mixtures.slopes * symbols.astype(np.int32, copy=False)
        places += mixtures.offsets
        places >>= _SLOPE_BITS
        self._curve.take(places, out=heights[self.n_tables :], mode="clip")
        heights *= mixtures.weights
        found: Small = np.add.reduce(heights, 0, np.int32)
        found += symbols * np.int32(self._floor)
        return found
