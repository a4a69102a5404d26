"""Reading tables of numbers: .csv, .tsv, .parquet and .jsonl, through pyarrow."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError, UnreadableDataError
from latentkit.core.parameters import suggestion
from latentkit.data.containers import to_array
from latentkit.data.validation import show

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Select", "check_label_column", "encode_labels", "finish_table", "is_plain", "load_table", "read_table"]


class Select(Protocol):
    """What takes some rows and columns of a table."""

    def apply(self, table: Any, source: str, notes: list[str], *, labels: str | None = None) -> Any:
        """Return them; see :class:`~latentkit.data.Selection`."""
        ...


_INDEX_COLUMN = re.compile(r"__index_level_\d+__")


def read_table(
    source: Path | bytes, name: str, ending: str, *, labels: str | None = None, selection: Select | None = None
) -> tuple[pa.Table, NDArray[Any] | None, list[str]]:
    """Read a table of numbers: as :func:`load_table`, and refuse text.

    Raises:
        UnreadableDataError: If the file is damaged, empty or of another format.
        DataError: If a column holds text; column, row and value are named.
        InvalidParameterError: If there is no column of the labels' name.
    """
    table, values, notes = load_table(source, name, ending, labels=labels, selection=selection)
    to_array(table.slice(0, 0) if _all_numbers(table) else table, source=name)
    return table, values, notes


def load_table(
    source: Path | bytes, name: str, ending: str, *, labels: str | None = None, selection: Select | None = None
) -> tuple[pa.Table, NDArray[Any] | None, list[str]]:
    """Read a table with the types that its file has, or that pyarrow recognises.

    Args:
        source: File (also packed: ``.csv.gz``) or its content.
        name: For messages.
        ending: ``".csv"``, ``".tsv"``, ``".parquet"`` or ``".jsonl"``.
        labels: Column with the labels; it is left out of the data.
        selection: Rows and columns that are taken; None for all.
    Returns:
        The table, the labels (None where no column was named) and notes.
    Raises:
        UnreadableDataError: If the file is damaged, empty or of another format.
        InvalidParameterError: If there is no column of the labels' name.
    """
    import pyarrow as pa

    notes: list[str] = []
    try:
        table = _READERS[ending](source, notes)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if ending == ".jsonl":
            _explain_lines(source, name)
        raise UnreadableDataError(
            f"{name}: the {ending} file cannot be read ({text}). Check its format, or read it with "
            "pandas and give the frame"
        ) from error
    if table.num_rows == 0:
        raise UnreadableDataError(f"{name}: the table has no rows. Give a file with data")
    table, values = finish_table(table, name, notes, labels=labels, selection=selection)
    return table, values, notes


def finish_table(
    table: pa.Table, name: str, notes: list[str], *, labels: str | None = None, selection: Select | None = None
) -> tuple[pa.Table, NDArray[Any] | None]:
    """Return a table without what is no data in it, and the labels: what is done to every table that was read.

    Args:
        table: As the file holds it, or some rows of it.
        name: For messages.
        notes: Gets what was left out.
        labels: Column with the labels; it is left out of the data.
        selection: Rows and columns that are taken; None for all.
    """
    index = [column for column in table.column_names if _INDEX_COLUMN.fullmatch(column)]
    if index:
        table = table.drop_columns(index)
        notes.append("the index that pandas had stored was left out")
    if labels is not None:
        check_label_column(labels, table.column_names, name, notes)
    if selection is not None:
        table = selection.apply(table, name, notes, labels=labels)
    values: NDArray[Any] | None = None
    if labels is not None:
        values = np.asarray(table.column(labels).to_pylist())
        table = table.drop_columns([labels])
    return table, values


def check_label_column(labels: str, columns: Sequence[str], name: str, notes: list[str]) -> None:
    """Refuse the name of a column of labels that the table `name` does not have, and note one that it has.

    Raises:
        InvalidParameterError: If there is no column of this name.
    """
    if labels not in columns:
        raise InvalidParameterError(
            f"{name}: there is no column {labels!r} for the labels; choose one of: "
            f"{', '.join(columns[:20])}.{suggestion(labels, columns)}"
        )
    notes.append(f"column {labels!r} holds the labels and is left out of the data")


def is_plain(table: pa.Table) -> bool:
    """Whether a table holds numbers alone, and none is missing."""
    return _all_numbers(table) and not any(column.null_count for column in table.columns)


def _all_numbers(table: pa.Table) -> bool:
    from pyarrow import types

    return table.num_columns > 0 and all(
        types.is_integer(t) or types.is_floating(t) or types.is_boolean(t) for t in table.schema.types
    )


def encode_labels(values: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Return labels as codes and, where they were not integers already, the name of each code in sorted order."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64), None
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all():
        return values.astype(np.int64), None
    names, codes = np.unique(values.astype(str), return_inverse=True)
    return codes.astype(np.int64), tuple(map(str, names))


def _stream(source: Path | bytes) -> Any:
    import pyarrow as pa

    if isinstance(source, bytes):
        return pa.BufferReader(source)
    return pa.input_stream(str(source), compression="detect")


def _first_line(source: Path | bytes) -> str:
    with _stream(source) as stream:
        head = stream.read(1 << 16)
    return (
        cast(bytes, head).decode("utf-8-sig", errors="replace").lstrip("\r\n").splitlines()[0] if head.strip() else ""
    )


def _read_delimited(source: Path | bytes, notes: list[str], delimiter: str) -> pa.Table:
    from pyarrow import csv as arrow_csv

    line = _first_line(source)
    if not line:
        raise ValueError("it is empty")
    if delimiter not in line:
        other = next((mark for mark in (";", "\t", ",", "|") if mark in line), delimiter)
        if other != delimiter:
            notes.append(f"columns are separated by {other!r}")
            delimiter = other
    cells = next(csv.reader(io.StringIO(line), delimiter=delimiter))
    has_header = not any(_is_number(cell) for cell in cells)
    if not has_header:
        notes.append("there is no header line (the first line has numbers): columns are named column_0, column_1, ...")
    repeated = [cell for cell in cells if cells.count(cell) > 1]
    if has_header and repeated:
        raise ValueError(f"several columns are named {repeated[0]!r}; rename them")
    names = None if has_header else [f"column_{index}" for index in range(len(cells))]
    with _stream(source) as stream:
        return arrow_csv.read_csv(
            stream,
            read_options=arrow_csv.ReadOptions(column_names=names),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
            convert_options=arrow_csv.ConvertOptions(strings_can_be_null=True),
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_parquet(source: Path | bytes, notes: list[str]) -> pa.Table:
    from pyarrow import BufferReader, parquet

    return parquet.read_table(BufferReader(source) if isinstance(source, bytes) else source)


def _read_jsonl(source: Path | bytes, notes: list[str]) -> pa.Table:
    from pyarrow import json as arrow_json

    with _stream(source) as stream:
        return arrow_json.read_json(stream)


def _explain_lines(source: Path | bytes, name: str) -> None:
    """Raise an error that names the first line that is no JSON object, or whose values are of another type."""
    first: dict[str, tuple[int, Any]] = {}
    with _stream(source) as stream:
        lines = cast(bytes, stream.read()).decode("utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line.strip() else {}
        except json.JSONDecodeError as error:
            raise UnreadableDataError(
                f"{name}, line {number}: it is no JSON ({error.msg}, character {error.colno}). Write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise UnreadableDataError(
                f"{name}, line {number}: {show(row)} is no object with the columns of a row. Write one object a line"
            )
        for column, value in row.items():
            before, other = first.setdefault(column, (number, value)) if value is not None else (number, value)
            if _json_type(value) is not _json_type(other):
                raise UnreadableDataError(
                    f"{name}, line {number}, column {show(column)}: {show(value)} is of another type than "
                    f"{show(other)} in line {before}. Write all values of a column as one type, or null"
                )


def _json_type(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


_READERS = {
    ".csv": lambda source, notes: _read_delimited(source, notes, ","),
    ".tsv": lambda source, notes: _read_delimited(source, notes, "\t"),
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
}
