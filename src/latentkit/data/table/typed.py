"""Tables of text with types: numbers, dates and truth values for formats that know them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from latentkit.data.table.cells import DAY, TextNumberCells, TextTimeCells, is_text
from latentkit.data.table.columns import Column, nulls
from latentkit.data.table.schema import TableSchema
from latentkit.data.table.text import TextTable

__all__ = ["typed_table"]

Arrow: TypeAlias = Any

#: Integers as they are written without leading zeros; those of more digits may not fit 64 bits.
_INTEGER = r"^(0|-?[1-9]\d{0,17})$"


def typed_table(table: TextTable, schema: TableSchema) -> Arrow:
    """Return a table of text as an Arrow table with the types that its columns were recognised as.

    Args:
        table: Table with the columns of the schema.
        schema: Its schema.
    Returns:
        Numbers as integers or doubles, dates and times as such, everything else as text; null where a cell is missing.

    Example:
        >>> import pyarrow as pa
        >>> from latentkit.data import learn_table_schema
        >>> table = TextTable(("age", "day"), (pa.array(["31", "?"] * 9), pa.array(["1.2.2020", "2.3.2021"] * 9)))
        >>> typed_table(table, learn_table_schema(table)).slice(0, 2).to_pylist()
        [{'age': 31, 'day': datetime.date(2020, 2, 1)}, {'age': None, 'day': datetime.date(2021, 3, 2)}]
    """
    import pyarrow as pa

    known = {str(column.name): column for column in schema.columns}
    pairs = zip(table.names, table.arrays, strict=True)
    arrays = [_typed(array, known[name]) if name in known else array for name, array in pairs]
    return pa.table(arrays, names=list(table.names))


def _typed(array: Arrow, column: Column) -> Arrow:
    import pyarrow as pa
    from pyarrow import compute as pc

    if not is_text(array.type):
        return array
    missing = nulls(array, column.missing.markers)
    if isinstance(column.cells, TextNumberCells):
        values = np.where(missing, np.nan, column.cells.read(array))
        numbers = pa.array(values, mask=np.isnan(values))
        return numbers.cast(pa.int64()) if column.cells.most == 0 else numbers
    if isinstance(column.cells, TextTimeCells):
        return _times(np.where(missing, np.nan, column.cells.read(array)), column.cells.template)
    texts = pc.if_else(pa.array(missing), pa.scalar(None, array.type), array)
    is_whole = pc.all(pc.match_substring_regex(texts, _INTEGER)).as_py()
    return texts.cast(pa.int64()) if is_whole and not missing.all() else texts


def _times(seconds: Any, template: str) -> Arrow:
    import pyarrow as pa

    missing = np.isnan(seconds)
    whole = np.where(missing, 0, seconds).astype(np.int64)
    if "{H}" not in template:
        return pa.array((whole // DAY).astype(np.int32), mask=missing).cast(pa.date32())
    if "{Y}" not in template:
        return pa.array(whole.astype(np.int32), mask=missing).cast(pa.time32("s"))
    return pa.array(whole, mask=missing).cast(pa.timestamp("s"))
