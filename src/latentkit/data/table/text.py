"""Tables of text: every cell as it was written, and how the file was written."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import UnreadableDataError
from latentkit.data.validation import show

__all__ = ["Dialect", "TextTable", "decoded", "quoted_cell", "read_text_table", "render", "scan", "unpacked"]

Arrow: TypeAlias = Any

_DELIMITERS = (",", ";", "\t", "|")
#: Bytes at the start of a file by which its delimiter, header and quotes are recognised.
_HEAD = 1 << 18


@final
@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file of text was written.

    Attributes:
        delimiter: What stands between two cells.
        encoding: ``"utf-8"``, ``"utf-8-sig"`` (with a mark of byte order), ``"utf-16"`` or ``"cp1252"``.
        has_header: Whether the first line names the columns.
        quoted: Which columns have quotes around every cell; -1 stands for the header.
        line_end: What ends a line.
        padding: What stands behind every delimiter: nothing, or a blank.
        final_end: Whether the last line ends, too.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    has_header: bool = True
    quoted: tuple[int, ...] = ()
    line_end: str = "\n"
    padding: str = ""
    final_end: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "quoted", tuple(self.quoted))

    def describe(self) -> dict[str, Any]:
        """Return the dialect as JSON values."""
        return {**asdict(self), "quoted": list(self.quoted)}


@final
@dataclass(frozen=True, eq=False)
class TextTable:
    """A table of texts: what a file of text held, cell by cell, before anything is taken for a number or a date.

    Attributes:
        names: Names of the columns.
        arrays: Arrow arrays of strings, one for each column.
        dialect: How the file was written.
        source: Name of the file.
        lines: Line of the file, counted from 1, in which each row begins; None where the rows are all of the file's.
    """

    names: tuple[str, ...]
    arrays: tuple[Arrow, ...]
    dialect: Dialect = Dialect()
    source: str = ""
    lines: NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return (len(self.arrays[0]) if self.arrays else 0, len(self.names))

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.names)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, name: str) -> list[str]:
        """Return the cells of a column."""
        return cast(list[str], self.arrays[self.names.index(name)].to_pylist())

    def line(self, row: int) -> int:
        """Return the line of the file, counted from 1, in which a row begins."""
        if self.lines is not None:
            return int(self.lines[row])
        from pyarrow import compute as pc

        breaks = sum(pc.sum(pc.count_substring(array.slice(0, row), "\n")).as_py() or 0 for array in self.arrays)
        return row + 1 + self.dialect.has_header + int(breaks)

    def without(self, name: str) -> TextTable:
        """Return the table without one of its columns."""
        at = self.names.index(name)
        quoted = tuple(place - (place > at) for place in self.dialect.quoted if place != at)
        dialect = Dialect(**{**asdict(self.dialect), "quoted": quoted})
        names, arrays = (part[:at] + part[at + 1 :] for part in (self.names, self.arrays))
        return TextTable(names, arrays, dialect, self.source, self.lines)

    def take(self, rows: NDArray[np.int64]) -> TextTable:
        """Return the table of these rows, by number."""
        import pyarrow as pa

        arrays = tuple(array.take(pa.array(rows)) for array in self.arrays)
        return replace(self, arrays=arrays, lines=self._all_lines()[rows])

    def _all_lines(self) -> NDArray[np.int64]:
        """The line of the file in which each row begins."""
        if self.lines is not None:
            return self.lines
        from pyarrow import compute as pc

        breaks = np.zeros(len(self), np.int64)
        for array in self.arrays:
            breaks += pc.fill_null(pc.count_substring(array, "\n"), 0).to_numpy().astype(np.int64)
        return np.arange(len(self)) + 1 + self.dialect.has_header + np.cumsum(breaks) - breaks

    def to_arrow(self) -> Arrow:
        """Return an Arrow table of strings."""
        import pyarrow as pa

        return pa.table(list(self.arrays), names=list(self.names))


def unpacked(source: Path | bytes) -> bytes:
    """Return the content of a file, which may be packed (.gz, .bz2, .zst, .xz is not known)."""
    import pyarrow as pa

    if isinstance(source, bytes):
        return source
    with pa.input_stream(str(source), compression="detect") as stream:
        return cast(bytes, stream.read())


def decoded(content: bytes, notes: list[str]) -> tuple[str, str]:
    """Return a text and its encoding: UTF-8, UTF-16 where the file says so or zeros show it, else Windows-1252.

    Raises:
        UnicodeDecodeError: If it is none of them.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16"), "utf-16"
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = content[start:4096:2]
        if len(zeros) > 1 and zeros.count(0) > 0.7 * len(zeros):
            return content.decode(encoding), encoding
    if content.startswith(b"\xef\xbb\xbf"):
        return content.decode("utf-8-sig"), "utf-8-sig"
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        text = content.decode("cp1252")
        first = next((line for line in text[error.start :].splitlines()), "")[:40]
        line = content.count(b"\n", 0, error.start) + 1
        notes.append(
            f"warning: the file is not UTF-8; it was read as Windows-1252 (Western European): line {line} has "
            f"{show(first)}. If that looks wrong, save the file as UTF-8"
        )
        return text, "cp1252"


