"""How often what followed a context, bit by bit: texts sorted by what stands before each byte."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.texts.histories import N_KEYS, Histories, Keys, bounds_of
from latentkit.codec.texts.lanes import Bytes, Lanes

__all__ = ["TextIndex", "keys_of"]

Integers = NDArray[np.int64]
Places = NDArray[np.int32]


def keys_of(text: bytes) -> tuple[Keys, Bytes]:
    """Return the keys of the bytes of a text in lanes, row by row, and the bytes in the same order.

    Returns:
        Shapes (keys, n) and (n,).
    """
    lanes = Lanes.of(text)
    histories = Histories(len(lanes.lengths))
    keys = np.empty((N_KEYS, *lanes.rows.shape), np.uint64)
    for number, row in enumerate(lanes.rows):
        keys[:, number] = histories.keys()
        histories.advance(row)
    return keys[:, lanes.is_there], lanes.rows[lanes.is_there]


@final
class TextIndex:
    r"""Counts of the bits of bytes that followed contexts.

    Bytes are sorted by their keys, so that those behind a context stand side by side, from `low` to `high`. A bit after
    the other, the first bits first, those with a zero then go before those with a one, each in the order that they had
    (a wavelet matrix). With Z(i) zeros before place i

    .. math:: n_0 = Z(high) - Z(low), \qquad n_1 = high - low - n_0

    are the counts of the bits that followed the context and the bits of the byte so far, for contexts of any length.

    Args:
        keys: Of bytes, shape (keys, n).
        symbols: The bytes, shape (n,).

    References:
        Claude, Navarro and Ordonez, 2015, The wavelet matrix, Information Systems 47. Burrows and Wheeler, 1994, A
        block-sorting lossless data compression algorithm (bytes sorted by their contexts).

    Example:
        >>> index = TextIndex(*keys_of(b"banana"))
        >>> histories = Histories(1)
        >>> histories.advance(np.frombuffer(b"n", np.uint8))
        >>> low, high = index.ranges(histories.keys())
        >>> (high - low)[0]  # an n was followed by something twice; nothing begins with it
        array([2, 0, 0, 0, 0, 0, 0, 0], dtype=int32)
    """

    def __init__(self, keys: Keys, symbols: Bytes) -> None:
        n = len(symbols)
        self._sorted = np.empty((N_KEYS, n), np.uint64)
        self._zeros = np.empty((8, N_KEYS, n + 1), np.int32)
        self._ones = np.empty((8, N_KEYS), np.int32)
        for number, key in enumerate(keys):
            # equal keys stand in any order
            order = np.argsort(key)
            self._sorted[number], bytes_of = key[order], symbols[order]
            start = number * (n + 1)
            for level in range(8):
                is_one = (bytes_of >> (7 - level) & 1).view(np.bool_)
                zeros = self._zeros[level, number]
                zeros[0] = start
                np.cumsum(~is_one, dtype=np.int32, out=zeros[1:])
                zeros[1:] += start
                self._ones[level, number] = zeros[-1]
                bytes_of = np.concatenate([bytes_of[~is_one], bytes_of[is_one]])
        self._flat = self._zeros.reshape(8, -1)

    def ranges(self, keys: Keys) -> tuple[Places, Places]:
        """Return where the bytes behind each context of places stand, two arrays of shape (places, contexts)."""
        n, found = keys.shape[1], []
        for number, both in enumerate(bounds_of(keys)):
            places = np.searchsorted(self._sorted[number], np.concatenate(both).ravel())
            places += number * self._zeros.shape[2]
            found.append(places.reshape(2, -1, n))
        low, high = np.concatenate(found, axis=1).transpose(0, 2, 1).astype(np.int32)
        return low, high

    def counts(self, level: int, low: Places, high: Places) -> tuple[Places, Places, Places]:
        """Return how many bytes of ranges have a zero and how many a one as the next bit, and the zeros before.

        Args:
            level: How many bits of the byte are known.
            low: Where ranges begin, shape (places, contexts).
            high: Where they end.
        Returns:
            Zeros, ones, and what :meth:`narrowed` asks for; each of the shape of `low`.
        """
        before = self._flat[level][low]
        zeros = self._flat[level][high] - before
        return zeros, high - low - zeros, before

    def narrowed(
        self, level: int, bits: Bytes, low: Places, counts: tuple[Places, Places, Places]
    ) -> tuple[Places, Places]:
        """Return the ranges of the bytes that have one more bit, by what :meth:`counts` gave.

        Args:
            level: How many bits were known before.
            bits: The next bit of each place, shape (places,).
            low: Where ranges began.
            counts: What :meth:`counts` gave.
        """
        zeros, ones, before = counts
        is_one = bits.astype(np.bool_)[:, None]
        starts = np.where(is_one, low - before + self._ones_of(level), before)
        return starts, starts + np.where(is_one, ones, zeros)

    def _ones_of(self, level: int) -> Places:
        """Where the ones of each context begin."""
        ones: Places = self._ones[level][_KEY_OF]
        return ones


#: The key that each context is of.
_KEY_OF = np.repeat(np.arange(N_KEYS), [len(low) for low, _ in bounds_of(np.zeros((N_KEYS, 1), np.uint64))])
