"""What an estimator does with tables of mixed kinds in ways of their own: complete rows, and sample rows that fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.errors import InvalidParameterError, SchemaMismatchError
from latentkit.core.seeds import generator
from latentkit.data import TableSchema
from latentkit.data.table.holding import HeldTable
from latentkit.data.table.sources import read_table_data
from latentkit.distributions import Region
from latentkit.tasks import Neighbourhood, draw_cells, expect_cells, sample_within

__all__ = ["HeldRows", "by_column", "learn_neighbourhood", "recover_table", "sample_held", "shown"]

#: Applies a function of the model and rows in model units to all rows; batches are the second dimension of its results.
MapRows: TypeAlias = Callable[[Callable[[Any, Tensor], Tensor], Tensor], Tensor]

#: Completions of an example with missing features, where no number is given.
N_DRAWS: Final = 20

_N_LATENTS: Final = 8  # draws of z over which a cell is averaged, where no number is given
_N_POINTS: Final = 50  # that stand for what a cell may be
_MOST_NEAR: Final = 10_000  # rows among which near ones are looked up
_LEARNT_FROM: Final = 10_000  # rows from which it is learnt how much they say, the same ones up to four times
_MOST_ROUNDS: Final = 4  # of hiding cells
_HIDDEN: Final = 0.2  # share of the cells that are hidden

_MOST_DRAWN: Final = 1 << 14  # rows drawn at once for checks, and in any case before giving up
_MOST_TRIES: Final = 100  # rows drawn for each that is wanted, before giving up


def recover_table(
    schema: TableSchema,
    map_rows: MapRows,
    X: Any,
    mask: Any,
    *,
    n_draws: int | None,
    result: Literal["mean", "draws"],
    seed: int,
    near: Neighbourhood | None = None,
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
        near: Rows among which near ones are looked up for ``"mean"``, as :func:`learn_neighbourhood` makes them.
    """
    X = read_table_data(X)  # once, for the codes and for every filled copy
    storage = schema.encode_observed(X)[0]
    observed = None if mask is None else shown(schema, mask, len(storage))
    if observed is not None:
        storage = storage.masked_fill(~observed, torch.nan)
    if result == "draws":
        draws = map_rows(lambda model, x: draw_cells(model, x, n_draws=n_draws or N_DRAWS, seed=seed), storage)
        return [schema.fill(X, draw, observed=observed) for draw in draws]

    def expect(model: Any, x: Tensor) -> Tensor:
        points = _points(model, x, n_draws, seed)
        if near is not None:
            points = near.mixed(x.cpu(), points, schema.features(points))
        return torch.from_numpy(np.stack(schema.middle(points), axis=1))[None]

    filled = map_rows(expect, storage)[0].numpy()
    return schema.fill(X, list(filled.T), observed=observed)


