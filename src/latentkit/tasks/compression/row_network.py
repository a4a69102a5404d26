"""The distributions of the columns of a table, in floating-point numbers, while they are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from latentkit.codec.exact import ExactLayer
from latentkit.codec.rows.conditional import HIDDEN, HIDDEN_STEP, LOGITS, N_KIN, ColumnTables, Conditionals
from latentkit.codec.rows.softmax import LOGIT_STEP, SHARPEST, UNITS
from latentkit.core.seeds import generator

__all__ = ["ColumnShape", "RowNetwork"]

Integers = NDArray[np.int64]

_RATE_STEP: Final = 1 / 16  # of a number, for the estimate of what it costs
_BIAS_STEP: Final = 1 / 8  # nats
_WEIGHT_SHIFT: Final = 5  # bits of a weight behind the point
_CENTRE_SHIFT: Final = 4  # bits by which positions are finer than logits
_MOST_WEIGHT: Final = 511
_LEAST_KIN: Final = 0.25  # nats that kin have to change


@final
@dataclass(frozen=True, eq=False)
class ColumnShape:
    """What the network has to know of a column.

    Attributes:
        counts: How often each symbol was seen.
        positions: Where the symbols lie; see :class:`ColumnTables`.
        groups: Number of the group of each.
        n_bump: How many symbols lie under a bump; 0 if there is none.
        parent: Column that suggests a symbol; -1 if none does.
        usual: What each symbol of the parent suggests.
    """

    counts: Integers
    positions: Integers
    groups: Integers
    n_bump: int
    parent: int
    usual: Integers

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return int(self.groups[-1]) + 1


@final
class RowNetwork(nn.Module):
    """What :class:`Conditionals` computes, to be differentiated.

    Args:
        order: The columns, as they are coded.
        shapes: Of the columns, by number.
        n_hidden: Hidden units.
        seed: For the parameters to start from.
    """

    def __init__(self, order: Sequence[int], shapes: Sequence[ColumnShape], *, n_hidden: int, seed: int) -> None:
        super().__init__()
        random, n = generator(seed, "row network"), len(shapes)
        self.order, self.shapes, self.n_hidden = tuple(order), tuple(shapes), n_hidden
        self.embeddings, self.biases, self.heads = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self.kin_embeddings = nn.ParameterList()
        for number, shape in enumerate(shapes):
            n_outputs = shape.n_groups + 2 * (shape.n_bump > 0)
            # the last column of a head is its bias
            head = 0.02 * torch.randn(n_outputs, n_hidden + 1, generator=random)
            head[:, -1] = 0.0
            if shape.n_bump:
                head[-1, -1] = -1.0
            self.heads.append(nn.Parameter(head))
            self.embeddings.append(nn.Parameter(0.1 * torch.randn(shape.n_groups, n_hidden, generator=random)))
            self.kin_embeddings.append(nn.Parameter(torch.zeros(shape.n_groups, n_hidden)))
            shares = torch.from_numpy((shape.counts + 0.3) / (shape.counts + 0.3).sum()).float()
            self.biases.append(nn.Parameter(shares.log()))
            self.register_buffer(f"positions_{number}", torch.from_numpy(shape.positions / UNITS).float())
            self.register_buffer(f"groups_{number}", torch.from_numpy(shape.groups))
            self.register_buffer(f"usual_{number}", torch.from_numpy(shape.usual))
        is_number = torch.tensor([bool(shape.positions.any()) for shape in shapes]).float()
        self.slopes = nn.Parameter(0.1 * torch.randn(n, n_hidden, generator=random) * is_number[:, None])
        self.offsets = nn.Parameter(torch.zeros(n, n_hidden))
        self.kin = nn.Parameter(torch.zeros(N_KIN + 1, n_hidden))
        self.direct = nn.Parameter(torch.zeros(n, n))
        self.boosts = nn.Parameter(torch.zeros(n))
        self.kin_boosts = nn.Parameter(torch.zeros(n, N_KIN))
        self.kin_peaks = nn.Parameter(torch.full((n, N_KIN), 0.5))
        self.kin_sharpness = nn.Parameter(torch.ones(n, N_KIN))

    def forward(self, symbols: Tensor, kin: Tensor) -> Tensor:
        """Return nats of each column, shape (n, columns).

        Args:
            symbols: Of rows, shape (n, columns).
            kin: Symbols of rows with the same key, -1 where there is none, shape (n, kin, columns).
        """
        has_kin = kin[:, :, 0] >= 0
        hidden = self.kin[has_kin.sum(1)]
        found = has_kin[:, 0].nonzero()[:, 0]
        if len(found):
            there = [self.get_buffer(f"groups_{number}")[kin[found, 0, number]] for number in self.order]
            told = [self.kin_embeddings[number][groups] for number, groups in zip(self.order, there, strict=True)]
            hidden = hidden.index_add(0, found, torch.stack(told).sum(0))
        nothing = hidden.new_zeros(len(symbols))
        known, nats = [nothing] * len(self.shapes), [nothing] * len(self.shapes)
        for number in self.order:
            these = symbols[:, number]
            logits = self._logits(number, hidden, torch.stack(known, 1), symbols, kin, has_kin)
            nats[number] = functional.cross_entropy(logits, these, reduction="none")
            place = self.get_buffer(f"positions_{number}")[these]
            hidden = hidden + self.embeddings[number][self.get_buffer(f"groups_{number}")[these]]
            hidden = hidden + place[:, None] * self.slopes[number]
            known[number] = place
        return torch.stack(nats, 1)

    def rate(self) -> Tensor:
        r"""Return about how many bits the parameters take, :math:`\sum \log_2(1 + 16 |w|)`."""
        told = [p for name, p in self.named_parameters() if not name.startswith("biases")]
        return torch.stack([torch.log2(1 + p.abs() / _RATE_STEP).sum() for p in told]).sum()

    def exact(self, coarseness: int = 1) -> Conditionals:
        """Return the same in whole numbers.

        Args:
            coarseness: What weights and embeddings are multiples of: the larger it is, the fewer bits they take.
        """
        tables = [self._table(number, shape, coarseness) for number, shape in enumerate(self.shapes)]
        return Conditionals(self.order, tables, _rounded(self.kin / HIDDEN_STEP, 127))

    def _logits(
        self, number: int, hidden: Tensor, known: Tensor, symbols: Tensor, kin: Tensor, has_kin: Tensor
    ) -> Tensor:
        shape, n = self.shapes[number], len(symbols)
        bias: Tensor = self.biases[number]
        if number == self.order[0]:
            return bias.expand(n, -1)
        units = (hidden + self.offsets[number]).clamp(0.0, HIDDEN.high * HIDDEN_STEP)
        given = units @ self.heads[number][:, :-1].T + self.heads[number][:, -1]
        grouped, groups = given[:, : shape.n_groups], self.get_buffer(f"groups_{number}")
        there = [kin[:, place, number].clamp(min=0) for place in range(N_KIN)]
        for place in range(N_KIN):
            boost = self.kin_boosts[number, place] * has_kin[:, place]
            grouped = grouped.scatter_add(1, groups[there[place]][:, None], boost[:, None])
        logits: Tensor = grouped[:, groups] + bias
        if shape.n_bump:
            every = self.get_buffer(f"positions_{number}")
            positions = every[: shape.n_bump]
            centre, sharpness = given[:, -2] + known @ self.direct[number], given[:, -1]
            found = _bump(positions, centre, sharpness)
            for place in range(N_KIN):
                around = _peak(positions, every[there[place]], self.kin_sharpness[number, place])
                found = found + (self.kin_peaks[number, place] * has_kin[:, place])[:, None] * around
            found = found - found.amax(1, keepdim=True)
            logits = torch.cat([logits[:, : shape.n_bump] + found, logits[:, shape.n_bump :]], 1)
        if shape.parent >= 0:
            usual = self.get_buffer(f"usual_{number}")[symbols[:, shape.parent]]
            logits = logits.scatter_add(1, usual[:, None], self.boosts[number].expand(n, 1))
        return logits

    def _table(self, number: int, shape: ColumnShape, coarseness: int) -> ColumnTables:
        is_first = number == self.order[0]
        head = self.heads[number].detach().double() * (not is_first)
        # what a group has by itself goes to its symbols
        bias = self.biases[number].detach() + head[: shape.n_groups, -1][self.get_buffer(f"groups_{number}")]
        head[: shape.n_groups, -1] = 0.0
        # a step of a hidden unit is worth as much as one of a logit, and sixteen of a position
        weights, shifts = head * (1 << _WEIGHT_SHIFT), torch.full((len(head),), _WEIGHT_SHIFT)
        if shape.n_bump:
            shifts[-2] -= _CENTRE_SHIFT
        layer = ExactLayer(
            _rounded(weights[:, :-1] / coarseness, _MOST_WEIGHT // coarseness) * coarseness,
            _rounded(weights[:, -1] / LOGIT_STEP + (1 << shifts) / 2, _MOST_WEIGHT << 6),
            shifts.numpy(),
            inputs=HIDDEN,
            outputs=LOGITS,
        )
        earlier = torch.zeros(len(self.shapes))
        earlier[list(self.order[: self.order.index(number)])] = 1.0
        kin_boosts, kin_peaks = self.kin_boosts[number].detach(), self.kin_peaks[number].detach()
        # what does little is not worth that rows are kept for it
        is_kin = bool(kin_boosts.abs().max() >= _LEAST_KIN or (shape.n_bump and kin_peaks.abs().max() >= _LEAST_KIN))
        is_kin &= not is_first
        return ColumnTables(
            biases=_rounded((bias - bias.max()) / _BIAS_STEP, 512),
            positions=shape.positions,
            groups=shape.groups,
            embeddings=_rounded(self.embeddings[number] / (HIDDEN_STEP * coarseness), 127 // coarseness) * coarseness,
            slopes=_rounded(self.slopes[number] / HIDDEN_STEP, 127),
            offsets=_rounded(self.offsets[number] / HIDDEN_STEP, 2048),
            head=layer,
            n_bump=shape.n_bump,
            direct=_rounded(self.direct[number] * earlier * bool(shape.n_bump) * 256, 1 << 14),
            parent=shape.parent,
            usual=shape.usual,
            boost=int(_rounded(self.boosts[number : number + 1] / LOGIT_STEP, 2048)[0]),
            kin_boosts=_rounded(kin_boosts * is_kin / LOGIT_STEP, 2048),
            kin_peaks=_rounded(kin_peaks * is_kin * bool(shape.n_bump) / LOGIT_STEP, 2048),
            kin_sharpness=_rounded(self.kin_sharpness[number] * is_kin / LOGIT_STEP, SHARPEST),
            kin_embeddings=_rounded(self.kin_embeddings[number] / (HIDDEN_STEP * coarseness), 127 // coarseness)
            * coarseness,
        )


def _bump(positions: Tensor, centres: Tensor, log_sharpness: Tensor) -> Tensor:
    falling: Tensor = 1.0 - (1.0 + _squares(positions, centres, log_sharpness)).sqrt()
    return falling


def _peak(positions: Tensor, centres: Tensor, log_sharpness: Tensor) -> Tensor:
    return (1.0 + _squares(positions, centres, log_sharpness)).reciprocal()


def _squares(positions: Tensor, centres: Tensor, log_sharpness: Tensor) -> Tensor:
    sharpness = log_sharpness.clamp(-SHARPEST * LOGIT_STEP, SHARPEST * LOGIT_STEP).exp()
    return ((positions - centres[:, None]) * sharpness[..., None]) ** 2


def _rounded(values: Tensor, most: int) -> Integers:
    whole: Integers = values.detach().round().clamp(-most, most).numpy().astype(np.int64)
    return whole
