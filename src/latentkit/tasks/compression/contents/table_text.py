"""Tables as lines of text from which each value comes back, to the bit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, final

import numpy as np

from latentkit.core.errors import DamagedArchiveError

__all__ = ["TableText"]

Arrow: TypeAlias = Any

_ESCAPES: Final = {b"\\": b"\\", b"\t": b"t", b"\n": b"n", b"\r": b"r"}
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANT: Final = {letter: byte for byte, letter in _ESCAPES.items()} | {b"e": b""}
_EMPTY: Final = b"\\e"
#: Bits of an exponent, and of the usual NaN, of floating-point numbers of so many bytes.
_EXPONENTS: Final = {2: 0x7C00, 4: 0x7F80_0000, 8: 0x7FF0_0000_0000_0000}
_NANS: Final = {2: 0x7E00, 4: 0x7FC0_0000, 8: 0x7FF8_0000_0000_0000}
#: Decimals of a second.
_DECIMALS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}


@final
class TableText:
    r"""Rows of a table as lines: a cell for each column, a tab between two, a line feed behind the last.

    Nothing stands for null. Numbers are the shortest that become the same number again; NaN of other bits than the
    usual ones are followed by their bits, in hexadecimal. Dates are days, times seconds, with as many decimals as they
    take. Texts and bytes are as they are, but for ``\\``, ``\t``, ``\n`` and ``\r``, and ``\e``, which is empty. Of a
    column of categories each cell is what its category is.

    Args:
        schema: Names and types of the columns, and what else is told of them.
        categories: Of columns whose values are numbers of categories, by the number of the column.
    """

    def __init__(self, schema: Arrow, categories: Mapping[int, Arrow]) -> None:
        self.schema, self._categories = schema, dict(categories)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TableText) or not self.schema.equals(other.schema, check_metadata=True):
            return False
        mine, theirs = self._categories, other._categories
        return mine.keys() == theirs.keys() and all(_is_same(mine[number], theirs[number]) for number in mine)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(cls, schema: Arrow, batches: Iterable[Arrow]) -> TableText | None:
        """Return how a table is written; None if it has columns that cannot be, such as lists.

        Args:
            schema: Of the table.
            batches: Of its columns of categories.
        """
        import pyarrow as pa

        if not len(schema) or not all(_is_written(field.type) for field in schema):
            return None
        places = [number for number, field in enumerate(schema) if _has_categories(field)]
        known = {number: pa.array([], schema.field(number).type.value_type) for number in places}
        for batch in batches if places else ():
            for number, column in zip(places, batch.columns, strict=True):
                if not column.dictionary.equals(known[number]):
                    # in the order in which they come first
                    known[number] = pa.chunked_array([known[number], column.dictionary]).unique()
        return cls(schema, known)

    @classmethod
    def from_bytes(cls, content: bytes) -> TableText:
        """Return what became these bytes.

        Raises:
            DamagedArchiveError: If nothing did.
        """
        import pyarrow as pa

        try:
            with pa.ipc.open_stream(content) as stream:
                (batch,) = stream
            batch.validate(full=True)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise DamagedArchiveError("what its columns are cannot be read.") from error
        if not all(_is_written(field.type) for field in batch.schema):
            raise DamagedArchiveError("its table has columns that cannot be.")
        columns = enumerate(batch.columns)
        return cls(batch.schema, {number: column.dictionary for number, column in columns if _has_categories(column)})

    def to_bytes(self) -> bytes:
        """Return schema and categories: a stream of Arrow's, with a batch of no rows."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.schema) as stream:
            stream.write_batch(self._of_columns([self._column(pa.array([], pa.binary()), n) for n in self._numbers]))
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def text(self, batch: Arrow) -> bytes | None:
        """Return the lines of some rows; None if they would not give these rows back, to the bit."""
        import pyarrow as pa
        from pyarrow import compute

        try:
            cells = [_cells(column) for column in batch.columns]
            rows = compute.binary_join_element_wise(*cells, b"\t") if len(cells) > 1 else cells[0]
            text = b"".join(row + b"\n" for row in rows.to_pylist())
            again = self.batch(text)
        except (pa.ArrowException, DamagedArchiveError):
            return None
        is_same = all(_is_same(*pair) for pair in zip(batch.columns, again.columns, strict=True))
        return text if is_same else None

    def batch(self, text: bytes) -> Arrow:
        """Return the rows that lines are.

        Raises:
            DamagedArchiveError: If they are of another table.
        """
        import pyarrow as pa

        rows = [line.split(b"\t") for line in text.split(b"\n")]
        if rows.pop() != [b""] or any(len(row) != len(self.schema) for row in rows):
            raise DamagedArchiveError("a line of its table has not as many cells as there are columns.")
        columns = list(zip(*rows, strict=True)) or [()] * len(self.schema)
        try:
            made = [self._column(pa.array(cells, pa.binary()), n) for n, cells in enumerate(columns)]
            return self._of_columns(made)
        except DamagedArchiveError:
            raise
        except (pa.ArrowException, KeyError, ValueError, OverflowError) as error:
            raise DamagedArchiveError("a cell of its table is not of its column.") from error

    @property
    def _numbers(self) -> range:
        return range(len(self.schema))

    def _of_columns(self, columns: list[Arrow]) -> Arrow:
        import pyarrow as pa

        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _column(self, cells: Arrow, number: int) -> Arrow:
        """The column of cells, which are bytes."""
        import pyarrow as pa
        from pyarrow import compute

        kind = self.schema.field(number).type
        present = compute.if_else(compute.equal(cells, b""), pa.scalar(None, pa.binary()), cells)
        if not pa.types.is_dictionary(kind):
            return _values(present, kind)
        categories = self._categories[number]
        values = _values(present, categories.type)
        found = compute.index_in(values, value_set=categories)
        if found.null_count != values.null_count:
            raise DamagedArchiveError("a cell of its table is in no category.")
        return pa.DictionaryArray.from_arrays(found.cast(kind.index_type), categories, ordered=kind.ordered)


