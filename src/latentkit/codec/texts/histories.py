"""What stands before each byte of texts, as numbers by which the like is found."""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.texts.lanes import LINE_FEED, Bytes

__all__ = ["N_CONTEXTS", "N_KEYS", "Histories", "Keys", "bounds_of"]

Keys = NDArray[np.uint64]

#: Keys of a place: the bytes before it; the word that it is in, and the one before.
N_KEYS: Final = 2
_N_RECENT: Final = 6  # bytes of the first key
_PREVIOUS_BITS: Final = 32  # of the second key: of the word before
_WORD_BITS: Final = 31  # of the word so far
#: For each key the lowest bits that a context leaves open: the last 1 to 6 bytes; the word, without that before, with.
_OPEN: Final = (tuple(range(8 * (_N_RECENT - 1), -1, -8)), (_PREVIOUS_BITS, 0))
#: How many contexts a place has.
N_CONTEXTS: Final = sum(map(len, _OPEN))

_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_LONGEST: Final = 24  # bytes of a word that are looked at


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
    """What lies behind each of several lanes of text, all of which begin as a line does.

    Words are of letters, digits and bytes from 128 on; capitals are as good as small letters.

    Args:
        n: How many lanes.
    """

    def __init__(self, n: int) -> None:
        self._recent, self._word, self._previous = np.zeros((3, n), np.uint64)
        self._lengths = np.zeros(n, np.int64)
        self.advance(np.full(n, LINE_FEED, np.uint8))

    def keys(self) -> Keys:
        """Return the keys of the places that come next, shape (keys, lanes)."""
        word = self._word >> np.uint64(64 - _WORD_BITS) << np.uint64(_PREVIOUS_BITS)
        return np.stack([self._recent, word | self._previous >> np.uint64(64 - _PREVIOUS_BITS)])

    def advance(self, symbols: Bytes) -> None:
        """Take in the next byte of each lane."""
        new, last = symbols.astype(np.uint64), np.uint64(8 * (_N_RECENT - 1))
        self._recent = self._recent >> np.uint64(8) | new << last
        is_in = _IS_OF_WORDS[symbols]
        self._previous = np.where(is_in | (self._lengths == 0), self._previous, self._word)
        grown = np.where(self._lengths < _LONGEST, (self._word + _TOLD[symbols]) * _FACTOR, self._word)
        self._word = np.where(is_in, grown, np.uint64(0))
        self._lengths = np.where(is_in, self._lengths + 1, 0)


def _alphabet() -> tuple[NDArray[np.bool_], Keys]:
    """Which bytes words are of, and a number for each, which capitals share with small letters."""
    symbols = np.arange(256)
    capitals = (symbols >= ord("A")) & (symbols <= ord("Z"))
    folded = symbols + (ord("a") - ord("A")) * capitals
    letters = (folded >= ord("a")) & (folded <= ord("z"))
    digits = (symbols >= ord("0")) & (symbols <= ord("9"))
    return letters | digits | (symbols >= 128), (folded + 1).astype(np.uint64)


_IS_OF_WORDS, _TOLD = _alphabet()
