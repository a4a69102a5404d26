"""Asymmetric numeral systems: symbols become a number, and come back last in, first out."""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.frequencies import FrequencyTables
from latentkit.core.errors import DamagedArchiveError
from latentkit.core.parameters import check_integer

__all__ = ["AnsStack"]

Integers = NDArray[np.int64]
Whole = NDArray[np.integer]
Slots = NDArray[np.uint64]

_WORD: Final = 32  # bits
_LEAST: Final = np.uint64(1 << _WORD)  # of a state
_MASK: Final = np.uint64((1 << _WORD) - 1)
_HEAD_BITS: Final = _WORD + 1  # of a state, at least
_LENGTH_BITS: Final = 5  # that tell how many more there are


@final
class AnsStack:
    r"""A stack of symbols, in lanes that are pushed and popped together.

    Each lane is a whole number x from :math:`2^{32}` to :math:`2^{64}`. A symbol of frequency f, of :math:`2^b`, whose
    slots begin at c, is pushed by

    .. math:: x \leftarrow 2^b \lfloor x / f \rfloor + (x \bmod f) + c

    and popped by the inverse; where x would grow too large, its lower 32 bits become a word that all lanes share. A
    symbol thus takes :math:`\log_2 (2^b / f)` bits up to 1 in :math:`2^{32 - b}`. Popping symbols that nobody pushed
    takes the bits of their distribution off the stack: bits-back coding does that on purpose. They are drawn from it
    as far as the lowest b bits of a lane are random; a pad of random bits, by which these are exchanged before they are
    looked at, makes them so whatever is on the stack.

    All arithmetic is of whole numbers. A damaged stack gives other symbols, which nothing here can tell: checksums have
    to come first.

    Args:
        n_lanes: How many lanes.
        seeds: Lower bits of each lane at the start, 32 of them, shape (lanes,); None for zeros. They come back when all
            symbols have been popped: what a lane starts with can be something that has to be kept anyway.

    References:
        Duda, 2013, Asymmetric numeral systems, arXiv:1311.2540. Giesen, 2014, Interleaved entropy coders,
        arXiv:1402.3392 (lanes).

    Example:
        >>> stack, coin = AnsStack(2), FrequencyTables(np.array([[3, 1]]), 2)
        >>> stack.push(coin, np.array([0, 0]), np.array([1, 0]))
        >>> stack.pop(coin, np.array([0, 0]))
        array([1, 0])
    """

    def __init__(self, n_lanes: int, seeds: Whole | None = None) -> None:
        self._heads = np.full(check_integer("n_lanes", n_lanes, low=1), _LEAST)
        if seeds is not None:
            self._heads |= seeds.astype(np.uint64)
        self._words = np.zeros(1024, np.uint32)
        self._n_words = 0

    @property
    def n_lanes(self) -> int:
        """How many lanes there are."""
        return len(self._heads)

    @property
    def n_words(self) -> int:
        """How many words of 32 bits lie below the lanes."""
        return self._n_words

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is on the stack: what was pushed was popped again, and no more."""
        return self._n_words == 0 and bool((self._heads == _LEAST).all())

    def seeds(self) -> NDArray[np.uint32]:
        """Return what the lanes started with, once all symbols have been popped.

        Raises:
            DamagedArchiveError: If something is left.
        """
        if self._n_words or (self._heads >> np.uint64(_WORD) != 1).any():
            raise DamagedArchiveError("it holds more than was to be read.")
        return (self._heads & _MASK).astype(np.uint32)

    def copy(self) -> AnsStack:
        """Return a stack that holds the same and goes its own way."""
        other = AnsStack(self.n_lanes)
        other._heads, other._words, other._n_words = self._heads.copy(), self._words.copy(), self._n_words
        return other

    # More lanes and fewer

    def widen(self, n_lanes: int) -> None:
        """Go on with more lanes, which start with words of the stack: they cost nothing but where they end.

        Raises:
            DamagedArchiveError: If it has fewer words than lanes are to be added; it stays as it is.
        """
        n = n_lanes - self.n_lanes
        if n > self._n_words:
            raise DamagedArchiveError("it ends before all that was written has been read.")
        if n > 0:
            seeds = self._words[self._n_words - n : self._n_words]
            self._heads = np.concatenate([self._heads, _LEAST | seeds.astype(np.uint64)])
            self._n_words -= n

    def narrow(self, n_lanes: int) -> None:
        """Undo :meth:`widen`, when all that was pushed since has been popped.

        Raises:
            DamagedArchiveError: If a lane holds more than it started with.
        """
        rest = self._heads[n_lanes:]
        if (rest >> np.uint64(_WORD) != 1).any():
            raise DamagedArchiveError("a lane holds more than was to be read.")
        self._make_room(len(rest))
        self._words[self._n_words : self._n_words + len(rest)] = rest & _MASK
        self._n_words += len(rest)
        self._heads = self._heads[:n_lanes].copy()

    # Symbols of tables

    def push(self, tables: FrequencyTables, which: Integers, symbols: Integers, *, pad: Integers | None = None) -> None:
        """Push symbols on each of the first lanes, each by its table.

        Args:
            tables: By which.
            which: Table of each, shape (lanes,), or (n, lanes) for n symbols on each, the last of which is on top.
            symbols: Shape of `which`.
            pad: As for :meth:`pop`, shape (lanes,).

        Raises:
            DamagedArchiveError: If a symbol has no slots in its table.
        """
        starts, frequencies = tables.intervals(np.atleast_2d(which), np.atleast_2d(symbols))
        if frequencies.min(initial=1) < 1:
            raise DamagedArchiveError("a symbol that cannot be there is.")
        self.push_all(starts.astype(np.uint64), frequencies.astype(np.uint64), tables.precision)
        if pad is not None:
            self._exchange(pad)

    def pop(self, tables: FrequencyTables, which: Integers, *, pad: Integers | None = None) -> Integers:
        """Pop a symbol off each of the first lanes, by its table; shape of `which`, (lanes,).

        Args:
            tables: By which.
            which: Table of each.
            pad: Bits, as many as the tables' precision, by which the lowest of each lane are exchanged; those with
                which the symbols were pushed.

        Raises:
            DamagedArchiveError: If the stack holds no more.
        """
        if pad is not None:
            self._exchange(pad)
        slots = self.peek(len(which), tables.precision)
        symbols = tables.symbols(which, slots)
        self.pop_intervals(slots, *tables.intervals(which, symbols), tables.precision)
        return symbols

    # Symbols of any intervals

    def push_intervals(self, starts: Whole, frequencies: Whole, precision: int) -> None:
        """Push on each of the first lanes the symbol that has `frequencies` slots from `starts` on, shape (lanes,)."""
        self.push_all(starts[None].astype(np.uint64), frequencies[None].astype(np.uint64), precision)

    def push_all(self, starts: Slots, frequencies: Slots, precision: int) -> None:
        """Push n symbols on each of the first lanes, shape (n, lanes); the last of them is on top."""
        heads = self._heads[: starts.shape[1]]
        shift, full_shift, word = np.uint64(precision), np.uint64(64 - precision), np.uint64(_WORD)
        for start, frequency in zip(starts, frequencies, strict=True):
            full = ((heads >> full_shift) >= frequency).nonzero()[0]  # flatnonzero takes as long as all the rest
            if len(full):
                self._make_room(len(full))
                tops = heads[full]
                self._words[self._n_words : self._n_words + len(full)] = tops & _MASK
                self._n_words += len(full)
                heads[full] = tops >> word
            times = heads // frequency
            # 2^b times + (heads - frequency times) + start
            heads += (times << shift) - times * frequency
            heads += start

    def peek(self, n_lanes: int, precision: int) -> Integers:
        """Return the slots of the symbols on top of the first lanes, shape (lanes,)."""
        return (self._heads[:n_lanes] & np.uint64((1 << precision) - 1)).astype(np.int64)

    def pop_intervals(self, slots: Whole, starts: Whole, frequencies: Whole, precision: int) -> None:
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

    def pop_coins(self, splits: Slots, precision: int) -> NDArray[np.uint8]:
        """Pop n zeros and ones off each of the first lanes, the last ones first.

        Args:
            splits: Slots of a zero, which come before those of a one, shape (n, lanes).
            precision: b.

        Raises:
            DamagedArchiveError: If the stack holds no more.
        """
        heads = self._heads[: splits.shape[1]].copy()
        shift, word = np.uint64(precision), np.uint64(_WORD)
        mask = np.uint64((1 << precision) - 1)
        coins = np.empty(splits.shape, np.bool_)
        rest = np.uint64(1 << precision) - splits
        for split, other, is_one in zip(splits[::-1], rest[::-1], coins[::-1], strict=True):
            slots = heads & mask
            np.greater_equal(slots, split, out=is_one)
            heads >>= shift
            heads *= np.where(is_one, other, split)
            heads += slots
            heads -= split * is_one
            short = (heads < _LEAST).nonzero()[0]
            if len(short):
                if len(short) > self._n_words:
                    raise DamagedArchiveError("it ends before all that was written has been read.")
                words = self._words[self._n_words - len(short) : self._n_words]
                heads[short] = (heads[short] << word) | words
                self._n_words -= len(short)
        self._heads[: splits.shape[1]] = heads
        return coins.view(np.uint8)

    # Bytes

    def to_bytes(self) -> bytes:
        """Return the lanes and the words, the lanes in as few bits as they have.

        First, for each lane, how many bits it has more than 33, in 5 bits; then those of each behind its highest one;
        all from the highest bit to the lowest, filled up to a byte with zeros. Then the words from the first to the
        last, 32 bits each, little-endian.
        """
        bits = np.unpackbits(self._heads.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
        first = bits.argmax(1)
        told = np.unpackbits((2 * _WORD - _HEAD_BITS - first).astype(np.uint8)[:, None], axis=1)[:, -_LENGTH_BITS:]
        heads = np.packbits(np.concatenate([told.ravel(), bits[np.arange(2 * _WORD) > first[:, None]]]))
        return heads.tobytes() + self._words[: self._n_words].astype("<u4").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes, n_lanes: int) -> AnsStack:
        """Return the stack that became these bytes.

        Args:
            content: What :meth:`to_bytes` gave.
            n_lanes: How many lanes it has.

        Raises:
            DamagedArchiveError: If no stack of so many lanes becomes these bytes.
        """
        n_told = _LENGTH_BITS * check_integer("n_lanes", n_lanes, low=1)
        most = -(-n_lanes * (_LENGTH_BITS + 2 * _WORD - 1) // 8)
        bits = np.unpackbits(np.frombuffer(content, np.uint8, min(most, len(content))))
        told = bits[:n_told].reshape(-1, _LENGTH_BITS) if len(bits) >= n_told else np.zeros((0, 1), np.uint8)
        first = 2 * _WORD - _HEAD_BITS - (told @ (1 << np.arange(_LENGTH_BITS)[::-1])) if len(told) else told[:, 0]
        is_told = np.arange(2 * _WORD) > first[:, None]
        n_bits = n_told + int(is_told.sum())
        n_heads = -(-n_bits // 8)
        if not len(told) or len(content) < n_heads or (len(content) - n_heads) % 4 or bits[n_bits : 8 * n_heads].any():
            raise DamagedArchiveError(f"{len(content):,} bytes are no stack of {n_lanes:,} lanes.")
        each = np.zeros((n_lanes, 2 * _WORD), np.uint8)
        each[is_told] = bits[n_told:n_bits]
        each[np.arange(n_lanes), first] = 1
        stack = cls(n_lanes)
        stack._heads = np.packbits(each, axis=1).view(">u8").ravel().astype(np.uint64)
        stack._words = np.frombuffer(content, "<u4", offset=n_heads).astype(np.uint32)
        stack._n_words = len(stack._words)
        return stack

    def _exchange(self, pad: Integers) -> None:
        self._heads[: len(pad)] ^= pad.astype(np.uint64)

    def _make_room(self, n: int) -> None:
        if self._n_words + n > len(self._words):
            more = np.zeros(max(n, len(self._words)), np.uint32)
            self._words = np.concatenate([self._words, more])
