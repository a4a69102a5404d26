"""Several networks of one shape in one pass: the members of an ensemble, stacked."""

from __future__ import annotations

import math
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["STEADY_WIDTH", "MemberLinear", "MemberPerceptron"]

#: Products of widths that it divides give each row the same figures at every place of a batch (measured with MKL).
STEADY_WIDTH: Final = 16


@final
class MemberLinear(nn.Module):
    r"""A linear layer for each member, all in one batched product.

    .. math:: y_m = x_m W_m + b_m

    Args:
        n_members: Number of members.
        n_inputs: Numbers that each takes.
        n_outputs: Numbers that each gives.

    Example:
        >>> MemberLinear(4, 3, 2)(torch.zeros(4, 10, 3)).shape
        torch.Size([4, 10, 2])
    """

    def __init__(self, n_members: int, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        spread = math.sqrt(2.0 / (n_inputs + n_outputs))
        self.weight = nn.Parameter(torch.randn(n_members, n_inputs, n_outputs) * spread)
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return y for x of shape (members, batch, inputs).

        In evaluation mode a row's figures are the same wherever in the batch it stands, bit for bit: products of odd
        widths are computed by kernels that treat the last rows of a batch in another order.
        """
        n_outputs = self.bias.shape[-1]
        missing = -n_outputs % STEADY_WIDTH
        if self.training or not missing:
            return torch.baddbmm(self.bias, x, self.weight)
        bias, weight = functional.pad(self.bias, (0, missing)), functional.pad(self.weight, (0, missing))
        return torch.baddbmm(bias, x, weight)[..., :n_outputs]


@final
class MemberPerceptron(nn.Module):
    r"""A perceptron of two hidden layers for each member, with a linear path beside it.

    .. math:: h_1 = a(W_1 x + b_1), \quad h_2 = h_1 + a(W_2 h_1 + b_2), \quad y = W_3 h_2 + b_3 + [A x + c, 0]

    with a the SiLU. The linear path reaches the first `n_linear` outputs, so that what principal components would find
    need not be learnt by the hidden layers.

    Args:
        n_members: Number of members.
        n_inputs: Numbers that each takes.
        n_outputs: Numbers that each gives.
        n_linear: Outputs with a linear path.
        width: Of the hidden layers.
    """

    def __init__(self, n_members: int, n_inputs: int, n_outputs: int, *, n_linear: int, width: int) -> None:
        super().__init__()
        self.first = MemberLinear(n_members, n_inputs, width)
        self.second = MemberLinear(n_members, width, width)
        self.last = MemberLinear(n_members, width, n_outputs)
        self.straight = MemberLinear(n_members, n_inputs, n_linear)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, shape (members, batch, outputs), for x of shape (members, batch, inputs)."""
        h = functional.silu(self.first(x))
        y: Tensor = self.last(h + functional.silu(self.second(h)))
        straight = self.straight(x)
        return y + functional.pad(straight, (0, y.shape[-1] - straight.shape[-1]))
