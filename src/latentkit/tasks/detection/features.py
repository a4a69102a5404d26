"""Rows of tables as numbers that can be compared: of one scale, with categories as indicators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["RowScale", "squash"]

Floats = NDArray[np.float64]

#: Standard deviations from which on a number counts by its logarithm.
FAR: Final = 10.0
#: How many typical deviations a standard deviation may be before a column is taken to have a heavy tail.
HEAVY: Final = 10.0
#: Categories of a column that have an indicator of their own; rarer ones share one.
MOST_CATEGORIES: Final = 100
_LEAST_VARIANCE: Final = 0.05  # of the indicators of a column together: a category that is nearly constant


def squash(x: Tensor) -> Tensor:
    r"""Let numbers grow by their logarithm from 10 on, so that one cell does not outvote a row.

    .. math:: s(x) = \mathrm{sign}(x) (10 + \log(1 + |x| - 10)) \text{ for } |x| > 10, \quad s(x) = x \text{ else}

    Example:
        >>> squash(torch.tensor([3.0, -1e6]))
        tensor([  3.0000, -23.8155])
    """
    far = (x.abs() - FAR).clamp_min(0.0)
    return x.clamp(-FAR, FAR) + x.sign() * far.log1p()


@final
class RowScale(nn.Module):
    r"""Turns columns of numbers and of categories into features of one scale.

    .. math:: f_j(x) = s\left(\frac{x_j - m_j}{\sigma_j}\right), \qquad
              f_{jc}(x) = \frac{1[x_j = c] - p_c}{\sqrt{\max(\sum_c p_c (1 - p_c), 0.05)}}

    with s :func:`squash`, and numbers of heavy tails, where asked for, by :math:`\mathrm{arsinh}((x_j - \tilde x_j) /
    g_j)` first: :math:`\tilde x_j` is their median and :math:`g_j` the geometric mean of the deviations from it, where
    these have a standard deviation of more than 10 of it. The indicators of a column have variance 1 together. A
    category that was not there when the scale was learnt has an indicator of its own.

    Args:
        cardinalities: Categories of each column, 0 for numbers.

    Example:
        >>> scale = RowScale([0, 2]).learn(np.array([[1.0, 0], [3.0, 1]]))
        >>> scale(np.array([[3.0, 0]])).round(decimals=2)
        tensor([[ 1.0000,  0.7100, -0.7100,  0.0000]])
    """

    centre: Tensor
    spread: Tensor
    median: Tensor
    typical: Tensor

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.cardinalities = tuple(cardinalities)

    def learn(self, values: Floats, *, stretch: bool = False) -> RowScale:
        """Learn the scale of each column and return self.

        Args:
            values: Numbers, and codes of categories from 0, shape (n, columns); NaN where unknown. The code that is
                as large as the number of categories stands for a category not seen before.
            stretch: Whether columns of heavy tails are stretched.
        """
        n_columns = len(self.cardinalities)
        state = {name: torch.zeros(n_columns, dtype=torch.float64) for name in ("median", "typical")}
        for column, cells in enumerate(values.T):
            known = cells[~np.isnan(cells)]
            if self.cardinalities[column]:
                counts = np.bincount(known.astype(np.int64), minlength=self.cardinalities[column] + 1)[:-1]
                state[f"slots_{column}"] = _slots(counts)
            elif stretch and len(known):
                middle = float(np.median(known))
                off = np.abs(known - middle)
                typical = float(np.exp(np.log(off[off > 0]).mean())) if (off > 0).any() else 0.0
                if known.std() > HEAVY * typical:
                    state["median"][column], state["typical"][column] = middle, typical
        self.restore({**state, "centre": torch.zeros(0), "spread": torch.zeros(0)})
        raw = self._raw(values)
        state["centre"], state["spread"] = _moments(raw, self.owners)
        return self.restore(state)

    def restore(self, state: Mapping[str, Tensor]) -> RowScale:
        """Take what :meth:`learn` found, as ``state_dict`` gives it."""
        for name, tensor in state.items():
            self.register_buffer(name, tensor)
        return self

    @property
    def owners(self) -> Tensor:
        """The column of each feature, shape (features,)."""
        widths = [
            1 if not size else int(self._slots(column).max()) + 1 for column, size in enumerate(self.cardinalities)
        ]
        return torch.repeat_interleave(torch.arange(len(widths)), torch.tensor(widths, dtype=torch.int64))

    def forward(self, values: Floats) -> Tensor:
        """Return features, shape (n, features), float32; NaN where a cell is unknown."""
        features = (self._raw(values) - self.centre) / self.spread
        is_number = torch.tensor([not size for size in self.cardinalities])[self.owners]
        return torch.where(is_number, squash(features), features).float()

    def _slots(self, column: int) -> Tensor:
        slots: Tensor = getattr(self, f"slots_{column}")
        return slots

    def _raw(self, values: Floats) -> Tensor:
        """Numbers, stretched, and indicators, shape (n, features)."""
        blocks = []
        for column, size in enumerate(self.cardinalities):
            cells = torch.tensor(values[:, column], dtype=torch.float64)
            if size:
                slots = self._slots(column)
                known = ~cells.isnan()
                places = slots[cells.where(known, 0.0).long().clamp(0, size)]
                block = torch.nn.functional.one_hot(places, int(slots.max()) + 1).double()
                blocks.append(block.where(known[:, None], torch.nan))
            else:
                typical = float(self.typical[column])
                blocks.append((((cells - self.median[column]) / typical).asinh() if typical else cells)[:, None])
        return torch.cat(blocks, dim=1)


def _slots(counts: NDArray[np.int64]) -> Tensor:
    """The indicator of each category: its own for the most frequent, one for all others, one for those not seen."""
    slots = np.empty(len(counts) + 1, np.int64)
    order = np.argsort(-counts, kind="stable")
    slots[order] = np.minimum(np.arange(len(counts)), MOST_CATEGORIES)
    slots[-1] = slots[:-1].max(initial=-1) + 1
    return torch.from_numpy(slots)


def _moments(raw: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale of each feature; the indicators of a column share a scale, and what never varies has 1."""
    known = ~raw.isnan()
    n = known.sum(0).clamp_min(1)
    centre = raw.where(known, 0.0).sum(0) / n
    variance = (raw - centre).square().where(known, 0.0).sum(0) / n
    together = torch.zeros(int(owners.max()) + 1, dtype=raw.dtype).index_add(0, owners, variance)[owners]
    is_alone = torch.bincount(owners)[owners] == 1
    variance = torch.where(is_alone, variance, together.clamp_min(_LEAST_VARIANCE))
    return centre, torch.where(variance > 0, variance.sqrt(), 1.0)
