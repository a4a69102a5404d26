"""Tables of mixed kinds from files: text keeps its cells as they are written, Parquet and JSON lines their types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latentkit.core.errors import UnreadableDataError
from latentkit.data.dataset import AnyArray, Dataset
from latentkit.data.endings import TABLE_ENDINGS, ending_of
from latentkit.data.table.selection import Selection
from latentkit.data.table.text import read_text_table
from latentkit.data.tables import check_label_column, load_table

__all__ = ["read_mixed_table", "read_table_data"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_mixed_table(
    source: Path | bytes, name: str, ending: str, *, labels: str | None = None, selection: Selection | None = None
) -> tuple[Any, AnyArray | None, list[str]]:
    """Read a table of mixed kinds.

    Args:
        source: File (also packed) or its content.
        name: For messages.
        ending: ``".csv"``, ``".tsv"``, ``".parquet"`` or ``".jsonl"``.
        labels: Column with the labels; it is left out of the data.
        selection: Rows and columns that are taken; None for all.
    Returns:
        A :class:`~latentkit.data.table.text.TextTable` or an Arrow table, the labels (None where no column was named)
        and notes.
    Raises:
        UnreadableDataError: If the file is damaged, empty or of another format.
        InvalidParameterError: If there is no column of the labels' name.
    """
    if ending not in _DELIMITERS:
        return load_table(source, name, ending, labels=labels, selection=selection)
    notes: list[str] = []
    table = read_text_table(source, name, _DELIMITERS[ending], notes)
    if labels is not None:
        check_label_column(labels, table.columns, name, notes)
    if selection is not None:
        table = selection.apply(table, name, notes, labels=labels)
    if labels is None:
        return table, None, notes
    return table.without(labels), np.asarray(table[labels]), notes


def read_table_data(data: Any) -> Any:
    """Return what the path of a table holds, and anything else as it is.

    Raises:
        UnreadableDataError: If there is no such file, or it is no table.
    """
    if not isinstance(data, str | Path):
        return data
    path = Path(data).expanduser()
    ending = ending_of(path)
    if not path.is_file():
        raise UnreadableDataError(f"{path}: there is no such file. Give the path of a table, or a data frame")
    if ending not in TABLE_ENDINGS:
        raise UnreadableDataError(
            f"{path}: the model takes tables, and this is none by its ending; give one of: {', '.join(TABLE_ENDINGS)}"
        )
    return Dataset(read_mixed_table(path, str(path), ending)[0], str(path), "table")
