"""Lines of a table: cells by column, and whatever is no line of it, so that both together are the block again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from latentkit.core.errors import DamagedArchiveError

__all__ = ["LineFormat", "Lines"]


@final
@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a block.

    Attributes:
        columns: Cells of each column, of the lines that have as many as the table has columns.
        odd: The other lines, without the line feed, by their numbers.
        tail: What comes behind the last line feed.
    """

    columns: Sequence[Sequence[bytes]]
    odd: dict[int, bytes]
    tail: bytes

    @property
    def n_even(self) -> int:
        """How many lines have their cells in the columns."""
        return len(self.columns[0])

    @property
    def n_lines(self) -> int:
        """How many lines there are."""
        return self.n_even + len(self.odd)


@final
@dataclass(frozen=True, slots=True)
class LineFormat:
    r"""How the lines of a table are written.

    Cells are kept as they are written, with their quotes: joining them gives the line again, whatever they hold.

    Attributes:
        n_columns: How many cells a line has.
        delimiter: One byte that stands between two cells.
        has_return: Whether a carriage return stands before each line feed.
        header: A line that is none of the others, though it has as many cells; without what ends it.

    Raises:
        DamagedArchiveError: If no lines are written so.

    Example:
        >>> form = LineFormat(2, b",")
        >>> lines = form.split(b'1,2\n\n"a,b",3\nend')
        >>> lines.columns, lines.odd, lines.tail
        ([(b'1', b'"a,b"'), (b'2', b'3')], {1: b''}, b'end')
        >>> form.join(lines)
        b'1,2\n\n"a,b",3\nend'
    """

    n_columns: int
    delimiter: bytes = b","
    has_return: bool = False
    header: bytes | None = None

    def __post_init__(self) -> None:
        if self.n_columns < 1 or len(self.delimiter) != 1 or self.delimiter == b"\n":
            raise DamagedArchiveError("no lines of a table are written so.")

    def split(self, block: bytes) -> Lines:
        """Return the lines of a block."""
        lines = block.split(b"\n")
        tail = lines.pop()
        rows: list[list[bytes]] = []
        odd: dict[int, bytes] = {}
        for number, line in enumerate(lines):
            cells = self._cells(line)
            if cells is None:
                odd[number] = line
            else:
                rows.append(cells)
        columns = list(zip(*rows, strict=True)) if rows else [()] * self.n_columns
        return Lines(columns, odd, tail)

    def join(self, lines: Lines) -> bytes:
        """Return the block that has these lines."""
        end = b"\r" if self.has_return else b""
        rows = [self.delimiter.join(cells) + end for cells in zip(*lines.columns, strict=True)]
        if lines.odd:
            rest = iter(rows)
            rows = [lines.odd[n] if n in lines.odd else next(rest) for n in range(lines.n_lines)]
        return b"\n".join([*rows, lines.tail])

    def n_bytes(self, lines: Lines) -> int:
        """Return how many bytes the block of these lines has, without making it."""
        between = (self.n_columns + self.has_return) * lines.n_even
        cells = sum(sum(map(len, column)) for column in lines.columns)
        return between + cells + sum(map(len, lines.odd.values())) + len(lines.odd) + len(lines.tail)

    def _cells(self, line: bytes) -> list[bytes] | None:
        """The cells of a line; None if it is the header, or they are not as many as the table has columns."""
        if line == self.header:
            return None
        if self.has_return:
            if not line.endswith(b"\r"):
                return None
            line = line[:-1]
        cells = line.split(self.delimiter)
        if b'"' in line and len(cells) > self.n_columns:
            cells = self._rejoined(cells)
        return cells if len(cells) == self.n_columns else None

    def _rejoined(self, parts: list[bytes]) -> list[bytes]:
        """Cells of parts that delimiters between quotes have torn."""
        cells: list[bytes] = []
        is_open = False
        for part in parts:
            if is_open:
                cells[-1] += self.delimiter + part
            else:
                cells.append(part)
            is_open ^= part.count(b'"') % 2 == 1
        return cells
