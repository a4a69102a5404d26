"""Cells of a table of mixed kinds, as a page writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentkit.data.table.frames import to_columns
from latentkit.report.language import say
from latentkit.report.subject import Subject
from latentkit.report.wording import number

__all__ = ["text_of", "texts_of"]

#: Characters of a cell that are shown.
LONGEST = 40


def texts_of(subject: Subject, data: Any) -> list[Sequence[str]]:
    """The cells of a table as texts, column by column."""
    table = to_columns(data).ordered(subject.schema.feature_names)
    return [
        [
            text_of(None if is_missing else cell)
            for cell, is_missing in zip(cells.to_pylist(), column.read(cells)[1], strict=True)
        ]
        for column, cells in zip(subject.schema.columns, table.arrays, strict=True)
    ]


def text_of(cell: object) -> str:
    """One cell; None is missing."""
    if cell is None:
        return say("missing")
    text = number(cell, 6) if isinstance(cell, float) else str(cell)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
