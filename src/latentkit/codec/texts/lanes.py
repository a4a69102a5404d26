"""Texts in lanes that are read side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LINE_FEED", "Lanes", "most_rows", "shares_of_lanes"]

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

LINE_FEED: Final = 10
_OF_A_LANE: Final = 512  # bytes, at least, unless there are fewer
_MOST_LANES: Final = 1024
_LONGEST: Final = 2  # times the mean: how long a lane of lines may be


def shares_of_lanes(n: int, n_bytes: int) -> Integers:
    """Return how many of n bytes or lines each lane of a text of so many bytes has."""
    n_lanes = min(max(n_bytes // _OF_A_LANE, 1), _MOST_LANES)
    return n // n_lanes + (np.arange(n_lanes) < n % n_lanes)


def most_rows(n_bytes: int, *, are_lines: bool) -> int:
    """Return how many bytes the longest lane of a text can have."""
    return (_LONGEST if are_lines else 1) * int(shares_of_lanes(n_bytes, n_bytes).max())


@final
@dataclass(frozen=True, eq=False)
class Lanes:
    """A text cut into consecutive parts, which stand side by side.

    Lanes have equally many lines, up to one, so that all begin with one; or equally many bytes, where that would make
    one twice as long as the others, or something follows the last line feed.

    Attributes:
        rows: A byte of each lane in a row, zeros behind the end of a lane, shape (rows, lanes).
        lengths: Bytes of each lane, shape (lanes,).
        n_lines: How many lines there are; 0 if lanes have equally many bytes.

    Example:
        >>> lanes = Lanes.of(b"abc")
        >>> lanes.rows.tolist(), lanes.n_lines, lanes.text()
        ([[97], [98], [99]], 0, b'abc')
    """

    rows: Bytes
    lengths: Integers
    n_lines: int = 0

    @classmethod
    def of(cls, text: bytes) -> Lanes:
        """Return a text in lanes."""
        content = np.frombuffer(text, np.uint8)
        lengths, n_lines = shares_of_lanes(len(text), len(text)), 0
        ends = np.flatnonzero(content == LINE_FEED) + 1
        if len(ends) >= len(lengths) and ends[-1] == len(text):
            of_lines = np.diff(ends[np.cumsum(shares_of_lanes(len(ends), len(text))) - 1], prepend=0)
            if of_lines.max() <= most_rows(len(text), are_lines=True):
                lengths, n_lines = of_lines, len(ends)
        lanes = np.zeros((len(lengths), int(lengths.max())), np.uint8)
        lanes[np.arange(lanes.shape[1]) < lengths[:, None]] = content
        return cls(np.ascontiguousarray(lanes.T), lengths, n_lines)

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """Where the rows have a byte, shape (rows, lanes)."""
        return np.arange(len(self.rows))[:, None] < self.lengths

    def text(self) -> bytes:
        """Return the text."""
        return self.rows.T[self.is_there.T].tobytes()
