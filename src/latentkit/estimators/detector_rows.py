"""Rows as a detector takes them: numbers that can be compared, and what the model inside is shown."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.data import ArraySchema, TableSchema, TextSchema
from latentkit.data.table.cells import LabelCells
from latentkit.data.table.sources import read_table_data
from latentkit.evaluation import MixedTable
from latentkit.tasks.detection import RowScale

__all__ = ["DetectorRows"]

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True, eq=False)
class DetectorRows:
    """How the user's rows become numbers.

    Attributes:
        schema: What the rows are.
        scale: Of the features of tables; None where a model's own units are compared.
        is_coded: Whether the model inside is shown the codes of a table.
    """

    schema: ArraySchema | TableSchema | TextSchema
    scale: RowScale | None
    is_coded: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what an explanation is about: columns, or pixels and tokens by their places."""
        if isinstance(self.schema, TableSchema):
            return tuple(str(column.name) for column in self._seen)
        if self.schema.kind == "images":
            return tuple(",".join(map(str, index)) for index in np.ndindex(*self.schema.user_shape))
        if isinstance(self.schema, TextSchema):
            return tuple(map(str, range(self.schema.max_length)))
        names = self.schema.feature_names
        return tuple(map(str, range(prod(self.schema.user_shape)) if names is None else names))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Categories of each column, 0 for numbers; none of texts, whose places are no columns."""
        if isinstance(self.schema, TextSchema):
            return ()
        if not isinstance(self.schema, TableSchema):
            return (0,) * prod(self.schema.user_shape)
        cells = (column.cells for column in self._seen)
        return tuple(len(cell.categories) if isinstance(cell, LabelCells) else 0 for cell in cells)

    @property
    def code_owners(self) -> Tensor:
        """The column of each code that a model of tables is shown."""
        assert isinstance(self.schema, TableSchema)
        counts = [len(column.sizes) for column in self._seen]
        return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))

    @property
    def _seen(self) -> list[Any]:
        assert isinstance(self.schema, TableSchema)
        return [column for column in self.schema.columns if not column.is_left_out]

    def values(self, data: Any) -> Floats:
        """Rows as numbers and codes of categories, shape (n, columns), NaN where a cell is missing.

        Images and texts have none.

        Raises:
            SchemaMismatchError: If the columns are not those of fit.
            DataError: If there is infinity, or text where numbers were.
        """
        if isinstance(self.schema, TableSchema):
            return self.schema.numbers(data).values
        if isinstance(self.schema, TextSchema) or self.schema.kind == "images":
            return np.empty((0, 0))
        return self.schema.user_numbers(data)

    def shown(self, data: Any, values: Floats | None = None) -> Tensor:
        """What the model is shown, shape (n, numbers), float32; NaN where unknown. Of texts their tokens, integers.

        Args:
            data: Rows in the user's form.
            values: Their :meth:`values`, where they are at hand.
        """
        if isinstance(self.schema, TextSchema):
            return self.schema.encode(data)
        if isinstance(self.schema, TableSchema):
            data = read_table_data(data)
        if self.scale is not None:
            features: Tensor = self.scale(self.values(data) if values is None else values)
            if not self.is_coded:
                return features
            return torch.cat([self.schema.encode(data).float(), features], dim=1)
        x: Tensor = self.schema.to_model(self.schema.encode(data), dtype=torch.float32)
        return x.flatten(1)

    def cell(self, column: int, value: float) -> Any:
        """A value of a column as the user writes it; None where it is missing."""
        if np.isnan(value):
            return None
        if not isinstance(self.schema, TableSchema):
            return float(value)
        cells = self._seen[column]
        if isinstance(cells.cells, LabelCells) and value >= len(cells.cells.categories):
            return "not seen before"
        return cells.write(np.array([value]))[0].as_py()

    def mixed(self, values: Floats) -> MixedTable:
        """Values as a table for tests of its columns."""
        kinds = np.array([bool(size) for size in self.cardinalities])
        return MixedTable(values=values, is_categorical=kinds, names=self.columns)
