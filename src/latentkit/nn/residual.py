"""Residual blocks of convolutions."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResidualConvolutions"]


@final
class ResidualConvolutions(nn.Module):
    r"""What two convolutions with a rectifier between them add to their input.

    .. math:: y = x + W_2 * \max(0, W_1 * x + b_1) + b_2

    The first is of 3 x 3 places, the second of one; nothing is normalised. It starts near the identity.

    Args:
        channels: Of input and output.

    Attributes:
        inner: The first convolution.
        outer: The second one.

    Example:
        >>> ResidualConvolutions(8)(torch.zeros(2, 8, 5, 7)).shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1)
        self.outer = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            self.outer.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, shape (n, channels, height, width), that of x."""
        total: Tensor = x + self.outer(functional.relu(self.inner(x)))
        return total
