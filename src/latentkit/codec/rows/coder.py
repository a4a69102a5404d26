"""The coder of tables: lines become symbols, symbols become bits by what is known of the row so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.coders import Coder, CoderState, coders
from latentkit.codec.numbers import NumberReader, written_numbers
from latentkit.codec.rows.conditional import N_KIN
from latentkit.codec.rows.lanes import WIDTHS, Reader, Step, code_of_steps
from latentkit.codec.rows.lines import Lines
from latentkit.codec.rows.memory import MEMORY_PRECISION, RowMemory
from latentkit.codec.rows.softmax import PRECISION
from latentkit.codec.rows.states import OFFSET_BITS, RowModel, model_of_state, state_of_model
from latentkit.codec.rows.texts import packed, unpacked
from latentkit.core.errors import DamagedArchiveError, UnfitDataError

__all__ = ["RowCoder"]

Integers = NDArray[np.int64]

_OFFSET_PRECISION: Final = 26
_LEAST_CHUNK: Final = 256
_CHUNKS: Final = 32  # that the rows which are remembered would be: rows of one chunk do not find each other
_ROWS_A_LANE: Final = 128


@final
@coders.register("rows")
class RowCoder(Coder):
    """Codes lines of a table, such as those of a CSV file.

    The cells of a line become symbols (:class:`Column`), one column after the other, each by its distribution given
    those before it (:class:`Conditionals`). One column may be the *key*: rows that have the same number there, of the
    model or of the block, tell what else the row may be (:class:`RowMemory`). The place of a number in its bin is
    coded as it is. Lines with more or fewer cells than the table has columns, what stands behind the last line feed,
    and cells that the columns do not know are written in full.

    All rows of a chunk are coded at once, column by column; what is remembered grows from chunk to chunk.

    Args:
        model: What it consists of; a state, as it is read from an archive, does as well.
    """

    name: ClassVar[str] = "rows"

    def __init__(self, model: RowModel | CoderState) -> None:
        self.model = model_of_state(model) if isinstance(model, CoderState) else model
        self._state = model if isinstance(model, CoderState) else None
        self._is_verified = False

    def state(self) -> CoderState:
        if self._state is None:
            self._state = state_of_model(self.model, self.name)
        return self._state

    def encode(self, block: bytes, n: int) -> bytes:
        if not block:
            return b""
        self._verify()
        lines = self.model.lines.split(block)
        told = [column.symbols(cells) for column, cells in zip(self.model.columns, lines.columns, strict=True)]
        escaped = [
            cells[place]
            for column, cells, (symbols, _) in zip(self.model.columns, lines.columns, told, strict=True)
            for place in np.flatnonzero(symbols == column.escape).tolist()
        ]
        text = _text_of(lines, escaped)
        steps = self._steps(np.stack([symbols for symbols, _ in told], 1), np.stack([places for _, places in told], 1))
        most = sum(width * _ROWS_A_LANE <= max(lines.n_even, _ROWS_A_LANE) for width in WIDTHS)
        left, stack = code_of_steps(steps, most) if steps else ([], b"")
        told_text = packed(text, self.model.known)
        gaps = np.diff([-1, *lines.odd]).tolist()
        code = (
            written_numbers(lines.n_even, len(lines.odd), *gaps, len(left), *left, len(told_text)) + told_text + stack
        )
        if len(code) > len(block):
            raise UnfitDataError(f"{len(block):,} bytes are not like the table that the coder was fitted on.")
        return code

    def decode(self, content: bytes, n: int, size: int) -> bytes:
        if not content or not size:
            if content or size:
                raise DamagedArchiveError("it has no content for its lines, or no lines for its content.")
            return b""
        self._verify()
        numbers = NumberReader(content)
        n_even, n_odd = numbers.next(), numbers.next()
        if n_even * self.model.n_least_bytes + n_odd > size:
            raise DamagedArchiveError(f"{size:,} bytes have no room for so many lines.")
        places = np.cumsum(numbers.several(n_odd)) - 1
        left = numbers.several(min(numbers.next(), len(WIDTHS)))
        text, stack = numbers.rest(numbers.next())
        if n_odd and (int(places[-1]) >= n_even + n_odd or (np.diff(places) < 1).any() or places[0] < 0):
            raise DamagedArchiveError("lines are where they cannot be.")
        pieces = _pieces(unpacked(text, self.model.known, size + 1))
        odd = {int(place): _next(pieces) for place in places}
        tail = next(pieces, b"")
        columns: Sequence[Sequence[bytes]] = [()] * len(self.model.columns)
        if n_even:
            symbols, offsets = self._read(left, stack, n_even)
            columns = [
                column.cells(symbols[:, number], offsets[:, number], pieces)
                for number, column in enumerate(self.model.columns)
            ]
        elif stack or left:
            raise DamagedArchiveError("it has symbols of no line.")
        lines = Lines(columns, odd, tail)
        if next(pieces, None) is not None or self.model.lines.n_bytes(lines) != size:
            raise DamagedArchiveError(f"what it holds does not make {size:,} bytes.")
        return self.model.lines.join(lines)

    def _verify(self) -> None:
        if not self._is_verified:
            self.model.conditionals.verify()
            self._is_verified = True

    # Symbols of rows, chunk by chunk

    def _steps(self, symbols: Integers, offsets: Integers) -> list[Step]:
        memory, steps = self.model.new_memory(), list[Step]()
        for first, end in self._chunks(len(symbols), memory):
            steps += self._chunk(symbols[first:end], offsets[first:end], memory)
        return steps

    def _chunks(self, n: int, memory: RowMemory | None) -> Iterator[tuple[int, int]]:
        """Yield where each chunk of n rows begins and ends: larger ones, the more is remembered at the start."""
        remembered, first, most = 0 if memory is None else memory.n_rows, 0, self.model.most_rows
        while first < n:
            size = most if memory is None else min(max((remembered + first) // _CHUNKS, _LEAST_CHUNK), most)
            yield first, min(first + size, n)
            first += size

    def _chunk(self, symbols: Integers, offsets: Integers, memory: RowMemory | None) -> list[Step]:
        conditionals, steps = self.model.conditionals, list[Step]()
        n, key = len(symbols), self.model.key
        entries = np.full(n, -1, np.int64)
        kin = np.full((n, N_KIN, symbols.shape[1]), -1, np.int64)
        keys, is_key = entries, entries >= 0
        if memory is not None:
            is_key = symbols[:, key] < self.model.columns[key].n_bins
            keys = self.model.columns[key].numbers(symbols[:, key], offsets[:, key])
            entries = np.where(is_key, memory.entries(keys), -1)
            kin = memory.kin(entries)
            steps += _memory_steps(memory, entries)
        is_found, nothing = entries >= 0, np.zeros(n, bool)
        context = conditionals.context(kin)
        for number in conditionals.order:
            these = symbols[:, number]
            starts, frequencies = _intervals(conditionals.frequencies(context, number), np.arange(n), these)
            skipped = is_found if number == key else nothing
            steps.append((*_unless(skipped, starts, frequencies, PRECISION), PRECISION))
            places = np.where(skipped, 0, offsets[:, number])
            for shift, radices in self._digits(number, np.where(skipped, 1, self.model.widths[number][these])):
                digits = places >> shift & (1 << OFFSET_BITS) - 1
                steps.append((*_uniform(digits, radices), _OFFSET_PRECISION))
            conditionals.tell(context, number, these)
        if memory is not None:
            memory.learn(keys, is_key, symbols)
        return steps

    def _read(self, left: Sequence[int], stack: bytes, n: int) -> tuple[Integers, Integers]:
        memory = self.model.new_memory()
        symbols, offsets = np.zeros((2, n, len(self.model.columns)), np.int64)
        # chunks depend on how many rows there are, not on what is in them
        n_chunks = sum(1 for _ in self._chunks(n, memory))
        n_digits = sum(len(self.model.shifts(number)) for number in self.model.conditionals.order)
        n_steps = n_chunks * (2 * (memory is not None) + len(self.model.columns) + n_digits)
        reader = Reader(left, stack, n_steps)
        for first, end in self._chunks(n, memory):
            self._read_chunk(reader, symbols[first:end], offsets[first:end], memory)
        if not reader.is_done:
            raise DamagedArchiveError("something is left after the last line.")
        return symbols, offsets

    def _read_chunk(self, reader: Reader, symbols: Integers, offsets: Integers, memory: RowMemory | None) -> None:
        conditionals, key, n = self.model.conditionals, self.model.key, len(symbols)
        entries = np.full(n, -1, np.int64)
        kin = np.full((n, N_KIN, symbols.shape[1]), -1, np.int64)
        if memory is not None:
            entries = _read_entries(reader, memory, n)
            kin = memory.kin(entries)
        is_found, nothing = entries >= 0, np.zeros(n, bool)
        context = conditionals.context(kin)
        for number in conditionals.order:
            skipped = is_found if number == key else nothing
            these, places = symbols[:, number], offsets[:, number]
            self._read_symbols(reader, conditionals.frequencies(context, number), skipped, these)
            for shift, radices in self._digits(number, np.where(skipped, 1, self.model.widths[number][these])):
                places += _read_uniform(reader, radices) << shift
            if memory is not None and number == key and is_found.any():
                column = self.model.columns[key]
                these[is_found], places[is_found] = column.bins(memory.keys(entries[is_found]))
            conditionals.tell(context, number, these)
        if memory is not None:
            column = self.model.columns[key]
            memory.learn(column.numbers(symbols[:, key], offsets[:, key]), symbols[:, key] < column.n_bins, symbols)

    def _read_symbols(self, reader: Reader, cumulated: Integers, skipped: NDArray[np.bool_], symbols: Integers) -> None:
        def choose(slots: Integers, rows: slice) -> tuple[Integers, ...]:
            table = cumulated[rows]
            found = np.count_nonzero(table[:, 1:] <= slots[:, None], axis=1)
            symbols[rows] = found
            starts, frequencies = _intervals(table, np.arange(len(table)), found)
            return _unless(skipped[rows], starts, frequencies, PRECISION)

        reader.read(len(symbols), PRECISION, choose)

    def _digits(self, number: int, widths: Integers) -> Iterator[tuple[int, Integers]]:
        """Shifts and numbers of values of the digits of places in bins of these widths."""
        for shift in self.model.shifts(number):
            yield shift, np.minimum((widths - 1 >> shift) + 1, 1 << OFFSET_BITS)


def _memory_steps(memory: RowMemory, entries: Integers) -> list[Step]:
    """Whether rows are found, and where."""
    is_found = entries >= 0
    whole, zeros = 1 << MEMORY_PRECISION, np.zeros(len(entries), np.int64)
    if not len(memory):
        return [(zeros, zeros + whole, MEMORY_PRECISION)] * 2
    chance = memory.chance
    flags = np.where(is_found, 0, chance), np.where(is_found, chance, whole - chance)
    starts, frequencies = _unless(~is_found, *memory.intervals(np.maximum(entries, 0)), MEMORY_PRECISION)
    return [(*flags, MEMORY_PRECISION), (starts, frequencies, MEMORY_PRECISION)]


def _read_entries(reader: Reader, memory: RowMemory, n: int) -> Integers:
    entries = np.full(n, -1, np.int64)
    whole, chance = 1 << MEMORY_PRECISION, memory.chance if len(memory) else 0

    def flag(slots: Integers, rows: slice) -> tuple[Integers, ...]:
        is_found = slots < chance
        entries[rows] = np.where(is_found, 0, -1)
        return np.where(is_found, 0, chance), np.where(is_found, chance, whole - chance)

    def entry(slots: Integers, rows: slice) -> tuple[Integers, ...]:
        is_missed = entries[rows] < 0
        if is_missed.all():
            zeros = np.zeros(len(slots), np.int64)
            return zeros, zeros + whole
        found = memory.find(slots)
        entries[rows] = np.where(is_missed, -1, found)
        return _unless(is_missed, *memory.intervals(found), MEMORY_PRECISION)

    reader.read(n, MEMORY_PRECISION, flag)
    reader.read(n, MEMORY_PRECISION, entry)
    return entries


def _intervals(cumulated: Integers, rows: Integers, symbols: Integers) -> tuple[Integers, Integers]:
    starts = cumulated[rows, symbols]
    return starts, cumulated[rows, symbols + 1] - starts


def _unless(
    is_known: NDArray[np.bool_], starts: Integers, frequencies: Integers, precision: int
) -> tuple[Integers, Integers]:
    """Intervals, and the whole, which costs nothing, where the symbol is known."""
    return np.where(is_known, 0, starts), np.where(is_known, 1 << precision, frequencies)


def _uniform(digits: Integers, radices: Integers) -> tuple[Integers, Integers]:
    """Intervals of digits, each as frequent as the others of its radix, up to one slot."""
    starts = (digits << _OFFSET_PRECISION) // radices
    return starts, (digits + 1 << _OFFSET_PRECISION) // radices - starts


def _read_uniform(reader: Reader, radices: Integers) -> Integers:
    digits = np.zeros(len(radices), np.int64)

    def choose(slots: Integers, rows: slice) -> tuple[Integers, ...]:
        # the last digit that does not start behind the slot
        found = (slots + 1) * radices[rows] - 1 >> _OFFSET_PRECISION
        digits[rows] = found
        return _uniform(found, radices[rows])

    reader.read(len(radices), _OFFSET_PRECISION, choose)
    return digits


def _text_of(lines: Lines, escaped: Sequence[bytes]) -> bytes:
    """All that is written in full: lines, what follows the last one, cells; nothing holds a line feed itself."""
    if not lines.odd and not lines.tail and not escaped:
        return b""
    return b"".join(piece + b"\n" for piece in [*lines.odd.values(), lines.tail, *escaped])


def _pieces(text: bytes) -> Iterator[bytes]:
    pieces = text.split(b"\n")
    if pieces.pop():
        raise DamagedArchiveError("what is written in full does not end.")
    return iter(pieces)


def _next(pieces: Iterator[bytes]) -> bytes:
    piece = next(pieces, None)
    if piece is None:
        raise DamagedArchiveError("lines that are written in full are missing.")
    return piece
