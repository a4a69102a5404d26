"""The coder of texts: each bit by what followed the like, in texts that are known and in what has been read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar, Final, final, overload

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.coders import Coder, CoderState, coders
from latentkit.codec.exact import ExactNetwork, exact_arithmetic
from latentkit.codec.numbers import NumberReader, written_numbers
from latentkit.codec.rows.lanes import WIDTHS, Reader, Step, code_of_steps
from latentkit.codec.texts.chances import PRECISION, BitChances
from latentkit.codec.texts.histories import Histories, Keys
from latentkit.codec.texts.index import TextIndex, keys_of
from latentkit.codec.texts.lanes import LINE_FEED, Bytes, Lanes, most_rows, shares_of_lanes
from latentkit.core.errors import DamagedArchiveError, UnfitDataError

__all__ = ["MOST_KNOWN", "TextCoder", "bit_counts"]

Integers = NDArray[np.int64]

#: Bytes of text that a model knows, at most.
MOST_KNOWN: Final = 1 << 20
_MOST_INDEXED: Final = 1 << 21  # bytes, known ones and those that have been read
_LEAST_READ: Final = 1 << 12  # bytes after which what has been read is taken in
_GROWTH: Final = 16  # parts of all that is known, of which one is read before that
_NEVER: Final = 1 << 62
_AT_ONCE: Final = 1 << 14  # bytes that are encoded together
_OF_A_WIDTH: Final = 2  # lanes of a text, at least, for each lane of the stack, which takes a byte or two
_WHOLE: Final = 1 << PRECISION


@final
class TextCoder(Coder):
    r"""Codes texts, byte by byte, each byte bit by bit.

    A block is cut into lanes that are read side by side. Of each bit it is counted how often a zero and how often a one
    followed the last one to six bytes, the word so far, and the word so far with the one before it
    (:class:`~latentkit.codec.texts.index.TextIndex`); a network of whole numbers makes a chance of these counts
    (:class:`~latentkit.codec.texts.chances.BitChances`). They are those of a text that the model holds, and of what
    has been read of the block: as often as that has grown by a sixteenth of everything, the index is made again.

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
        lanes = Lanes.of(block)
        with exact_arithmetic():
            steps = self._steps(lanes)
        most = sum(_OF_A_WIDTH * width <= len(lanes.lengths) or width == 1 for width in WIDTHS)
        left, stack = code_of_steps(steps, most)
        code = written_numbers(lanes.n_lines, len(lanes.rows), len(left), *left) + stack
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
        n_lines, n_rows = numbers.next(), numbers.next()
        if n_lines > size or n_rows > most_rows(size, are_lines=n_lines > 0):
            raise DamagedArchiveError(f"{size:,} bytes have no room for so many lines.")
        left = numbers.several(min(numbers.next(), len(WIDTHS)))
        reader = Reader(left, content[numbers.place :], 8 * n_rows)
        with exact_arithmetic():
            lanes = self._read(reader, n_lines, n_rows, size)
        if not reader.is_done:
            raise DamagedArchiveError("something is left after the last byte.")
        return lanes.text()

    def _steps(self, lanes: Lanes) -> _Bits:
        """The bits of a text, and the chances by which they are coded."""
        is_there, reading, histories = lanes.is_there, _Reading(self), Histories(len(lanes.lengths))
        symbols, ends = lanes.rows[is_there], np.cumsum(is_there.sum(1))
        splits = np.empty((8, len(symbols)), np.uint32)
        done, keys = 0, list[Keys]()
        for row, there, end in zip(lanes.rows, is_there, ends.tolist(), strict=True):
            keys.append(histories.keys()[:, there])
            histories.advance(row)
            if end - done >= _AT_ONCE or end >= reading.due or end == len(symbols):
                these = np.concatenate(keys, axis=1)
                for level, (zeros, ones, known) in enumerate(bit_counts(reading.index, these, symbols[done:end])):
                    splits[level, done:end] = self.chances.splits(zeros, ones, known)
                reading.take(these, symbols[done:end])
                done, keys = end, []
        return _Bits(symbols, splits, [0, *ends.tolist()])

    def _read(self, reader: Reader, n_lines: int, n_rows: int, size: int) -> Lanes:
        """Read a text of so many bytes.

        Raises:
            DamagedArchiveError: If there is none.
        """
        left = shares_of_lanes(n_lines or size, size)
        rows, lengths = np.zeros((n_rows, len(left)), np.uint8), np.zeros(len(left), np.int64)
        reading, histories, n_read = _Reading(self), Histories(len(left)), 0
        for row in rows:
            there = np.flatnonzero(left)
            n_read += len(there)
            if not len(there) or n_read > size:
                break
            keys = histories.keys()[:, there]
            symbols = self._read_bytes(reader, reading.index, keys)
            row[there] = symbols
            lengths[there] += 1
            left[there] -= symbols == LINE_FEED if n_lines else 1
            histories.advance(row)
            reading.take(keys, symbols)
        if n_read != size or left.any():
            raise DamagedArchiveError(f"what it holds does not make {size:,} bytes.")
        return Lanes(rows, lengths, n_lines)

    def _read_bytes(self, reader: Reader, index: TextIndex, keys: Keys) -> Bytes:
        """Read the next byte of each lane."""
        n = keys.shape[1]
        low, high = index.ranges(keys)
        known, bits = np.ones(n, np.int64), np.empty(n, np.uint8)
        for level in range(8):
            counts = index.counts(level, low, high)
            splits = self.chances.splits(counts[0], counts[1], known)

            def choose(slots: Integers, lanes: slice, splits: Integers = splits) -> tuple[Integers, Integers]:
                split = splits[lanes]
                bits[lanes] = slots >= split
                return _intervals(bits[lanes], split)

            reader.read(n, PRECISION, choose)
            low, high = index.narrowed(level, bits, low, counts)
            known = known << 1 | bits
        return (known & 255).astype(np.uint8)

    def _verify(self) -> None:
        if not self._is_verified:
            self.chances.network.verify()
            self._is_verified = True

    @cached_property
    def known(self) -> tuple[Keys, Bytes]:
        """Keys and bytes of the text that is known."""
        return keys_of(self.text)

    @cached_property
    def known_index(self) -> TextIndex:
        """The index of the text that is known."""
        return TextIndex(*self.known)


