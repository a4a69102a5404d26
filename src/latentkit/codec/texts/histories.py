"""What stands before each byte of texts, as numbers by which the like is found."""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["N_CONTEXTS", "N_KEYS", "Histories", "bounds_of", "lanes_of", "laid_out", "lined_up"]

Bytes = NDArray[np.uint8]
Keys = NDArray[np.uint64]

#: Keys of a place: the bytes before it; the word that it is in, and the one before.
N_KEYS: Final = 2
_N_RECENT: Final = 6  # bytes of the first key
_PREVIOUS_BITS: Final = 32  # of the second key: of the word before
_WORD_BITS: Final = 31  # of the word so far
#: For each key the lowest bits that a context leaves open: the last 1 to 6 bytes; the word, without that before or with.
_OPEN: Final = (tuple(range(8 * (_N_RECENT - 1), -1, -8)), (_PREVIOUS_BITS, 0))
#: How many contexts a place has.
N_CONTEXTS: Final = sum(map(len, _OPEN))

_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_LONGEST: Final = 24  # bytes of a word that are looked at
_OF_A_LANE: Final = 1024  # bytes, at least, unless there are fewer
_MOST_LANES: Final = 1024


def lanes_of(n_bytes: int) -> int:
    """How many lanes a text is laid out in."""
    return min(max(n_bytes // _OF_A_LANE, 1), _MOST_LANES)


def laid_out(text: Bytes) -> tuple[Bytes, int]:
    """Return a text cut into lanes side by side, and in how many of them the last row has a byte.

    Lanes are consecutive parts of a text, equally long but for one byte that the first ones have more.

    Args:
        text: Shape (n,).
    Returns:
        Shape (rows, lanes), zeros where there is no byte.

    Example:
        >>> rows, n_last = laid_out(np.arange(1, 4, dtype=np.uint8))
        >>> rows.T, n_last
        (array([[1, 2, 3]], dtype=uint8), 1)
    """
    n_lanes = lanes_of(len(text))
    n_rows, n_longer = -(-len(text) // n_lanes), len(text) % n_lanes
    rows = np.zeros((n_lanes, n_rows), np.uint8)
    split = n_longer * n_rows
    rows[:n_longer] = text[:split].reshape(n_longer, n_rows)
    rest = text[split:].reshape(n_lanes - n_longer, -1)
    rows[n_longer:, : rest.shape[1]] = rest
    return np.ascontiguousarray(rows.T), n_longer or n_lanes


def lined_up(rows: Bytes, n_last: int) -> Bytes:
    """Return the text that :func:`laid_out` cut."""
    lanes = rows.T
    if n_last == len(lanes):
        return lanes.ravel()
    return np.concatenate([lanes[:n_last].ravel(), lanes[n_last:, :-1].ravel()])


def bounds_of(keys: Keys) -> list[tuple[Keys, Keys]]:
    """Return, for each key, the first key of each context of places, and the one behind its last one.

    Args:
        keys: Shape (keys, places).
    Returns:
        For each key two arrays of shape (contexts, places).
    """
    bounds = []
    for key, shifts in zip(keys, _OPEN, strict=True):
        open_bits = np.array([[(1 << shift) - 1] for shift in shifts], np.uint64)
        bounds.append((key & ~open_bits, (key | open_bits) + np.uint64(1)))
    return bounds


@final
class Histories:
    """What lies behind each of several lanes of text, all of which begin with nothing.

    Words are of letters, digits and bytes from 128 on; capitals are as good as small letters.

    Args:
        n: How many lanes.
    """

    def __init__(self, n: int) -> None:
        self._recent, self._word, self._previous = np.zeros((3, n), np.uint64)
        self._lengths = np.zeros(n, np.int64)

    def keys(self) -> Keys:
        """Return the keys of the places that come next, shape (keys, lanes)."""
        word = self._word >> np.uint64(64 - _WORD_BITS) << np.uint64(_PREVIOUS_BITS)
        return np.stack([self._recent, word | self._previous >> np.uint64(64 - _PREVIOUS_BITS)])

    def advance(self, symbols: Bytes) -> None:
        """Take in the next byte of each of the first lanes."""
        n = len(symbols)
        new, top = symbols.astype(np.uint64), np.uint64(8 * (_N_RECENT - 1))
        self._recent[:n] = self._recent[:n] >> np.uint64(8) | new << top
        is_in, told = _IS_OF_WORDS[symbols], _TOLD[symbols]
        word, lengths = self._word[:n], self._lengths[:n]
        ended = ~is_in & (lengths > 0)
        self._previous[:n][ended] = word[ended]
        grown = np.where(lengths < _LONGEST, word * _FACTOR + told * _FACTOR, word)
        self._word[:n] = np.where(is_in, grown, np.uint64(0))
        self._lengths[:n] = np.where(is_in, lengths + 1, 0)


def _alphabet() -> tuple[NDArray[np.bool_], Keys]:
    """Which bytes words are of, and a number for each, which capitals share with small letters."""
    symbols = np.arange(256)
    capitals = (symbols >= ord("A")) & (symbols <= ord("Z"))
    folded = symbols + (ord("a") - ord("A")) * capitals
    letters = (folded >= ord("a")) & (folded <= ord("z"))
    digits = (symbols >= ord("0")) & (symbols <= ord("9"))
    return letters | digits | (symbols >= 128), (folded + 1).astype(np.uint64)


_IS_OF_WORDS, _TOLD = _alphabet()