def learn_neighbourhood(schema: TableSchema, map_rows: MapRows, reference: Any, *, seed: int) -> Neighbourhood:
    """Return rows in which those near to a row with holes are looked up, and how much these have to say.

    Args:
        schema: Schema of the table.
        map_rows: As for :func:`recover_table`.
        reference: A table, in any form that the schema reads; of many rows, some are taken.
        seed: Seed of the draws, of the rows, and of the cells that are hidden to learn from.
    """
    cells = schema.encode_observed(read_table_data(reference))[0]
    random = generator(seed, "neighbourhood")
    if len(cells) > _MOST_NEAR:
        cells = cells[torch.randperm(len(cells), generator=random)[:_MOST_NEAR].sort().values]
    places = [place for name in schema.feature_names if (place := schema.locate(name))]

    def completed(rows: Tensor) -> list[Tensor]:
        def features(model: Any, x: Tensor) -> Tensor:
            return torch.cat(schema.features(_points(model, x, None, seed)), dim=1)[None]

        return list(torch.split(map_rows(features, rows)[0], widths, dim=1))

    widths = [block.shape[1] for block in schema.features(cells[None, :1])]
    near = Neighbourhood.of(cells, places, completed(cells))
    owners = torch.tensor([column for column, place in enumerate(places) for _ in place])
    predictions = []
    for _ in range(min(_MOST_ROUNDS, -(-_LEARNT_FROM // len(cells)))):
        hidden = torch.rand(len(cells), len(places), generator=random) < _HIDDEN
        predictions.append((completed(cells.masked_fill(hidden[:, owners], torch.nan)), hidden))
    return near.learnt_from(predictions)


def _points(model: Any, x: Tensor, n_draws: int | None, seed: int) -> Tensor:
    """What the unknown cells of rows may be, on the CPU."""
    return expect_cells(model, x, n_draws=n_draws or _N_LATENTS, n_points=_N_POINTS, seed=seed).cpu()


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


@final
@dataclass(frozen=True, slots=True)
class HeldRows:
    """New rows that keep what was asked of them.

    Attributes:
        data: The rows in the user's container.
        n_redrawn: How many rows broke a check and were drawn again.
        probability: How probable it is that a row of the model keeps conditions and constraints, functions not counted.
    """

    data: Any
    n_redrawn: int
    probability: float


def sample_held(
    schema: TableSchema,
    model: Any,
    latents: Any,
    n: int,
    condition: Mapping[Any, Any],
    constraints: Sequence[Any],
    *,
    order: Sequence[int],
    seed: int,
) -> HeldRows:
    """Draw rows of a table that keep conditions and constraints.

    Args:
        schema: Schema of the table.
        model: Its fitted model.
        latents: Distribution of z.
        n: Number of rows.
        condition: What columns shall hold.
        constraints: What rows shall keep: as :class:`~latentkit.data.table.holding.HeldTable` takes it, or functions
            from rows in the user's container to truth values.
        order: The model columns in the order in which the model draws them.
        seed: Seed of the draws.
    Raises:
        InvalidParameterError: If what is asked makes no sense, cannot be, or is too rare; the share of rows that passed
            the functions is named.
    """
    checks = [constraint for constraint in constraints if callable(constraint)]
    rules = [constraint for constraint in constraints if not callable(constraint)]
    held = HeldTable(schema, rules, condition, order=order)
    regions = {column: partial(_region, held, column) for column in held.columns}
    kept: list[Tensor] = []
    n_drawn = n_kept = attempt = 0
    while True:
        size = _next_size(n, n_kept, n_drawn)
        random = generator(seed, "sample", *([attempt] if attempt else []))
        rows, probability = sample_within(model, latents, size, regions, generator=random)
        rows = rows.cpu()
        data = held.decode(rows)
        passed = held.holds(data)
        for check in checks:
            passed &= _checked(check, data, size)
        kept.append(rows[torch.from_numpy(passed)])
        n_drawn, n_kept, attempt = n_drawn + size, n_kept + int(passed.sum()), attempt + 1
        if n_kept >= n:
            data = data if passed.all() and attempt == 1 else held.decode(torch.cat(kept)[:n])
            return HeldRows(data, n_drawn - n_kept, probability)
        if n_drawn >= max(_MOST_DRAWN, _MOST_TRIES * n):
            raise InvalidParameterError(
                f"{n_kept} of {n_drawn} rows ({n_kept / n_drawn:.2%}) passed the constraints that are checked, and "
                f"{n} are wanted. Ask for fewer rows or less of each, or say it as an inequality, a range, a sum or "
                "combinations, which cost no rows."
            )


def _next_size(n: int, n_kept: int, n_drawn: int) -> int:
    """How many rows to draw next, by the share of those before that were kept."""
    if not n_drawn:
        return n
    share = max(n_kept, 1) / n_drawn
    return min(_MOST_DRAWN, math.ceil(1.2 * (n - n_kept) / share) + 8)


def _checked(check: Callable[[Any], Any], data: Any, n: int) -> NDArray[np.bool_]:
    passed = np.asarray(check(data))
    if passed.shape != (n,) or passed.dtype != np.bool_:
        raise InvalidParameterError(
            f"a constraint that is a function takes rows and returns a truth value for each, shape ({n},); got shape "
            f"{passed.shape} of {passed.dtype}. As in: lambda rows: rows['a'] != rows['b']."
        )
    return passed


def _region(held: HeldTable, column: int, rows: Tensor) -> Region:
    left = held.region(column, rows.cpu().double().numpy())
    value = None if left.value is None else torch.from_numpy(left.value)
    return Region(torch.from_numpy(left.low), torch.from_numpy(left.high), value)
