"""Distances to nearest neighbours, in passes whose memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["kth_neighbour_distances", "squared_distance_blocks"]

_BLOCK = 1 << 21  # distances per pass: 16 MiB in float64


def squared_distance_blocks(queries: Tensor, reference: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield squared Euclidean distances of a few queries at a time: their rows, and shape (rows, n_reference).

    They are computed from inner products, which is exact for integers and for binary data, and loses digits only
    where the rows lie far from zero compared with their distance; none is below 0.
    """
    lengths = reference.square().sum(1)
    step = max(1, _BLOCK // max(1, reference.shape[0]))
    for start in range(0, queries.shape[0], step):
        rows = slice(start, min(queries.shape[0], start + step))
        part = queries[rows]
        block = torch.addmm(lengths, part, reference.mT, alpha=-2.0)
        yield rows, block.add_(part.square().sum(1, keepdim=True)).clamp_(min=0.0)


def kth_neighbour_distances(queries: Tensor, reference: Tensor, *, k: int = 1, skip_self: bool = False) -> Tensor:
    """Squared distance of each query to its k-th nearest row of the reference, shape (n_queries,).

    Args:
        queries: Shape (n_queries, features), float64.
        reference: Shape (n_reference, features).
        k: From 1 to the number of rows of the reference, one fewer with `skip_self`.
        skip_self: Query i is row i of the reference, and is no neighbour of its own.

    Returns:
        Squared Euclidean distances.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [3.0]]).double()
        >>> kth_neighbour_distances(points, points, k=1, skip_self=True)
        tensor([1., 1., 4.], dtype=torch.float64)
    """
    result = queries.new_empty(queries.shape[0])
    for rows, block in squared_distance_blocks(queries, reference):
        if skip_self:
            own = torch.arange(rows.start, rows.stop, device=block.device)
            block[own - rows.start, own] = torch.inf
        result[rows] = block.topk(k, dim=1, largest=False).values[:, -1]
    return result
