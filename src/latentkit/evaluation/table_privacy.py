"""Does a synthetic table give away the rows that it was learnt from?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.evaluation.mixed_table import MixedTable, check_tables
from latentkit.evaluation.two_sample import area_under_curve

__all__ = ["ClosestRecords", "CopiedCells", "closest_records", "copied_cells", "record_distances"]

_TILE = (64, 4096)  # rows of a tile of distances: 1 MiB, which stays in cache (measured)
_MANY_VALUES = 0.1
_ENOUGH_REPEATS = 20  # to compare them


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosestRecords:
    """Distances between synthetic rows and the real rows that are closest to them.

    Attributes:
        nearer_to_training: Share of synthetic rows that are closer to a training row than to any held-out row, ties
            half, in [0, 1]; 0.5 for a model that has not memorised rows, above it for one that has.
        standard_error: Its standard error. Rows that share their closest record count as one draw, so it holds for
            splits into training and held-out rows, too.
        membership_auc: Area under the ROC curve of telling training rows from held-out rows by their distance to the
            closest synthetic row, in [0, 1]; 0.5 is ideal.
        membership_standard_error: Its standard error by DeLong.
        median_to_training: Median distance of synthetic rows to the closest training row, in columns.
        median_to_held_out: The same to held-out rows.
        n_train: Training rows looked at; as many held-out rows.
        n_synthetic: Synthetic rows looked at.
    """

    nearer_to_training: float
    standard_error: float
    membership_auc: float
    membership_standard_error: float
    median_to_training: float
    median_to_held_out: float
    n_train: int
    n_synthetic: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return (
            "sum over columns of rank differences and unequal categories, "
            f"{self.n_train:,} training and as many held-out rows, {self.n_synthetic:,} synthetic rows"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedCells:
    """What a synthetic table repeats word for word, beside what held-out rows repeat.

    Attributes:
        rows: Share of synthetic rows that are training rows, equal in every column, in [0, 1].
        rows_floor: The same share of held-out rows.
        preference: How many synthetic rows there are for each distinct training row that repeat it, over how many for
            each distinct held-out row; NaN if fewer than 20 repeat held-out rows. 1 for a model that does not know
            which rows it has seen, however many it repeats: a table of few possible rows is repeated by any good model.
        coarse_rows: Share of synthetic rows that equal a training row in every column but those of `values`; the same
            as `rows` if there are none.
        coarse_rows_floor: The same share of held-out rows.
        values: For each column of numbers with many distinct values, the share of synthetic values that occur among
            the training values of the column.
        values_floor: The same shares of held-out values.
        n_train: Training rows.
        n_held_out: Held-out rows.
        n_synthetic: Synthetic rows.
    """

    rows: float
    rows_floor: float
    preference: float
    coarse_rows: float
    coarse_rows_floor: float
    values: dict[str, float]
    values_floor: dict[str, float]
    n_train: int
    n_held_out: int
    n_synthetic: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return (
            f"{self.n_train:,} training rows, {self.n_held_out:,} held-out rows, {self.n_synthetic:,} synthetic rows; "
            f"columns of many values: {', '.join(self.values) or 'none'}"
        )


def closest_records(
    train: MixedTable, held_out: MixedTable, synthetic: MixedTable, *, max_rows: int = 10_000, seed: int = 0
) -> ClosestRecords:
    r"""Compare the distances of synthetic rows to training rows with those to held-out rows.

    .. math:: d(x, y) = \sum_c \min(1, |r_c(x) - r_c(y)|) + \sum_k [x_k \ne y_k]

    over columns of numbers c and of categories k, with r the rank of a value among the real rows, as a share. A step of
    the rank is worth the same in every column and in every part of it: scaled by its range, a column with one far value
    would not count at all. Missing equals missing, and is at distance 1 from any value.

    Training and held-out rows are cut to one number, and the ranks are those of both together: a synthetic table that
    knows neither has 0.5 by symmetry, whatever its quality. Where training rows had to be left out, what was learnt
    from those draws both figures towards 0.5; and neither sees a few memorised rows among many, for which see
    :func:`copied_cells`. None of them is a guarantee of privacy.

    Args:
        train: The rows that the model was fitted on; at least 2.
        held_out: Rows of the same distribution that it was not fitted on; at least 2.
        synthetic: A table with the same columns; at least 2 rows.
        max_rows: Rows of each table that are looked at. Time is quadratic in it, some 3 s for 10,000 rows of 15
            columns; memory is bounded.
        seed: Decides the rows.

    Returns:
        The share of rows nearer to training, and the success of the attack by distance.

    Raises:
        InvalidParameterError: If the columns differ, a table has fewer than 2 rows, or `max_rows` is below 2.

    References:
        Platzer and Reutterer, 2021, Holdout-Based Empirical Assessment of Mixed-Type Synthetic Data, Frontiers in Big
        Data 4 (share of nearest records). Chen et al., 2020, GAN-Leaks, arXiv:1909.03935 (attack by distance).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> train, held_out, new = (
        ...     MixedTable(values=rng.normal(size=(50, 2)), is_categorical=[False, False], names=["a", "b"])
        ...     for _ in range(3)
        ... )
        >>> closest_records(train, held_out, train).nearer_to_training
        1.0
        >>> abs(closest_records(train, held_out, new).nearer_to_training - 0.5) < 0.3
        True
    """
    check_integer("max_rows", max_rows, low=2)
    check_tables(2, train=train, held_out=held_out, synthetic=synthetic)
    m = min(train.n, held_out.n, max_rows)
    real = [train.drawn(m, seed, "train"), held_out.drawn(m, seed, "held-out")]
    new = synthetic.drawn(max_rows, seed, "synthetic")
    reference = np.concatenate([table.values for table in real])
    generated, *known = (_coordinates(table, reference) for table in (new, *real))
    (to_train, places, from_train), (to_held_out, others, from_held_out) = (
        record_distances(generated, each) for each in known
    )
    wins = (to_train < to_held_out) + 0.5 * (to_train == to_held_out)
    share = float(wins.mean())
    closest = np.where(to_train <= to_held_out, places, m + others)
    together = np.bincount(closest, weights=wins - share, minlength=2 * m)
    attack, attack_error = area_under_curve(-from_train, -from_held_out)
    return ClosestRecords(
        nearer_to_training=share,
        standard_error=math.sqrt(float(together @ together)) / new.n,
        membership_auc=attack,
        membership_standard_error=attack_error,
        median_to_training=float(np.median(to_train)),
        median_to_held_out=float(np.median(to_held_out)),
        n_train=m,
        n_synthetic=new.n,
    )


def copied_cells(train: MixedTable, held_out: MixedTable, synthetic: MixedTable) -> CopiedCells:
    """Shares of rows, and of values, that stand in the training table as they are.

    New rows repeat some, too: those of few columns, and values that are common. What held-out rows repeat is therefore
    the floor. A column of numbers has many values if at least a tenth of its training cells are distinct; a model that
    hands out training values one by one shows there, and since such a column makes every row unique, rows are compared
    without these columns as well.

    Args:
        train: The rows that the model was fitted on: all of them.
        held_out: Rows of the same distribution that it was not fitted on.
        synthetic: A table with the same columns, its values rounded as those of the data are.

    Returns:
        The shares beside their floors. Missing cells equal each other, and are no values.

    Raises:
        InvalidParameterError: If the columns differ or a table is empty.

    Example:
        >>> train, held_out, new = (
        ...     MixedTable(values=rows, is_categorical=[False, True], names=["a", "b"])
        ...     for rows in ([[0.5, 1], [0.7, 0]], [[0.9, 1], [0.7, 1]], [[0.5, 1], [0.6, 0]])
        ... )
        >>> copies = copied_cells(train, held_out, new)
        >>> copies.rows, copies.rows_floor, copies.values
        (0.5, 0.0, {'a': 0.5})
    """
    check_tables(train=train, held_out=held_out, synthetic=synthetic)
    many = np.zeros(len(train.names), bool)
    values: dict[str, float] = {}
    values_floor: dict[str, float] = {}
    for place, (name, kind) in enumerate(zip(train.names, train.is_categorical, strict=True)):
        cells, fresh, new = (t.values[:, place] for t in (train, held_out, synthetic))
        cells, fresh, new = (x[~np.isnan(x)] for x in (cells, fresh, new))
        if kind or not min(map(len, (cells, fresh, new))) or len(np.unique(cells)) < _MANY_VALUES * len(cells):
            continue
        many[place] = True
        values[name], values_floor[name] = (float(np.isin(x, cells).mean()) for x in (new, fresh))
    rows, rows_floor = _repeated(train, synthetic), _repeated(train, held_out)
    coarse = (rows, rows_floor)
    if many.any() and not many.all():
        base = train.without(many)
        coarse = _repeated(base, synthetic.without(many)), _repeated(base, held_out.without(many))
    return CopiedCells(
        rows=rows,
        rows_floor=rows_floor,
        preference=_preference(train, held_out, synthetic),
        coarse_rows=coarse[0],
        coarse_rows_floor=coarse[1],
        values=values,
        values_floor=values_floor,
        n_train=train.n,
        n_held_out=held_out.n,
        n_synthetic=synthetic.n,
    )


def record_distances(
    rows: Tensor, others: Tensor
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    r"""Distances between two tables, of each row to the closest row of the other, in tiles of bounded memory.

    .. math:: d(x, y) = \sum_c \min(1, |x_c - y_c|)

    Args:
        rows: Shape (n, columns), float32; equal codes are equal, different ones differ by at least 1.
        others: Shape (m, columns).

    Returns:
        Of each of `rows`, the distance to the closest of `others` and the place of that row, the first where several
        are equally close; of each of `others`, the distance to the closest of `rows`.

    Example:
        >>> record_distances(torch.tensor([[0.2, 3.0]]), torch.tensor([[0.2, 5.0], [0.4, 3.0]]))
        (array([0.2], dtype=float32), array([1]), array([1. , 0.2], dtype=float32))
    """
    to_others, to_rows = torch.full((len(rows),), torch.inf), torch.full((len(others),), torch.inf)
    places = torch.zeros(len(rows), dtype=torch.int64)
    columns = others.T.contiguous()
    for part in (slice(first, first + _TILE[0]) for first in range(0, len(rows), _TILE[0])):
        for first in range(0, len(others), _TILE[1]):
            tile = columns[:, first : first + _TILE[1]]
            total = torch.zeros(len(rows[part]), tile.shape[1])
            step = torch.empty_like(total)
            for cells, across in zip(rows[part].T, tile, strict=True):
                torch.sub(cells[:, None], across, out=step)
                total += step.abs_().clamp_(max=1.0)
            nearest, place = total.min(1)
            places[part] = torch.where(nearest < to_others[part], place + first, places[part])
            torch.minimum(to_others[part], nearest, out=to_others[part])
            below = to_rows[first : first + _TILE[1]]
            torch.minimum(below, total.amin(0), out=below)
    return to_others.numpy(), places.numpy(), to_rows.numpy()


def _coordinates(table: MixedTable, reference: NDArray[np.float64]) -> Tensor:
    """Ranks of numbers among the reference, in [0, 1], and codes; missing is far from all others."""
    columns = []
    for cells, known, kind in zip(table.values.T, reference.T, table.is_categorical, strict=True):
        if not kind:
            distinct, counts = np.unique(known[~np.isnan(known)], return_counts=True)
            ranks = (np.cumsum(counts) - counts / 2) / max(1, counts.sum())
            cells = np.interp(cells, distinct, ranks) if len(distinct) else np.where(np.isnan(cells), np.nan, 0.0)
        columns.append(np.where(np.isnan(cells), -2.0, cells))
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))


def _repeated(train: MixedTable, rows: MixedTable) -> float:
    """Share of rows that are training rows."""
    return float(np.isin(_as_keys(rows), _as_keys(train)).mean())


def _preference(train: MixedTable, held_out: MixedTable, synthetic: MixedTable) -> float:
    """How many rows repeat a training row, over how many repeat a held-out row."""
    new = _as_keys(synthetic)
    seen, unseen = (np.unique(_as_keys(table)) for table in (train, held_out))
    n_seen, n_unseen = (int(np.isin(new, keys).sum()) for keys in (seen, unseen))
    return (n_seen / len(seen)) / (n_unseen / len(unseen)) if n_unseen >= _ENOUGH_REPEATS else math.nan


def _as_keys(table: MixedTable) -> NDArray[np.void]:
    cells = np.where(np.isnan(table.values), np.nan, table.values + 0.0)  # one NaN, one zero
    return np.ascontiguousarray(cells).view(np.dtype((np.void, cells.itemsize * cells.shape[1])))[:, 0]