def bit_counts(
    index: TextIndex, keys: Keys, symbols: Bytes
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], Integers]]:
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
        bits = (symbols >> (7 - level) & 1).astype(np.uint8)
        low, high = index.narrowed(level, bits, low, counts)
        known = known << 1 | bits


@final
class _Reading:
    """The index, while a block is gone through.

    Args:
        coder: Whose text is known beforehand.

    Attributes:
        index: Of all that was known when it was last made.
        due: How many bytes will have been read when it is made again.
    """

    def __init__(self, coder: TextCoder) -> None:
        self.index, self.due = coder.known_index, 0
        self._n_known, self._n_read = len(coder.text), 0
        self._parts: list[tuple[Keys, Bytes]] = [coder.known]
        self._plan()

    def take(self, keys: Keys, symbols: Bytes) -> None:
        """Take in bytes that have been read."""
        self._n_read += len(symbols)
        if self.due == _NEVER:
            return
        self._parts.append((keys, symbols))
        if self._n_read >= self.due:
            all_keys, all_symbols = zip(*self._parts, strict=True)
            self._parts = [(np.concatenate(all_keys, axis=1), np.concatenate(all_symbols))]
            self.index = TextIndex(*self._parts[0])
            self._plan()

    def _plan(self) -> None:
        """Say when the index is made again: when it has grown enough, unless it would become too large."""
        n_known = self._n_known + self._n_read
        n_more = max(_LEAST_READ, n_known // _GROWTH)
        self.due = self._n_read + n_more if n_known + n_more <= _MOST_INDEXED else _NEVER


@final
class _Bits(Sequence[Step]):
    """The bits of bytes as steps, each made when it is asked for.

    Args:
        symbols: Bytes, row by row, shape (n,).
        splits: Slots of a zero for each of their bits, shape (8, n).
        ends: Where each row begins, and the last one ends.
    """

    def __init__(self, symbols: Bytes, splits: NDArray[np.uint32], ends: list[int]) -> None:
        self._symbols, self._splits, self._ends = symbols, splits, ends

    def __len__(self) -> int:
        return 8 * (len(self._ends) - 1)

    @overload
    def __getitem__(self, place: int) -> Step: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Step]: ...

    def __getitem__(self, place: int | slice) -> Step | Sequence[Step]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        row, level = divmod(range(len(self))[place], 8)
        these = slice(self._ends[row], self._ends[row + 1])
        bits = (self._symbols[these] >> (7 - level) & 1).astype(np.uint8)
        return (*_intervals(bits, self._splits[level, these].astype(np.int64)), PRECISION)


def _intervals(bits: Bytes, splits: Integers) -> tuple[Integers, Integers]:
    is_one = bits.astype(np.bool_)
    return np.where(is_one, splits, 0), np.where(is_one, _WHOLE - splits, splits)


coders.register(TextCoder.name)(TextCoder.of)
