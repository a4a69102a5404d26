"""Tables of mixed kinds: numbers, categories, dates and what is missing, as codes that a model sees."""

from latentkit.data.table.codings import Allowed
from latentkit.data.table.columns import Column
from latentkit.data.table.constraints import Combinations, Inequality, Range, Sum, parse_constraint
from latentkit.data.table.filling import write_filled
from latentkit.data.table.recognition import ColumnKind, learn_table_schema
from latentkit.data.table.schema import Combined, TableNumbers, TableSchema, Unseen
from latentkit.data.table.selection import Selection
from latentkit.data.table.sources import read_mixed_table
from latentkit.data.table.text import TextTable, render
from latentkit.data.table.typed import typed_table

__all__ = [
    "Allowed",
    "Column",
    "Combinations",
    "Inequality",
    "Range",
    "Selection",
    "Sum",
    "parse_constraint",
    "ColumnKind",
    "Combined",
    "TableNumbers",
    "TableSchema",
    "TextTable",
    "Unseen",
    "learn_table_schema",
    "read_mixed_table",
    "render",
    "typed_table",
    "write_filled",
]