def _is_written(kind: Arrow) -> bool:
    """Whether values of a type can be written."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_written(kind.value_type) and not types.is_dictionary(kind.value_type)
    known = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, _is_moment)
    return any(is_one(kind) for is_one in known) or _is_bytes(kind)


def _has_categories(column: Arrow) -> bool:
    from pyarrow import types

    return bool(types.is_dictionary(column.type))


def _is_moment(kind: Arrow) -> bool:
    from pyarrow import types

    known = (types.is_date, types.is_time, types.is_timestamp, types.is_duration)
    return any(is_one(kind) for is_one in known)


def _is_bytes(kind: Arrow) -> bool:
    from pyarrow import types

    known = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return any(is_one(kind) for is_one in known)


def _cells(column: Arrow) -> Arrow:
    """What stands for the values of a column, bytes."""
    import pyarrow as pa
    from pyarrow import compute, types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if types.is_null(kind):
        return pa.array([b""] * len(column), pa.binary())
    if _is_bytes(kind):
        cells = _as_bytes(column)
        for byte, letter in _ESCAPES.items():
            cells = compute.replace_substring(cells, byte, b"\\" + letter)
        return compute.if_else(compute.equal(cells, b""), _EMPTY, cells).fill_null(b"")
    if types.is_floating(kind):
        return _float_cells(column)
    if _is_moment(kind):
        column = _seconds(column)
    cells = column.cast(pa.string())
    if _is_moment(kind) and column.type.scale:
        cells = compute.utf8_rtrim(compute.utf8_rtrim(cells, "0"), ".")
    return cells.cast(pa.binary()).fill_null(b"")


def _values(cells: Arrow, kind: Arrow) -> Arrow:
    """The column whose values cells stand for; null stands for null."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_null(kind):
        if cells.null_count != len(cells):
            raise DamagedArchiveError("a column of its table has values that there are none of.")
        return pa.nulls(len(cells))
    if _is_bytes(kind):
        meant = [
            None if cell is None else _ESCAPED.sub(lambda found: _MEANT[found[1]], cell) for cell in cells.to_pylist()
        ]
        return pa.array(meant, pa.binary()).cast(kind) if not types.is_large_string(kind) else _large(meant)
    if types.is_floating(kind):
        return _floats(cells, kind)
    texts = cells.cast(pa.string())
    if not _is_moment(kind):
        return texts.cast(kind)
    whole = pa.decimal128(28, 0)
    scaled = texts.cast(pa.decimal128(28, _scale(kind)))
    numbers = pa.Array.from_buffers(whole, len(scaled), scaled.buffers(), offset=scaled.offset)
    return numbers.cast(_integers(kind)).view(kind)


