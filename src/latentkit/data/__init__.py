"""Readers, schemas and writers: how the user's data become tensors and come back."""

from latentkit.data.dataset import Dataset
from latentkit.data.pictures import image_grid
from latentkit.data.pieces import ParquetPieces, Pieces, WholePieces
from latentkit.data.recognition import learn_schema
from latentkit.data.schema import ArraySchema, schema_from_description
from latentkit.data.sources import read
from latentkit.data.table import (
    Combinations,
    Inequality,
    Range,
    Selection,
    Sum,
    TableSchema,
    TextTable,
    learn_table_schema,
    write_filled,
)
from latentkit.data.text import TextSchema, learn_text_schema
from latentkit.data.writing import write

__all__ = [
    "ArraySchema",
    "Combinations",
    "Dataset",
    "Inequality",
    "ParquetPieces",
    "Pieces",
    "Range",
    "Selection",
    "Sum",
    "TableSchema",
    "TextSchema",
    "TextTable",
    "WholePieces",
    "image_grid",
    "learn_schema",
    "learn_table_schema",
    "learn_text_schema",
    "read",
    "schema_from_description",
    "write",
    "write_filled",
]
