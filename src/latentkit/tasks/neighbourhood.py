"""Cells of tables, filled with a look at the rows that are near: what a model averages away, single rows remember."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError

__all__ = ["Neighbourhood"]

_NEAREST: Final = 20
_LEAST_RELEVANCE: Final = 0.05  # of a column, when rows are looked up for another
_FLOOR: Final = 0.03  # of the squared distance to the farthest of the nearest: an equal row is not all that counts
_LEAST_SHARE: Final = 0.02  # below which looking rows up is not worth its time
_ROWS: Final = 1024  # whose distances are computed at once


@final
@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    r"""Rows in which those near to a row with holes are looked up, and how much they have to say.

    .. math:: p'(x_j \mid x_{obs}) = (1 - a_j) p(x_j \mid x_{obs}) + a_j \sum_{i \in N_j} w_i \delta_{x_{ij}}, \qquad
              w_i \propto \frac{1}{d_{ij}^2 + 0.03 \max_{l \in N_j} d_{lj}^2}

    .. math:: d_{ij}^2 = \sum_{l \ne j} (0.05 + r_{lj}) \lVert f_l(x) - f_l(x_i) \rVert^2

    The nearest 20 rows :math:`N_j` are those of known :math:`x_{ij}` that are nearest in all other columns, whose holes
    are filled by the model first: a distance over known cells alone would compare rows in few columns. :math:`f_l` is a
    column as numbers, numbers as they are and a category as its indicators, of variance 1; :math:`r_{lj}` is the
    largest absolute correlation of columns l and j. The shares :math:`a_j` are learnt from cells that are hidden for
    that, and none where the model knows better (:meth:`learnt_from`).

    Attributes:
        cells: The rows in model units, NaN where unknown, shape (n, model columns).
        places: For each column its model columns.
        features: The columns of the completed rows as numbers, shape (n, width) each; width 0 for those that play no
            part.
        shares: Of the near rows in each column, shape (columns,).
        relevance: Of column l, the second index, for column j, shape (columns, columns).

    References:
        Shepard, 1968, A two-dimensional interpolation function for irregularly-spaced data (weights by distance).
        Troyanskaya et al., 2001, Missing value estimation methods for DNA microarrays (near rows fill holes).

    Example:
        >>> import torch
        >>> x = torch.rand(50, 1).expand(50, 2).contiguous()
        >>> rows = Neighbourhood.of(x, [(0,), (1,)], [x[:, :1], x[:, 1:]])
        >>> [round(float(number), 3) for number in rows.relevance[0]]
        [1.0, 1.0]
    """

    cells: Tensor
    places: tuple[tuple[int, ...], ...]
    features: tuple[Tensor, ...]
    shares: Tensor
    relevance: Tensor
    _centres: tuple[Tensor, ...]
    _scales: Tensor

    @classmethod
    def of(cls, cells: Tensor, places: Sequence[Sequence[int]], features: Sequence[Tensor]) -> Neighbourhood:
        """Return rows with shares of 0.

        Args:
            cells: Rows in model units, NaN where unknown, shape (n, model columns).
            places: For each column its model columns.
            features: For each column the completed rows as numbers of any scale, shape (n, width).
        """
        if len(places) != len(features):
            raise InvalidParameterError(f"{len(places)} columns have {len(features)} blocks of features.")
        centres = tuple(block.mean(0) for block in features)
        spread = torch.stack([(f - c).square().mean(0).sum().sqrt() for f, c in zip(features, centres, strict=True)])
        scales = torch.where(spread > 0, 1.0 / spread, 0.0)
        scaled = _scaled(features, centres, scales)
        return cls(
            cells,
            tuple(tuple(place) for place in places),
            tuple(scaled),
            torch.zeros(len(features)),
            _largest_correlations(scaled),
            centres,
            scales,
        )

    def learnt_from(self, predictions: Sequence[tuple[Sequence[Tensor], Tensor]]) -> Neighbourhood:
        r"""Return the same rows with the shares that fill known cells best, each as if it were not known.

        .. math::
            a_j = \frac{\sum_i (f_j(x_i) - m_{ij}) \cdot (h_{ij} - m_{ij})}{\sum_i \lVert h_{ij} - m_{ij} \rVert^2}

        between 0 and 1: least squares between what the model makes of a hidden cell, m, and what the near rows say, h.
        To both sums that of an average column is added, at the share of all columns together, so that few cells do not
        decide alone.

        Args:
            predictions: Pairs: these rows completed by the model with more of their cells hidden, as in :meth:`of`; and
                which these cells are, bool, shape (n, columns).
        """
        products = torch.zeros(2, len(self.places), dtype=torch.float64)
        for features, hidden in predictions:
            blocks = _scaled(features, self._centres, self._scales)
            for column, truth in enumerate(self.features):
                rows = (hidden[:, column] & self._known(column)).nonzero().flatten()
                if not truth.shape[1] or not len(rows):
                    continue
                query = [block[rows] for block in blocks]
                for part, nearest, weights in self._nearest(column, query, own=rows):
                    said = torch.einsum("qk,qkf->qf", weights, truth[nearest])
                    off = (said - query[column][part]).double()
                    missed = (truth[rows[part]] - query[column][part]).double()
                    products[:, column] += torch.stack([(missed * off).sum(), off.square().sum()])
        usual = products[1].mean()
        common = products[0].sum() / products[1].sum().clamp_min(1e-12)
        shares = ((products[0] + common * usual) / (products[1] + usual).clamp_min(1e-12)).clamp(0.0, 1.0).float()
        compared = torch.tensor([bool(block.shape[1]) for block in self.features])
        return replace(self, shares=torch.where(compared & (shares >= _LEAST_SHARE), shares, 0.0))

    def mixed(self, x: Tensor, points: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return what unknown cells may be, the near rows' share put in the place of as much of the model's.

        Args:
            x: Rows in model units, NaN where unknown, shape (batch, model columns).
            points: Quantiles of each unknown cell as the model sees it, ascending, shape (n_points, batch, model
                columns); see :func:`~latentkit.tasks.expect_cells`.
            features: The completed rows as numbers, as in :meth:`of`.
        Returns:
            Shape of `points`; those of known cells are as they were.
        """
        points = points.clone()
        blocks = _scaled(features, self._centres, self._scales)
        n_points = len(points)
        for column, places in enumerate(self.places):
            n_near = round(float(self.shares[column]) * n_points)
            rows = x[:, list(places)].isnan().any(1).nonzero().flatten()
            if not n_near or not len(rows):
                continue
            levels = (torch.arange(n_near) + 0.5) / n_near
            n_kept = n_points - n_near
            kept = ((torch.arange(n_kept) + 0.5) * n_points / max(n_kept, 1)).long()
            for part, nearest, weights in self._nearest(column, [block[rows] for block in blocks]):
                order = self.cells[nearest, places[0]].argsort(dim=1, stable=True)  # quantiles, as the model's are
                ordered, shares = nearest.gather(1, order), weights.gather(1, order).cumsum(1)
                found = torch.searchsorted(shares, levels.expand(len(nearest), -1).contiguous())
                chosen = ordered.gather(1, found.clamp_max(nearest.shape[1] - 1))
                for place in places:
                    own = points[kept][:, rows[part], place]
                    points[:, rows[part], place] = torch.cat([own, self.cells[chosen, place].T.to(points.dtype)])
        return points

    def _known(self, column: int) -> Tensor:
        return ~self.cells[:, list(self.places[column])].isnan().any(1)

    def _nearest(
        self, column: int, query: Sequence[Tensor], *, own: Tensor | None = None
    ) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield slices of rows with the numbers of the rows nearest to each, and their weights, shape (rows, nearest).

        Args:
            column: That is to be filled; rows that do not know it do not count.
            query: Features of the rows, scaled.
            own: Numbers of the rows, where they are among these, so that none is its own neighbour.
        """
        known = self._known(column).nonzero().flatten()
        k = min(_NEAREST, len(known) - (own is not None))
        if k < 1:
            return
        others = [index for index, block in enumerate(self.features) if index != column and block.shape[1]]
        stretch = (_LEAST_RELEVANCE + self.relevance[column]).sqrt()
        nothing = self.features[column].new_zeros(len(known), 1), query[column].new_zeros(len(query[column]), 1)
        candidates = torch.cat([nothing[0], *(self.features[index][known] * stretch[index] for index in others)], 1)
        rows = torch.cat([nothing[1], *(query[index] * stretch[index] for index in others)], 1)
        for first in range(0, len(rows), _ROWS):
            part = slice(first, first + _ROWS)
            distances = torch.cdist(rows[part], candidates, compute_mode="use_mm_for_euclid_dist").square()
            if own is not None:
                distances[own[part, None] == known] = math.inf
            near = distances.topk(k, dim=1, largest=False)
            weights = 1.0 / (near.values + _FLOOR * near.values[:, -1:] + 1e-12)
            yield part, known[near.indices], weights / weights.sum(1, keepdim=True)


def _scaled(features: Sequence[Tensor], centres: Sequence[Tensor], scales: Tensor) -> list[Tensor]:
    return [(block - c) * s for block, c, s in zip(features, centres, scales, strict=True)]


def _largest_correlations(features: Sequence[Tensor]) -> Tensor:
    """The largest absolute correlation of any two numbers of each two columns, 0 where there is none."""
    units = [block / block.square().mean(0).sqrt().clamp_min(1e-12) for block in features]
    n_rows = max(1, len(features[0])) if features else 1
    largest = torch.eye(len(features))
    for one, other in itertools.combinations(range(len(features)), 2):
        if units[one].shape[1] and units[other].shape[1]:
            largest[one, other] = largest[other, one] = float((units[one].T @ units[other]).abs().max()) / n_rows
    return largest
