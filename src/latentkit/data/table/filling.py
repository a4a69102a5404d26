"""Writing a file of text again with some of its cells filled, and every other byte as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentkit.core.errors import SchemaMismatchError
from latentkit.core.files import write_bytes
from latentkit.data.table.text import TextTable, quoted_cell, read_text_table, scan, unpacked

__all__ = ["write_filled"]


def write_filled(original: str | Path, filled: TextTable, path: str | Path) -> int:
    """Write a file of text anew where a table differs from it, and byte for byte as it is everywhere else.

    Args:
        original: File that the table was read from, also packed; it may be `path` itself.
        filled: The same table with cells filled in, such as :meth:`~latentkit.data.TableSchema.fill` makes it.
        path: Where to; the file is written unpacked, whole or not at all.
    Returns:
        Number of cells that were written anew.
    Raises:
        SchemaMismatchError: If the table has other rows or columns than the file.
        StorageError: If the place cannot be written; what was there is intact.
    """
    source = Path(original).expanduser()
    content = unpacked(source)
    table = read_text_table(content, str(source), filled.dialect.delimiter, [])
    if table.shape[0] != filled.shape[0] or not set(table.names) >= set(filled.names):
        raise SchemaMismatchError(
            f"{source}: the file has {table.shape[0]} rows and {table.shape[1]} columns, the table to be "
            f"written into it has {filled.shape[0]} and {filled.shape[1]}. Give the file that the table was read from"
        )
    changes = _changes(table, filled)
    encoding = {"utf-8-sig": "utf-8", "utf-16": "utf-16-be" if content[:1] == b"\xfe" else "utf-16-le"}.get(
        table.dialect.encoding, table.dialect.encoding
    )
    text = content.decode(encoding)
    pieces, done = [], 0
    for row, cells in enumerate(scan(text, table.dialect.delimiter), start=-int(table.dialect.has_header)):
        for column, new in changes.get(row, ()):
            old, start = cells[column]
            blanks = len(old) - len(old.lstrip(" "))
            pieces += [
                text[done : start + blanks],
                quoted_cell(new, table.dialect, forced=old.lstrip(" ").startswith('"')),
            ]
            done = start + len(old)
    pieces.append(text[done:])
    write_bytes(path, "".join(pieces).encode(encoding))
    return sum(map(len, changes.values()))


def _changes(table: TextTable, filled: TextTable) -> dict[int, list[tuple[int, str]]]:
    """Return the cells in which two tables differ: for each row the places of its columns, ascending, and the texts."""
    import pyarrow as pa
    from pyarrow import compute as pc

    changes: dict[int, list[tuple[int, str]]] = {}
    for column, name in enumerate(table.names):
        if name not in filled.names:
            continue
        new = pc.fill_null(filled.arrays[filled.names.index(name)].cast(pa.large_string()), "")
        old = table.arrays[column].cast(pa.large_string())
        rows = np.flatnonzero(np.asarray(pc.not_equal(new, old), np.bool_))
        for row, text in zip(rows.tolist(), new.take(pa.array(rows)).to_pylist(), strict=True):
            changes.setdefault(row, []).append((column, text))
    return changes
