"""Asymmetric numeral systems: symbols become a number, and come back last in, first out."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.codec.frequencies import FrequencyTables
from latentkit.core.errors import DamagedArchiveError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import row_keys

__all__ = ["AnsStack"]

Integers = NDArray[np.int64]

_WORD: Final = 32  # bits
_LEAST: Final = np.uint64(1 << _WORD)  # of a state
_MASK: Final = np.uint64((1 << _WORD) - 1)


@final
class AnsStack:
    r"""A stack of symbols, in lanes that are pushed and popped together.

    Each lane is a whole number x from :math:`2^{32}` to :math:`2^{64}`. A symbol of frequency f, of :math:`2^b`, whose
    slots begin at c, is pushed by

    .. math:: x \leftarrow 2^b \lfloor x / f \rfloor + (x \bmod f) + c

    and popped by the inverse; where x would grow too large, its lower 32 bits become a word that all lanes share. A
    symbol thus takes :math:`\log_2 (2^b / f)` bits up to 1 in :math:`2^{32 - b}`. Popping symbols that nobody pushed
    draws them from their distribution and takes the bits of it off the stack: bits-back coding does that on purpose.

    All arithmetic is of whole numbers. A damaged stack gives other symbols, which nothing here can tell: checksums have
    to come first.

    Args:
        n_lanes: How many lanes.
        seed: Of the low bits of the fresh lanes; None leaves them 0. Whoever pops from fresh lanes needs them random:
            a lane that is :math:`2^{32}` gives the first symbol of whatever is asked.

    References:
        Duda, 2013, Asymmetric numeral systems, arXiv:1311.2540. Giesen, 2014, Interleaved entropy coders,
        arXiv:1402.3392 (lanes).

    Example:
        >>> stack, coin = AnsStack(2), FrequencyTables(np.array([[3, 1]]), 2)
        >>> stack.push(coin, np.array([0, 0]), np.array([1, 0]))
        >>> stack.pop(coin, np.array([0, 0]))
        array([1, 0])
    """

    def __init__(self, n_lanes: int, *, seed: int | None = None) -> None:
        n_lanes = check_integer("n_lanes", n_lanes, low=1)
        self._fresh = np.full(n_lanes, _LEAST)
        if seed is not None:
            names = torch.stack([torch.full((n_lanes,), seed), torch.arange(n_lanes)], dim=1)
            self._fresh += row_keys(names).numpy().view(np.uint64) & _MASK
        self._heads = self._fresh.copy()
        self._words = np.zeros(1024, np.uint32)
        self._n_words = 0

    @property
    def n_lanes(self) -> int:
        """How many lanes there are."""
        return len(self._heads)

    @property
    def n_bytes(self) -> int:
        """Size of :meth:`to_bytes`."""
        return 4 * self._n_words + 8 * len(self._heads)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is on the stack: what was pushed was popped again, and no more."""
        return self._n_words == 0 and bool((self._heads == self._fresh).all())

    # Symbols of tables

    def push(self, tables: FrequencyTables, which: Integers, symbols: Integers) -> None:
        """Push a symbol on each of the first lanes, shape (lanes,), each by its table."""
        starts, frequencies = tables.intervals(which, symbols)
        self.push_intervals(starts, frequencies, tables.precision)

    def pop(self, tables: FrequencyTables, which: Integers) -> Integers:
        """Pop a symbol off each of the first lanes, by its table; shape of `which`, (lanes,).

        Raises:
            DamagedArchiveError: If the stack holds no more.
        """
        slots = self.peek(len(which), tables.precision)
        symbols = tables.symbols(which, slots)
        self.pop_intervals(slots, *tables.intervals(which, symbols), tables.precision)
        return symbols

    # Symbols of any intervals

    def push_intervals(self, starts: Integers, frequencies: Integers, precision: int) -> None:
        """Push on each of the first lanes the symbol that has `frequencies` slots from `starts` on, shape (lanes,)."""
        heads, counts = self._heads[: len(starts)], frequencies.astype(np.uint64)
        is_full = (heads >> np.uint64(64 - precision)) >= counts
        n_full = int(np.count_nonzero(is_full))
        if n_full:
            self._make_room(n_full)
            self._words[self._n_words : self._n_words + n_full] = heads[is_full] & _MASK
            self._n_words += n_full
            heads[is_full] >>= np.uint64(_WORD)
        times = heads // counts
        heads[:] = (times << np.uint64(precision)) + (heads - times * counts) + starts.astype(np.uint64)

    def peek(self, n_lanes: int, precision: int) -> Integers:
        """Return the slots of the symbols on top of the first lanes, shape (lanes,)."""
        return (self._heads[:n_lanes] & np.uint64((1 << precision) - 1)).astype(np.int64)

    def pop_intervals(self, slots: Integers, starts: Integers, frequencies: Integers, precision: int) -> None:
        """Pop off each of the first lanes the symbol that has `frequencies` slots from `starts` on.

        Raises:
            DamagedArchiveError: If the stack holds no more; it stays as it is.
        """
        rest = self._heads[: len(slots)] >> np.uint64(precision)
        heads = frequencies.astype(np.uint64) * rest + (slots - starts).astype(np.uint64)
        is_short = heads < _LEAST
        n_short = int(np.count_nonzero(is_short))
        if n_short > self._n_words:
            raise DamagedArchiveError("it ends before all that was written has been read.")
        if n_short:
            words = self._words[self._n_words - n_short : self._n_words].astype(np.uint64)
            heads[is_short] = (heads[is_short] << np.uint64(_WORD)) | words
            self._n_words -= n_short
        self._heads[: len(slots)] = heads

    # Bytes

    def to_bytes(self) -> bytes:
        """Return the lanes, 64 bits each, and the words from the first to the last, 32 bits each, little-endian."""
        return self._heads.astype("<u8").tobytes() + self._words[: self._n_words].astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes, n_lanes: int, *, seed: int | None = None) -> AnsStack:
        """Return the stack that became these bytes.

        Args:
            content: What :meth:`to_bytes` gave.
            n_lanes: How many lanes it has.
            seed: With which it was made.

        Raises:
            DamagedArchiveError: If no stack of so many lanes becomes these bytes.
        """
        n_heads = 8 * check_integer("n_lanes", n_lanes, low=1)
        if len(content) < n_heads or (len(content) - n_heads) % 4:
            raise DamagedArchiveError(f"{len(content):,} bytes are no stack of {n_lanes:,} lanes.")
        stack = cls(n_lanes, seed=seed)
        stack._heads = np.frombuffer(content, "<u8", n_lanes).astype(np.uint64)
        if (stack._heads < _LEAST).any():
            raise DamagedArchiveError("a lane holds less than a lane can.")
        stack._words = np.frombuffer(content, "<u4", offset=n_heads).astype(np.uint32)
        stack._n_words = len(stack._words)
        return stack

    def _make_room(self, n: int) -> None:
        if self._n_words + n > len(self._words):
            more = np.zeros(max(n, len(self._words)), np.uint32)
            self._words = np.concatenate([self._words, more])
