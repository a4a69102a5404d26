"""Columns of a table as symbols: cells are bins of numbers, words, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DamagedArchiveError

__all__ = ["MOST_DIGITS", "MOST_SYMBOLS", "Column", "NumberFormat"]

Integers = NDArray[np.int64]

#: Digits of a number; longer ones are text.
MOST_DIGITS: Final = 15
#: Symbols of a column.
MOST_SYMBOLS: Final = 4096


@final
@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How the numbers of a column are written, each in one way only.

    Attributes:
        prefix: What stands before each.
        suffix: What stands behind each.
        decimals: A number is a whole one of units of 10 to the power of minus this.
        least_decimals: Decimals that are always written; further ones only as far as the last that is not 0.

    Example:
        >>> price = NumberFormat(b"$", b"", 2, 0)
        >>> price.value(b"$-3.5"), price.text(-350), price.value(b"$3.50")
        (-350, b'$-3.5', None)
    """

    prefix: bytes = b""
    suffix: bytes = b""
    decimals: int = 0
    least_decimals: int = 0

    def value(self, text: bytes) -> int | None:
        """Return the number that is written so; None if none is."""
        if not (text.startswith(self.prefix) and text.endswith(self.suffix)):
            return None
        body = text[len(self.prefix) : len(text) - len(self.suffix)]
        whole, _, fraction = body.partition(b".")
        digits = whole + fraction.ljust(self.decimals, b"0")
        if len(digits) > MOST_DIGITS:
            return None
        try:
            value = int(digits)
        except ValueError:
            return None
        return value if self.text(value) == text else None

    def text(self, value: int) -> bytes:
        """Return how a number is written."""
        digits = str(abs(value)).zfill(self.decimals + 1)
        place = len(digits) - self.decimals
        fraction = digits[place:]
        if len(fraction) > self.least_decimals:
            fraction = fraction[: self.least_decimals] + fraction[self.least_decimals :].rstrip("0")
        body = ("-" if value < 0 else "") + digits[:place] + ("." if fraction else "") + fraction
        return self.prefix + body.encode() + self.suffix


@final
@dataclass(frozen=True, eq=False)
class Column:
    """The alphabet of a column: bins of numbers in ascending order, then words, then the escape.

    A bin is `widths` whole numbers from `starts` on, one for a value that is frequent by itself. A cell that is in no
    bin and no word is an escape, and is written in full.

    Attributes:
        form: How numbers are written.
        starts: First number of each bin, shape (bins,).
        widths: How many numbers each bin has, shape (bins,).
        words: Cells that are symbols of their own.

    Raises:
        DamagedArchiveError: If the bins overlap, or there are more symbols than a column may have.

    Example:
        >>> column = Column(NumberFormat(), np.array([0, 1]), np.array([1, 9]), [b"?"])
        >>> column.symbols([b"7", b"?", b"0", b"x"])
        (array([1, 2, 0, 3]), array([6, 0, 0, 0]))
        >>> column.cells(np.array([1, 2, 0, 3]), np.array([6, 0, 0, 0]), iter([b"x"]))
        [b'7', b'?', b'0', b'x']
    """

    form: NumberFormat
    starts: Integers
    widths: Integers
    words: Sequence[bytes]

    def __post_init__(self) -> None:
        most = 10**MOST_DIGITS
        ends = self.starts + self.widths
        if self.n_symbols > MOST_SYMBOLS:
            raise DamagedArchiveError(f"a column has more than {MOST_SYMBOLS:,} symbols.")
        if not 0 <= self.form.least_decimals <= self.form.decimals < MOST_DIGITS:
            raise DamagedArchiveError("a column has numbers that cannot be written.")
        if len(self.starts) != len(self.widths) or ((self.starts < -most) | (self.starts > most)).any():
            raise DamagedArchiveError("the bins of a column are not numbers.")
        if ((self.widths < 1) | (self.widths > 2 * most)).any() or (ends[:-1] > self.starts[1:]).any():
            raise DamagedArchiveError("the bins of a column overlap.")

    @property
    def n_bins(self) -> int:
        """How many symbols are bins."""
        return len(self.starts)

    @property
    def escape(self) -> int:
        """The symbol of cells that are written in full."""
        return len(self.starts) + len(self.words)

    @property
    def n_symbols(self) -> int:
        """How many symbols there are."""
        return self.escape + 1

    def symbols(self, cells: Sequence[bytes]) -> tuple[Integers, Integers]:
        """Return the symbol of each cell, and its place in its bin (0 for others)."""
        distinct = list(dict.fromkeys(cells))
        symbols = np.full(len(distinct), self.escape, np.int64)
        offsets = np.zeros(len(distinct), np.int64)
        if self.n_bins:
            values = [self.form.value(text) for text in distinct]
            places = np.array([place for place, value in enumerate(values) if value is not None], np.int64)
            numbers = np.array([value for value in values if value is not None], np.int64)
            symbols[places], offsets[places] = self.bins(numbers)
        known = {word: self.n_bins + number for number, word in enumerate(self.words)}
        for place in np.flatnonzero(symbols == self.escape).tolist():
            symbols[place] = known.get(distinct[place], self.escape)
        numbered = {text: number for number, text in enumerate(distinct)}
        which = np.array([numbered[cell] for cell in cells], np.int64)
        return symbols[which], offsets[which]

    def bins(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Return the bin of each number, and its place there; the escape where it is in none."""
        bins = np.searchsorted(self.starts, numbers, "right") - 1
        offsets = numbers - self.starts[bins]
        is_in = (bins >= 0) & (offsets < self.widths[bins])
        return np.where(is_in, bins, self.escape), np.where(is_in, offsets, 0)

    def numbers(self, symbols: Integers, offsets: Integers) -> Integers:
        """Return the numbers at these places; what stands for other symbols is no matter."""
        return self.starts[np.minimum(symbols, self.n_bins - 1)] + offsets

    def cells(self, symbols: Integers, offsets: Integers, escaped: Iterator[bytes]) -> list[bytes]:
        """Return the cells of symbols.

        Args:
            symbols: Of cells, shape (n,).
            offsets: Their places in their bins, shape (n,).
            escaped: The cells that are escapes, in order.

        Raises:
            DamagedArchiveError: If there are too few of these.
        """
        texts, which = [*self.words, b""], symbols - self.n_bins
        if self.n_bins:
            is_number = symbols < self.n_bins
            numbers, places = np.unique(self.numbers(symbols, offsets)[is_number], return_inverse=True)
            which = which + len(numbers)
            which[is_number] = places
            texts = [*map(self.form.text, numbers.tolist()), *texts]
        cells = [texts[number] for number in which.tolist()]
        for place in np.flatnonzero(symbols == self.escape).tolist():
            cell = next(escaped, None)
            if cell is None:
                raise DamagedArchiveError("cells that are written in full are missing.")
            cells[place] = cell
        return cells
