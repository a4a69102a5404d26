"""The coder of texts: each bit by what followed the like, in texts that are known and in what has been read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar, Final, final, overload

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.coders import Coder, CoderState, coders
from latentkit.codec.exact import ExactNetwork
from latentkit.codec.numbers import NumberReader, written_numbers
from latentkit.codec.rows.lanes import WIDTHS, Reader, Step, code_of_steps
from latentkit.codec.texts.chances import PRECISION, BitChances
from latentkit.codec.texts.histories import N_KEYS, Bytes, Histories, Keys, laid_out, lined_up
from latentkit.codec.texts.index import TextIndex, keys_of
from latentkit.core.errors import DamagedArchiveError, UnfitDataError

__all__ = ["MOST_KNOWN", "TextCoder", "bit_counts"]

Integers = NDArray[np.int64]

#: Bytes of text that a model knows, at most.
MOST_KNOWN: Final = 1 << 20
_MOST_INDEXED: Final = 1 << 21  # bytes, known ones and those that have been read
_LEAST_READ: Final = 1 << 12  # bytes after which what has been read is taken in
_GROWTH: Final = 16  # parts of all that is known, of which one is read before that
_AT_ONCE: Final = 1 << 14  # bytes that are encoded together
_WHOLE: Final = 1 << PRECISION


@final
class TextCoder(Coder):
    r"""Codes texts, byte by byte, each byte bit by bit.

    A block is cut into lanes that are read side by side. Of each bit it is counted how often a zero and how often a one
    followed the last one to six bytes, the word so far, and the word so far with the one before it
    (:class:`~latentkit.codec.texts.index.TextIndex`); a network of whole numbers makes a chance of these counts
    (:class:`~latentkit.codec.texts.chances.BitChances`). They are those of a text that the model holds, and of the rows
    of lanes that have been read: as often as these have grown by a sixteenth of everything, the index is made again.

    Any bytes can be coded; those that are like the text that is known take few bits.

    Args:
        text: That is known, at most 1 MiB.
        network: That weighs contexts; see :class:`~latentkit.codec.texts.chances.BitChances`.

    Raises:
        DamagedArchiveError: If the text is too long, or the network of another kind.

    References:
        Cleary and Witten, 1984, Data compression using adaptive coding and partial string matching, IEEE Transactions
        on Communications 32 (contexts of several lengths).
    """

    name: ClassVar[str] = "texts"

    def __init__(self, text: bytes, network: ExactNetwork) -> None:
        if len(text) > MOST_KNOWN:
            raise DamagedArchiveError(f"it knows {len(text):,} bytes of text, and {MOST_KNOWN:,} are the most.")
        self.text, self.chances = text, BitChances(network)
        self._is_verified = False

    @classmethod
    def of(cls, state: CoderState) -> TextCoder:
        """Return the coder of a state.

        Raises:
            DamagedArchiveError: If it is of none.
        """
        text = state.arrays["text"]
        if text.ndim != 1 or ((text < 0) | (text > 255)).any():
            raise DamagedArchiveError("the text that it knows is not one.")
        prefix = "network."
        arrays = {name.removeprefix(prefix): array for name, array in state.arrays.items() if name.startswith(prefix)}
        return cls(text.astype(np.uint8).tobytes(), ExactNetwork.of(state.settings["network"], arrays))

    def state(self) -> CoderState:
        network = self.chances.network
        arrays = {f"network.{name}": array for name, array in network.arrays().items()}
        text = np.frombuffer(self.text, np.uint8).astype(np.int64)
        return CoderState(self.name, {"network": network.describe()}, {"text": text, **arrays})

    def encode(self, block: bytes, n: int) -> bytes:
        if not block:
            return b""
        self._verify()
        rows, n_last = laid_out(np.frombuffer(block, np.uint8))
        steps = _Bits(rows, self._splits(rows), n_last)
        n_lanes = rows.shape[1]
        most = sum(width == 1 or width <= n_lanes for width in WIDTHS)
        left, stack = code_of_steps(steps, most)
        code = written_numbers(len(left), *left) + stack
        if len(code) > len(block):
            raise UnfitDataError(f"{len(block):,} bytes are not like the text that the coder was fitted on.")
        return code

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        if not content or not size:
            if content or size:
                raise DamagedArchiveError("it has no content for its text, or no text for its content.")
            return b""
        self._verify()
        numbers = NumberReader(content)
        left = numbers.several(min(numbers.next(), len(WIDTHS)))
        rows, n_last = laid_out(np.zeros(size, np.uint8))
        reader = Reader(left, content[numbers.place :], 8 * len(rows))
        histories, reading = Histories(rows.shape[1]), _Reading(self, rows)
        for number, row in enumerate(rows):
            symbols = row[:n_last] if number == len(rows) - 1 else row
            keys = histories.keys()[:, : len(symbols)]
            self._read(reader, reading.index, keys, symbols)
            histories.advance(symbols)
            reading.take(number, keys)
        if not reader.is_done:
            raise DamagedArchiveError("something is left after the last byte.")
        return lined_up(rows, n_last).tobytes()

    def _splits(self, rows: Bytes) -> NDArray[np.uint32]:
        """How many slots a zero has, for each bit of each byte, shape (rows, 8, lanes)."""
        splits = np.empty((len(rows), 8, rows.shape[1]), np.uint32)
        histories, reading = Histories(rows.shape[1]), _Reading(self, rows)
        at_once = max(1, _AT_ONCE // rows.shape[1])
        start = 0
        while start < len(rows):
            end = min(start + at_once, reading.end, len(rows))
            keys = np.empty((N_KEYS, end - start, rows.shape[1]), np.uint64)
            for number in range(start, end):
                keys[:, number - start] = histories.keys()
                histories.advance(rows[number])
            symbols = rows[start:end].ravel()
            for level, (zeros, ones, known) in enumerate(bit_counts(reading.index, keys.reshape(N_KEYS, -1), symbols)):
                found = self.chances.splits(zeros, ones, level, known)
                splits[start:end, level] = found.reshape(end - start, -1)
            for number in range(start, end):
                reading.take(number, keys[:, number - start])
            start = end
        return splits

    def _read(self, reader: Reader, index: TextIndex, keys: Keys, symbols: Bytes) -> None:
        """Read the next byte of each lane."""
        n = len(symbols)
        low, high = index.ranges(keys)
        known = np.ones(n, np.int64)
        bits = np.empty(n, np.uint8)
        for level in range(8):
            counts = index.counts(level, low, high)
            splits = self.chances.splits(counts[0], counts[1], level, known)

            def choose(slots: Integers, lanes: slice, splits: Integers = splits) -> tuple[Integers, Integers]:
                split = splits[lanes]
                bits[lanes] = slots >= split
                return _intervals(bits[lanes], split)

            reader.read(n, PRECISION, choose)
            low, high = index.narrowed(level, bits, low, counts)
            known = known << 1 | bits
        symbols[:] = known & 255

    def _verify(self) -> None:
        if not self._is_verified:
            self.chances.network.verify()
            self._is_verified = True

    @cached_property
    def known(self) -> tuple[Keys, Bytes]:
        """Keys and bytes of the text that is known."""
        return keys_of(np.frombuffer(self.text, np.uint8))

    @cached_property
    def known_index(self) -> TextIndex:
        """The index of the text that is known."""
        return TextIndex(*self.known)


def bit_counts(index: TextIndex, keys: Keys, symbols: Bytes) -> Iterator[tuple[NDArray[np.int32], ...]]:
    """Yield, bit by bit, how often contexts of bytes were followed by zeros and ones, and the bits before.

    Args:
        index: Of what is known.
        keys: Of the bytes, shape (keys, n).
        symbols: The bytes, shape (n,).
    Yields:
        Zeros and ones, shape (n, contexts), and the known bits behind a one, shape (n,).
    """
    low, high = index.ranges(keys)
    known = np.ones(len(symbols), np.int64)
    for level in range(8):
        counts = index.counts(level, low, high)
        yield counts[0], counts[1], known
        bits = symbols >> (7 - level) & 1
        low, high = index.narrowed(level, bits, low, counts)
        known = known << 1 | bits


@final
class _Reading:
    """The index, while a block is gone through row by row.

    Args:
        coder: Whose text is known beforehand.
        rows: Of the block, which are filled in as they are read.

    Attributes:
        index: Of all that was known when it was last made.
        end: Row behind which it is made again.
    """

    def __init__(self, coder: TextCoder, rows: Bytes) -> None:
        self.index = coder.known_index
        self._coder, self._rows, self._keys = coder, rows, list[Keys]()
        self.end = 0
        self._plan()

    def take(self, number: int, keys: Keys) -> None:
        """Note that a row has been read, of the places of these keys."""
        if self.end > len(self._rows):
            return
        self._keys.append(keys)
        if number + 1 == self.end < len(self._rows):
            known_keys, known = self._coder.known
            keys = np.concatenate([known_keys, *self._keys], axis=1)
            self.index = TextIndex(keys, np.concatenate([known, self._rows[: self.end].ravel()]))
            self._plan()

    def _plan(self) -> None:
        """Say when the index is made again: when it has grown enough, unless it would become too large."""
        n_lanes = self._rows.shape[1]
        n_known = len(self._coder.text) + self.end * n_lanes
        end = self.end + -(-max(_LEAST_READ, n_known // _GROWTH) // n_lanes)
        is_last = len(self._coder.text) + end * n_lanes > _MOST_INDEXED
        self.end = len(self._rows) + 1 if is_last else end


@final
class _Bits(Sequence[Step]):
    """The bits of bytes as steps, each made when it is asked for."""

    def __init__(self, rows: Bytes, splits: NDArray[np.uint32], n_last: int) -> None:
        self._rows, self._splits, self._n_last = rows, splits, n_last

    def __len__(self) -> int:
        return 8 * len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Step: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Step]: ...

    def __getitem__(self, place: int | slice) -> Step | Sequence[Step]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        row, level = divmod(range(len(self))[place], 8)
        n = self._n_last if row == len(self._rows) - 1 else self._rows.shape[1]
        bits = self._rows[row, :n] >> (7 - level) & 1
        return (*_intervals(bits, self._splits[row, level, :n].astype(np.int64)), PRECISION)


def _intervals(bits: Bytes, splits: Integers) -> tuple[Integers, Integers]:
    is_one = bits.astype(np.bool_)
    return np.where(is_one, splits, 0), np.where(is_one, _WHOLE - splits, splits)


coders.register(TextCoder.name)(TextCoder.of)
