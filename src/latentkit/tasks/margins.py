"""Columns of new rows brought to the shares of the data, after training."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from latentkit.core.columns import ColumnCodes, codes_of

__all__ = ["margin_offsets"]

_PSEUDO_COUNT: Final = 5.0  # of rows, for each code


def margin_offsets(observed: Tensor, drawn: Tensor, codes: ColumnCodes) -> Tensor:
    r"""What to add to the logits of each column so that its codes are as frequent in new rows as in the data.

    .. math:: b_{jc} = \log \frac{n_{jc} + 5}{m_{jc}\, n_j / m_j + 5}

    with n the counts of codes c among observed cells of column j and m those among drawn ones. Training by gradient
    steps leaves the shares of columns off by a percent, as what it gains by them is next to nothing; here they are
    counted. One step, and not iterated to the end: a column that is given others changes with them.

    Args:
        observed: Rows of the data in model units, NaN where unknown, shape (n, columns).
        drawn: Rows of the model in model units, shape (m, columns).
        codes: Codes of the columns.
    Returns:
        Nats, shape (sum of cardinalities,), the columns one after the other.
    References:
        Deming and Stephan, 1940, On a Least Squares Adjustment of a Sampled Frequency Table When the Expected Marginal
        Totals are Known (iterative proportional fitting, of which this is one round).

    Example:
        >>> x, y = torch.tensor([[0.5]] * 15 + [[1.5]] * 5), torch.tensor([[0.5]] * 10 + [[1.5]] * 10)
        >>> margin_offsets(x, y, ColumnCodes((2,))).exp()
        tensor([1.3333, 0.6667])
    """
    sizes, last = torch.tensor(codes.cardinalities), torch.tensor(codes.last_values)
    tables = [codes_of(rows, sizes, last) for rows in (observed, drawn)]
    parts = []
    for column, size in enumerate(codes.cardinalities):
        n, m = (torch.bincount(table[:, column], minlength=size + 1)[:size].double() for table in tables)
        expected = m * n.sum() / m.sum().clamp_min(1.0)
        parts.append(torch.log((n + _PSEUDO_COUNT) / (expected + _PSEUDO_COUNT)))
    return torch.cat(parts).float()
