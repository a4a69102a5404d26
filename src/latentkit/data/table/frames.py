"""Tables of mixed kinds as Arrow columns, and Arrow columns as what the user had."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, final

import numpy as np
import torch

from latentkit.core.errors import DataError, SchemaMismatchError
from latentkit.data.containers import Name, check_names, eager, is_frame, to_array
from latentkit.data.dataset import AnyArray, Dataset
from latentkit.data.table.text import Dialect, TextTable
from latentkit.data.validation import from_source, show

__all__ = ["Columns", "TableContainer", "join_tables", "learn_table_container", "take_rows", "to_columns"]

Arrow: TypeAlias = Any


@final
@dataclass(frozen=True)
class Columns:
    """The columns of a table, whatever it came in.

    Attributes:
        names: Their names; numbers for an array.
        arrays: Arrow arrays, one for each column.
        n: Number of rows.
        source: Where they came from, for messages.
        text: The table of texts that it is, if it was read from a file of text.
    """

    names: tuple[Name, ...]
    arrays: tuple[Arrow, ...]
    n: int
    source: str = ""
    text: TextTable | None = None

    def place(self, row: int, name: Name) -> str:
        """Return where a cell stands, for messages: file, line or row, and column.

        Example:
            >>> Columns(("a", "b"), (), 0).place(3, "b")
            "row 3 (counted from 0), column 2 ('b')"
        """
        return f"{from_source(self.source)}{self.row(row)}, column {self.names.index(name) + 1} ({show(name)})"

    def row(self, row: int) -> str:
        """Return where a row stands: its line in a file of text, else its number."""
        return f"line {self.text.line(row)}" if self.text is not None else f"row {row} (counted from 0)"

    def ordered(self, names: Sequence[Name]) -> Columns:
        """Return the columns of these names, in this order.

        Raises:
            SchemaMismatchError: If columns are missing or not known.
        """
        if self.names == tuple(names):
            return self
        if all(isinstance(name, int) for name in self.names) and len(self.names) == len(names):
            arrays = self.arrays  # an array has no names: its columns are taken as they stand
        else:
            check_names(self.names, names, self.source)
            places = {name: place for place, name in enumerate(self.names)}
            arrays = tuple(self.arrays[places[name]] for name in names)
        return Columns(tuple(names), arrays, self.n, self.source, self.text)


def to_columns(data: Any, *, source: str = "") -> Columns:
    """Return a table as Arrow columns, without a copy where it has them.

    Args:
        data: Data frame, :class:`TextTable`, :class:`~latentkit.data.Dataset`, array or nested list of rows.
        source: Where the data came from, for messages.
    Raises:
        DataError: If it has no rows or columns, or a column of objects holds values of several types.
    """
    if isinstance(data, Dataset):
        source, data = data.source, data.data
    if isinstance(data, TextTable):
        columns = Columns(data.names, data.arrays, data.shape[0], source or data.source, data)
    elif is_frame(data):
        frame = eager(data)
        arrays = tuple(_arrow(frame.get_column(name), name, source) for name in frame.columns)
        columns = Columns(tuple(frame.columns), arrays, len(frame), source)
    else:
        columns = _from_array(data, source)
    if not columns.names or not columns.n:
        raise DataError(
            f"{from_source(source)}the table has {columns.n} rows and {len(columns.names)} columns; give one with data"
        )
    return columns


def take_rows(data: Any, rows: Sequence[int]) -> Any:
    """Return some rows of a table, array, tensor, list or series, by number, in the same container."""
    import narwhals as nw

    if isinstance(data, TextTable):
        return data.take(np.asarray(rows, np.int64))
    if isinstance(data, list):
        return [data[row] for row in rows]
    if type(data).__name__ == "Series":
        return nw.from_native(data, series_only=True)[list(rows)].to_native()
    return nw.from_native(data, eager_only=True)[list(rows)].to_native() if is_frame(data) else data[list(rows)]


def join_tables(parts: Sequence[Any]) -> Any:
    """Return tables or arrays of the same columns as one, their rows below each other."""
    import narwhals as nw
    import pyarrow as pa

    first = parts[0]
    if isinstance(first, TextTable):
        columns = zip(*(part.arrays for part in parts), strict=True)
        return replace(first, arrays=tuple(pa.concat_arrays(list(map(_whole, column))) for column in columns))
    if is_frame(first):
        return nw.concat([nw.from_native(part, eager_only=True) for part in parts]).to_native()
    return np.concatenate([to_array(part) for part in parts])


def _whole(array: Arrow) -> Arrow:
    return array.combine_chunks() if hasattr(array, "chunks") else array


def _from_array(data: Any, source: str) -> Columns:
    import pyarrow as pa

    array = data if isinstance(data, np.ndarray) else np.asarray(data, object) if isinstance(data, list) else None
    array = to_array(data) if array is None else array
    if array.ndim != 2:
        raise SchemaMismatchError(
            f"{from_source(source)}a table has rows and columns; this array has shape {array.shape}. Reshape your data"
        )
    arrays = []
    for index, column in enumerate(array.T):
        if array.dtype.kind in "OUS":
            values = [None if _is_missing(value) else value for value in column.tolist()]
            arrays.append(_inferred(values, index, source))
        else:
            arrays.append(pa.array(np.ascontiguousarray(column)))
    return Columns(tuple(range(array.shape[1])), tuple(arrays), len(array), source)


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in {"NAType", "NaTType"}
    )


def _arrow(series: Any, name: Name, source: str) -> Arrow:
    import narwhals as nw
    import pyarrow as pa

    try:
        if series.dtype == nw.Object:
            return _inferred([None if _is_missing(value) else value for value in series.to_list()], name, source)
        array = series.to_arrow()
    except pa.ArrowException as error:
        kind = getattr(series.to_native(), "dtype", series.dtype)
        raise DataError(
            f"{from_source(source)}column {show(name)} holds values of type {kind}, which cannot be read "
            f"({str(error).splitlines()[0]}). Turn it into numbers, texts or dates, or leave it out"
        ) from error
    return array.cast(pa.large_string()) if array.type == pa.string_view() else array


def _inferred(values: list[Any], name: Name, source: str) -> Arrow:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        known = [(row, value) for row, value in enumerate(values) if value is not None]
        first = type(known[0][1])
        row, value = next((row, value) for row, value in known if not isinstance(value, first))
        raise DataError(
            f"{from_source(source)}column {show(name)} holds values of several types: row {known[0][0]} (counted from "
            f"0) is {show(known[0][1])}, row {row} is {show(value)}. Make them one type first, as in "
            f"frame[{name!r}].astype(str)"
        ) from None


@final
@dataclass(frozen=True)
class TableContainer:
    """What a table came in.

    Attributes:
        library: ``"pandas"``, ``"polars"``, ``"pyarrow"`` or another that narwhals knows, ``"numpy"``, or ``"text"``.
        names: Names of the columns.
        dtypes: The library's own word for the type of each column, where its Arrow type does not say it all.
        levels: For columns of an enumerated type: their levels and whether these are ordered.
        dialect: How a file of text was written.
    """

    library: str
    names: tuple[Name, ...]
    dtypes: tuple[str, ...] = ()
    levels: dict[int, tuple[list[Any], bool]] = field(default_factory=dict)
    dialect: Dialect | None = None

    def rebuild(self, arrays: Sequence[Arrow]) -> Any:
        """Return Arrow arrays, one for each column, in this container."""
        import narwhals as nw
        import pyarrow as pa

        if self.dialect is not None:
            return TextTable(tuple(map(str, self.names)), tuple(arrays), self.dialect)
        if self.library == "numpy":
            return self._array(arrays)
        if self.library == "pandas":
            return self._pandas(arrays)
        table = pa.table(list(arrays), names=list(map(str, self.names)))
        if self.library == "pyarrow":
            return table
        try:
            frame = nw.from_arrow(table, backend=self.library)  # type: ignore[arg-type]
        except ImportError as error:
            raise self._absent() from error
        casts = {}
        for index, (levels, is_enum) in self.levels.items():
            casts[str(self.names[index])] = nw.Enum(levels) if is_enum else nw.Categorical()
        columns = [nw.col(name).cast(dtype) for name, dtype in casts.items()]
        return (frame.with_columns(*columns) if columns else frame).to_native()

    def _absent(self) -> DataError:
        return DataError(
            f"the model was fitted on a {self.library} data frame, and gives one back, but {self.library} is not "
            f"installed here. Install it: pip install {self.library}"
        )

    def _array(self, arrays: Sequence[Arrow]) -> AnyArray:
        dtype = np.dtype(self.dtypes[0])
        if dtype.kind in "iub" and any(column.null_count for column in arrays):
            dtype = np.dtype(np.float64)  # integers cannot be missing
        array = np.empty((len(arrays[0]), len(arrays)), dtype)
        for index, column in enumerate(arrays):
            if dtype.kind == "O":
                array[:, index] = column.to_pylist()
            else:
                array[:, index] = column.to_numpy(zero_copy_only=False)
        return array

    def _pandas(self, arrays: Sequence[Arrow]) -> Any:
        try:
            import pandas as pd
        except ImportError as error:
            raise self._absent() from error
        columns = {}
        for index, (column, dtype) in enumerate(zip(arrays, self.dtypes, strict=True)):
            series = column.to_pandas()
            if index in self.levels:
                levels, is_ordered = self.levels[index]
                columns[index] = series.astype(pd.CategoricalDtype(levels, ordered=is_ordered))
            elif column.null_count and re.fullmatch(r"u?int\d+|bool|interval.*", dtype):
                columns[index] = series  # numpy's integers and truth values cannot be missing
            else:
                columns[index] = series.astype(dtype)
        frame = pd.DataFrame(columns)
        frame.columns = pd.Index(self.names)
        return frame

    def describe(self) -> dict[str, Any]:
        """Return the container as JSON values."""
        return {
            "library": self.library,
            "names": list(self.names),
            "dtypes": list(self.dtypes),
            "levels": [[index, levels, flag] for index, (levels, flag) in self.levels.items()],
            "dialect": None if self.dialect is None else self.dialect.describe(),
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> TableContainer:
        """Return the container that :meth:`describe` described."""
        dialect = description["dialect"]
        return cls(
            description["library"],
            tuple(description["names"]),
            tuple(description["dtypes"]),
            {int(index): (list(levels), bool(flag)) for index, levels, flag in description["levels"]},
            None if dialect is None else Dialect(**dialect),
        )


def learn_table_container(data: Any) -> TableContainer:
    """Return what a table came in."""
    data = data.data if isinstance(data, Dataset) else data
    if isinstance(data, TextTable):
        return TableContainer("text", data.names, dialect=data.dialect)
    if not is_frame(data):
        array = data if isinstance(data, np.ndarray) else to_array(data) if isinstance(data, torch.Tensor) else None
        dtype = "object" if array is None or array.dtype.kind in "OUS" else str(array.dtype)
        width = array.shape[1] if array is not None else len(data[0])
        return TableContainer("numpy", tuple(range(width)), (dtype,))
    frame = eager(data)
    library = str(frame.implementation.value)
    if library == "pandas":
        dtypes = tuple(str(dtype) for dtype in data.dtypes)
        levels = {
            index: (
                [_plain(level) for level in data.iloc[:, index].cat.categories],
                bool(data.iloc[:, index].cat.ordered),
            )
            for index, dtype in enumerate(dtypes)
            if dtype == "category"
        }
        return TableContainer(library, tuple(frame.columns), dtypes, levels)
    return TableContainer(library, tuple(frame.columns), (), _enumerated(frame))


def _plain(level: Any) -> Any:
    return level.item() if isinstance(level, np.generic) else level


def _enumerated(frame: Any) -> dict[int, tuple[list[Any], bool]]:
    import narwhals as nw

    levels: dict[int, tuple[list[Any], bool]] = {}
    for index, dtype in enumerate(frame.schema.dtypes()):
        if isinstance(dtype, nw.Enum):
            levels[index] = (list(dtype.categories), True)
        elif dtype == nw.Categorical and frame.implementation.value != "pyarrow":
            levels[index] = ([], False)
    return levels
