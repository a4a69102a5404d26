"""What an estimator does with tables of mixed kinds in ways of their own: complete rows, and sample rows that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import SchemaMismatchError
from latentkit.data import TableSchema
from latentkit.data.table.sources import read_table_data
from latentkit.distributions import Region
from latentkit.tasks import draw_cells, expect_cells

__all__ = ["by_column", "recover_table", "regions_of", "shown"]


def recover_table(
    schema: TableSchema,
    map_rows: Callable[[Callable[[Any, Tensor], Tensor], Tensor], Tensor],
    X: Any,
    mask: Any,
    *,
    n_draws: int | None,
    result: Literal["mean", "draws"],
    seed: int,
) -> Any:
    """Return a table with its missing cells filled in, and every other cell as it was.

    Args:
        schema: Schema of the table.
        map_rows: Applies a function of the model and rows in model units to all rows; batches are the second dimension
            of its results.
        X: A table, in any form that the schema reads.
        mask: True where a cell is to be taken as it is, shape (n, columns) or (columns,); None for all that are not
            missing.
        n_draws: Completions of each row.
        result: ``"mean"``: of every cell on its own the mean of a number and the most probable category; ``"draws"``:
            completions of whole rows, in a list.
        seed: Seed of the draws.
    """
    X = read_table_data(X)  # once, for the codes and for every filled copy
    storage = schema.encode_observed(X)[0]
    observed = None if mask is None else shown(schema, mask, len(storage))
    if observed is not None:
        storage = storage.masked_fill(~observed, torch.nan)
    if result == "mean":
        points = map_rows(lambda model, x: expect_cells(model, x, n_draws=n_draws or 8, seed=seed), storage)
        return schema.fill(X, points, observed=observed)
    draws = map_rows(lambda model, x: draw_cells(model, x, n_draws=n_draws or 20, seed=seed), storage)
    return [schema.fill(X, draw, observed=observed) for draw in draws]


def shown(schema: TableSchema, mask: Any, n: int) -> Tensor:
    """Return a mask of the cells of a table, shape (n, columns) or (columns,), as one of its codes, shape (n, codes).

    Raises:
        SchemaMismatchError: If it has another shape.
    """
    cells = np.asarray(mask, np.bool_)
    if cells.shape not in ((n, len(schema.columns)), (len(schema.columns),)):
        raise SchemaMismatchError(
            f"the mask of a table has one entry for each cell, shape ({n}, {len(schema.columns)}), or one for each "
            f"column; got shape {cells.shape}."
        )
    cells = np.broadcast_to(cells, (n, len(schema.columns)))
    widths = [len(column.sizes) for column in schema.columns]
    return torch.from_numpy(np.repeat(cells, widths, axis=1))


def by_column(schema: TableSchema, scores: Tensor) -> NDArray[np.float64]:
    """Return scores of codes, shape (n, codes), summed over the codes of each column, shape (n, columns)."""
    columns = [scores[:, list(schema.locate(name))] for name in schema.feature_names]
    nothing = scores.new_full((len(scores),), torch.nan)
    summed = [part.sum(1) if part.shape[1] else nothing for part in columns]
    return torch.stack(summed, 1).double().numpy()


def regions_of(schema: TableSchema, condition: Mapping[Any, Any]) -> dict[int, Region]:
    """Return what a condition on columns leaves of each model column.

    Raises:
        InvalidParameterError: If there is no such column or category, or nothing is left.
    """
    regions = {}
    for name, wanted in condition.items():
        for column, allowed in schema.allowed(name, wanted).items():
            low = np.where(allowed.codes, allowed.low, 0.0)
            high = np.where(allowed.codes, allowed.high, 0.0)
            regions[column] = Region(torch.from_numpy(low).float(), torch.from_numpy(high).float())
    return regions