def read_text_table(source: Path | bytes, name: str, delimiter: str, notes: list[str]) -> TextTable:
    """Read a table of text and leave every cell as it is written.

    The delimiter is the usual one of the file's ending, or the one that cuts the first lines into equally many cells.
    Cells may be quoted, and quoted cells may hold line breaks.

    Args:
        source: File (also packed), or its content.
        name: For messages.
        delimiter: The usual one.
        notes: Gets what was recognised.
    Raises:
        UnreadableDataError: If the file is empty, in another encoding, or its rows have different numbers of cells;
            the line is named.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    content = unpacked(source)
    try:
        text, encoding = decoded(content, notes)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableDataError(
            f"{name}, line {line}: the encoding of the file is not known: neither UTF-8, UTF-16 nor Windows-1252 "
            f"({error.reason} at byte {error.start}). Save it as UTF-8"
        ) from error
    if not text.strip():
        raise UnreadableDataError(f"{name}: the file is empty. Get or write it again")
    if "\0" in text[:_HEAD]:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UnreadableDataError(
            f"{name}, line {line}: the file holds zero bytes: it is no text, or of an encoding that is not known. Save "
            "it as UTF-8"
        )
    dialect, first, names = _recognised(text, delimiter, encoding, notes)
    body = content if encoding == "utf-8" else text.encode("utf-8")
    del text
    _check_names(names, name)
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(body),
            read_options=arrow_csv.ReadOptions(
                column_names=names,
                skip_rows_after_names=0,
                skip_rows=first if dialect.has_header else 0,
                use_threads=False,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter, newlines_in_values=True, ignore_empty_lines=len(names) > 1
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={column: pa.string() for column in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        _explain_ragged(body, name, dialect, len(names))
        raise UnreadableDataError(
            f"{name}: the file cannot be read ({str(error).splitlines()[0]}). Check its format, or read it with pandas "
            "and give the frame"
        ) from error
    if not table.num_rows:
        raise UnreadableDataError(f"{name}: the table has no rows. Give a file with data")
    arrays = table.columns
    if dialect.padding:
        from pyarrow import compute as pc

        arrays = [arrays[0], *(pc.utf8_ltrim_whitespace(array) for array in arrays[1:])]
    return TextTable(tuple(names), tuple(arrays), dialect, name)


def _recognised(text: str, usual: str, encoding: str, notes: list[str]) -> tuple[Dialect, int, list[str]]:
    """Return the dialect, the number of lines of the header, and the names of the columns."""
    head = text[:_HEAD]
    line_end = "\r\n" if "\r\n" in head else "\n" if "\n" in head or "\r" not in head else "\r"
    delimiter = _delimiter(head, usual)
    if delimiter != usual:
        notes.append(f"columns are separated by {delimiter!r}")
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    first = next(row for row in reader if row)
    lines = reader.line_num
    # A padded delimiter: every one of the first lines has a blank behind each.
    sample = [line for line in head.split(line_end)[:50] if delimiter in line]
    padded = bool(sample) and all(line.count(delimiter) == line.count(f"{delimiter} ") for line in sample[1:] or sample)
    names = [cell.strip() for cell in first]
    has_header = not any(_is_number(cell) for cell in names) and len(text.split(line_end[-1], lines)) > lines
    if not has_header:
        names = [f"column_{index}" for index in range(len(first))]
        notes.append("there is no header line (the first line has numbers): columns are named column_0, column_1, ...")
    dialect = Dialect(
        delimiter=delimiter,
        encoding=encoding,
        has_header=has_header,
        quoted=_quoted(head, delimiter, len(names), has_header=has_header),
        line_end=line_end,
        padding=" " if padded else "",
        final_end=text.endswith(line_end),
    )
    return dialect, lines, names


def _delimiter(head: str, usual: str) -> str:
    """Return the delimiter: the usual one if it cuts the first line, else the most frequent that does."""
    best, width = usual, 0
    for mark in dict.fromkeys([usual, *_DELIMITERS]):
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=mark)
        rows = [row for row in itertools.islice(reader, 21) if row]
        rows = rows[:-1] or rows  # the last one may be cut short
        widths = Counter(len(row) for row in rows)
        common, count = widths.most_common(1)[0]
        if common > 1 and count == len(rows) and (width == 0 or (best != usual and common > width)):
            best, width = mark, common
    if width:
        return best
    line = head.lstrip("\r\n").splitlines()[0]
    return usual if usual in line else next((mark for mark in (";", "\t", ",", "|") if mark in line), usual)


def _quoted(head: str, delimiter: str, n: int, *, has_header: bool) -> tuple[int, ...]:
    """Return the columns of which every cell in the first lines has quotes, -1 for the header."""
    if '"' not in head:
        return ()
    rows = [[cell for cell, _ in row] for row in scan(head, delimiter)]
    rows = [row for row in rows[:101] if len(row) == n]
    body = rows[1:] if has_header else rows
    quoted = [-1] if has_header and rows and all(cell.lstrip().startswith('"') for cell in rows[0]) else []
    for index in range(n):
        cells = [row[index].lstrip() for row in body]
        if cells and all(cell.startswith('"') for cell in cells):
            quoted.append(index)
    return tuple(quoted)


def scan(text: str, delimiter: str) -> Iterator[list[tuple[str, int]]]:
    r"""Yield the records of a text: each cell as it is written, quotes included, and where it begins.

    Example:
        >>> list(scan('a,"b,c"\n1,2\n', ","))
        [[('a', 0), ('"b,c"', 2)], [('1', 8), ('2', 10)]]
    """
    position, n = 0, len(text)
    while position < n:
        end = text.find("\n", position)
        end = n if end < 0 else end
        line = text[position:end]
        if '"' not in line:
            cells, at = [], position
            for cell in line.removesuffix("\r").split(delimiter):
                cells.append((cell, at))
                at += len(cell) + len(delimiter)
            if line.strip("\r"):
                yield cells
            position = end + 1
            continue
        cells, position = _scan_quoted(text, position, delimiter)
        yield cells


def _scan_quoted(text: str, position: int, delimiter: str) -> tuple[list[tuple[str, int]], int]:
    cells, start, n = [], position, len(text)
    while True:
        at = start
        while at < n and text[at] == " ":
            at += 1
        if at < n and text[at] == '"':
            at += 1
            while True:
                at = text.find('"', at)
                if at < 0:
                    at = n
                    break
                if text.startswith('""', at):
                    at += 2
                    continue
                at += 1
                break
        while at < n and text[at] not in (delimiter, "\n"):
            at += 1
        ends = at >= n or text[at] == "\n"
        cell = text[start:at]
        cells.append((cell.removesuffix("\r") if ends else cell, start))
        start = at + 1
        if ends:
            return cells, start


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _check_names(names: list[str], name: str) -> None:
    repeated = [cell for cell, count in Counter(names).items() if count > 1]
    if repeated:
        places = [index + 1 for index, cell in enumerate(names) if cell == repeated[0]]
        raise UnreadableDataError(
            f"{name}, line 1: several columns are named {repeated[0]!r} (columns {', '.join(map(str, places))}). "
            "Rename them"
        )


def _explain_ragged(body: bytes, name: str, dialect: Dialect, width: int) -> None:
    """Raise an error that names the first row with another number of cells, if there is one."""
    reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), delimiter=dialect.delimiter)
    before = 0
    for row in reader:
        if row and len(row) != width:
            excess = f"; the first too many is {show(row[width])}" if len(row) > width else ""
            raise UnreadableDataError(
                f"{name}, line {before + 1}: the row has {len(row)} cells, the table has {width} columns{excess}. "
                f"{_remedy(row, width, dialect.delimiter, is_second=before == 1)}"
            )
        before = reader.line_num


def _remedy(row: list[str], width: int, delimiter: str, *, is_second: bool) -> str:
    """What to do about a row with another number of cells than the first."""
    if len(row) < width and row[-1].count("\n") > 1:
        return f"A quote opens in column {len(row)} and is not closed before the next one or the end: close it"
    if len(row) == width + 1 and not row[-1]:
        return f"Take the {delimiter!r} at its end away, or put one at the end of line 1, too"
    first = "if line 1 does not name the columns, take it out; else put" if is_second else "Put"
    return f"{first[0].upper()}{first[1:]} quotes around cells that hold {delimiter!r}, or complete the row"


def render(table: TextTable) -> bytes:
    """Return the content of a file that holds the table, written as its dialect says."""
    import pyarrow as pa
    from pyarrow import compute as pc

    dialect = table.dialect
    between = dialect.delimiter + dialect.padding
    parts = []
    if dialect.has_header:
        names = [quoted_cell(name, dialect, forced=-1 in dialect.quoted) for name in table.names]
        parts.append(between.join(names))
    special = '["\r\n' + re.escape(dialect.delimiter) + "]"
    columns = []
    for index, array in enumerate(table.arrays):
        array = array.cast(pa.large_string()).fill_null("")
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        forced = index in dialect.quoted
        need = pa.scalar(True) if forced else pc.match_substring_regex(array, special)
        if forced or pc.any(need).as_py():
            escaped = pc.replace_substring(array, '"', '""')
            quote = pa.scalar('"', pa.large_string())
            quoted = pc.binary_join_element_wise(quote, escaped, quote, pa.scalar("", pa.large_string()))
            array = quoted if forced else pc.if_else(need, quoted, array)
        columns.append(array)
    lines = pc.binary_join_element_wise(*columns, pa.scalar(between, pa.large_string()))
    parts += lines.to_pylist()
    text = dialect.line_end.join(parts) + (dialect.line_end if dialect.final_end else "")
    return text.encode(dialect.encoding)


def quoted_cell(text: str, dialect: Dialect, *, forced: bool) -> str:
    """Return a cell as it is written: in quotes where they are asked for, or needed."""
    if forced or any(mark in text for mark in ('"', "\r", "\n", dialect.delimiter)):
        return '"' + text.replace('"', '""') + '"'
    return text