def _as_bytes(column: Arrow) -> Arrow:
    import pyarrow as pa

    if pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return column.cast(pa.binary())


def _large(values: list[bytes | None]) -> Arrow:
    import pyarrow as pa

    return pa.array(values, pa.large_binary()).cast(pa.large_string())


def _scale(kind: Arrow) -> int:
    """How many decimals of a second, or of a day, a moment has."""
    import pyarrow as pa

    return 0 if pa.types.is_date(kind) else _DECIMALS[kind.unit]


def _integers(kind: Arrow) -> Arrow:
    """The whole numbers that are as wide as those of a type."""
    import pyarrow as pa

    return {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width]


def _seconds(column: Arrow) -> Arrow:
    """Moments as decimal numbers, of days or of seconds."""
    import pyarrow as pa

    whole = column.view(_integers(column.type)).cast(pa.decimal128(28, 0))
    kind = pa.decimal128(28, _scale(column.type))
    return pa.Array.from_buffers(kind, len(whole), whole.buffers(), offset=whole.offset)


def _bits(column: Arrow) -> np.ndarray[Any, np.dtype[Any]]:
    """The bits of floating-point numbers, unsigned; 0 for null."""
    n_bytes = column.type.bit_width // 8
    numbers = column.view(_integers(column.type)).fill_null(0).to_numpy(zero_copy_only=False)
    return np.array(numbers).view(f"u{n_bytes}")


def _float_cells(column: Arrow) -> Arrow:
    import pyarrow as pa

    n_bytes = column.type.bit_width // 8
    plain = column.cast(pa.float32()) if n_bytes == 2 else column
    cells = plain.cast(pa.string()).cast(pa.binary()).fill_null(b"")
    bits = _bits(column)
    exponent = _EXPONENTS[n_bytes]
    is_nan = (bits & (1 << 8 * n_bytes - 1) - 1) > exponent
    is_other = is_nan & (bits != _NANS[n_bytes])
    if not is_other.any():
        return cells
    told = cells.to_pylist()
    for place in np.flatnonzero(is_other).tolist():
        told[place] = b"nan%x" % int(bits[place])
    return pa.array(told, pa.binary())


def _floats(cells: Arrow, kind: Arrow) -> Arrow:
    import pyarrow as pa
    from pyarrow import compute

    n_bytes = kind.bit_width // 8
    is_told = compute.and_(compute.starts_with(cells, b"nan"), compute.greater(compute.binary_length(cells), 3))
    places = np.flatnonzero(is_told.fill_null(False).to_numpy(zero_copy_only=False))
    numbers = compute.if_else(is_told.fill_null(False), b"nan", cells).cast(pa.string())
    values = numbers.cast(pa.float32()).cast(kind) if n_bytes == 2 else numbers.cast(kind)
    if not len(places):
        return values
    bits = _bits(values)
    for place in places.tolist():
        bits[place] = int(cells[place].as_py()[3:], 16)
    found = pa.array(bits.view(f"i{n_bytes}"), _integers(kind), mask=values.is_null().to_numpy(zero_copy_only=False))
    return found.view(kind)


def _is_same(a: Arrow, b: Arrow) -> bool:
    """Whether columns have the same values, to the bit; of categories, the values that they are."""
    from pyarrow import types

    if a.type != b.type:
        return False
    if types.is_dictionary(a.type):
        a, b = a.dictionary_decode(), b.dictionary_decode()
    if types.is_floating(a.type):
        a, b = a.view(_integers(a.type)), b.view(_integers(b.type))
    return bool(a.equals(b))
