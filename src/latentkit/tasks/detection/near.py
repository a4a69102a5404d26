"""Rows in which those near to others are looked up."""

from __future__ import annotations

from functools import cached_property
from typing import Final, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from latentkit.nn import STEADY_WIDTH

__all__ = ["RowIndex"]

_LEAST_LOG: Final = -80.0  # of a share of a density
_AT_ONCE: Final = 128  # rows whose nearest are looked up
_BLOCK: Final = 8  # of values of which the largest is found first; divides the width of a product
_LEAST_SQUARE: Final = 1e-24  # below which a distance is 0; the root has no slope there


@final
class RowIndex:
    r"""Rows, ready to be compared with others by one product, their affinity a.

    .. math:: -\tfrac{1}{2} |x - y|^2 = a(x, y) - \tfrac{1}{2} |x|^2, \qquad a(x, y) = x \cdot y - \tfrac{1}{2} |y|^2

    Of the rows that are equal to one that is looked up, one is left out: it may be the row itself.

    Args:
        rows: Shape (n, numbers), or (members, n, numbers); n at least 2 where some may be equal to what is looked up.

    Example:
        >>> index = RowIndex(torch.tensor([[0.0], [3.0], [5.0]]))
        >>> index.nearest(torch.tensor([[2.0]]), torch.tensor([-1]), 2)
        (tensor([[1., 2.]]), tensor([[1, 0]]))
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self._n = rows.shape[-2]
        missing = -self._n % STEADY_WIDTH
        self._turned = functional.pad(rows, (0, 0, 0, missing)).mT.contiguous()
        # what only fills up is infinitely far
        self._start = functional.pad(-0.5 * rows.square().sum(-1), (0, missing), value=-torch.inf).unsqueeze(-2)

    @cached_property
    def _halves(self) -> Tensor:
        """Half of the square of each number; only what is compared with rows that have holes needs it."""
        return 0.5 * self._turned.square()

    def __len__(self) -> int:
        return self._n

    def nearest(self, x: Tensor, own: Tensor, k: int, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return distances to the nearest rows, ascending, and their numbers, shape (batch, k) each.

        What is near is told from what is equal only by its own difference, which is computed for those k.

        Args:
            x: Rows, shape (batch, numbers).
            own: Number of the row that is equal to each, -1 where there is none, shape (batch,).
            k: How many.
            known: 1 where a number is known, 0 where not, shape of x, which is 0 there; None where all are. Distances
                are then those over the known numbers, times the root of how many there are for each that is known.
        """
        with torch.no_grad():
            places = self._places(x, own, k, known)
        squares = self.differences(x, places, known).sum(-1)
        squares, order = squares.clamp_min(_LEAST_SQUARE).sort(dim=1)
        return squares.sqrt(), places.gather(1, order)

    def differences(self, x: Tensor, places: Tensor, known: Tensor | None = None) -> Tensor:
        """Return squared differences of each number, shape (batch, k, numbers), that add up to squared distances.

        Args:
            x: Rows, shape (batch, numbers).
            places: Numbers of the rows that each is compared with, shape (batch, k).
            known: As for :meth:`nearest`.
        """
        squares = (x[:, None] - self.rows[places]).square()
        return squares if known is None else squares * (known * _stretch(known))[:, None]

    def mean_distance(self, x: Tensor, own: Tensor, k: int, known: Tensor | None = None) -> Tensor:
        """Return the mean distance to the nearest k rows, shape (..., batch), for x of shape (..., batch, numbers)."""
        affinities = self._affinities(x, own, known)
        if affinities.requires_grad:
            nearest = affinities.topk(k, dim=-1).values
        else:
            n = affinities.shape[-1]
            nearest = torch.from_numpy(np.partition(affinities.numpy(), n - k, axis=-1)[..., n - k :])
        squares = x.square().sum(-1, keepdim=True) - 2.0 * nearest
        if known is not None:
            squares = squares * _stretch(known)
        return squares.clamp_min(_LEAST_SQUARE).sqrt().mean(-1)

    def log_density(self, x: Tensor, own: Tensor) -> Tensor:
        r"""Return :math:`\log \sum_i \exp(-|x - y_i|^2 / 2)`, shape (..., batch), for x as in :meth:`mean_distance`."""
        logs = self._affinities(x, own)
        if logs.requires_grad:
            return torch.logsumexp(logs, dim=-1) - 0.5 * x.square().sum(-1)
        largest = logs.amax(-1, keepdim=True)
        # what would be a denormal number takes a hundred times as long, and adds nothing
        parts = logs.sub_(largest).clamp_min_(_LEAST_LOG).exp_().sum(-1).log_() + largest.squeeze(-1)
        return parts - 0.5 * x.square().sum(-1)

    def _places(self, x: Tensor, own: Tensor, k: int, known: Tensor | None) -> Tensor:
        """Numbers of the k nearest rows, shape (batch, k), looked up for as many rows at once as the cache has room."""
        found = []
        for start in range(0, len(x), _AT_ONCE):
            these = slice(start, start + _AT_ONCE)
            affinities = self._affinities(x[these], own[these], None if known is None else known[these])
            found.append(_largest(affinities, k))
        return torch.cat(found)

    def _affinities(self, x: Tensor, own: Tensor, known: Tensor | None = None) -> Tensor:
        """Affinities over known numbers, shape (..., batch, n and what fills up)."""
        product = torch.addmm if x.ndim == 2 else torch.baddbmm
        affinities = product(self._start, x, self._turned)
        if known is not None:  # what the rows have where x is not known is none of the distance
            affinities = torch.addmm(affinities, 1.0 - known, self._halves)
        places = (own >= 0).logical_and(own < self._n).nonzero().flatten()
        if len(places) and self._n > 1:
            affinities[..., places, own[places]] = -torch.inf
        return affinities


def _largest(values: Tensor, k: int) -> Tensor:
    """Places of the k largest values of each row, shape (rows, k): they lie in the k blocks with the largest maxima."""
    n_blocks = values.shape[1] // _BLOCK
    if n_blocks < _BLOCK * k:
        return values.topk(k, dim=1).indices
    maxima = values.view(len(values), _BLOCK, n_blocks).amax(1)
    blocks = maxima.topk(k, dim=1, sorted=False).indices
    places = (blocks[:, None] + torch.arange(_BLOCK)[:, None] * n_blocks).flatten(1)
    return places.gather(1, values.gather(1, places).topk(k, dim=1).indices)


def _stretch(known: Tensor) -> Tensor:
    """How many numbers there are for each that is known, shape (batch, 1)."""
    return known.shape[-1] / known.sum(-1, keepdim=True).clamp_min(1.0)
