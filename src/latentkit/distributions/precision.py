"""The precision of distributions: at least float32, whatever the networks computed in."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_least_float32", "wide", "without_autocast"]


def at_least_float32(value: Tensor) -> Tensor:
    """Return `value` as float32 where it is of lower precision; float32 and float64 pass unchanged.

    Sums of log-probabilities over hundreds of features lose whole nats in bfloat16, so every distribution does this to
    its parameters.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return value if value.dtype is torch.float32 or value.dtype is torch.float64 else value.float()


def wide(value: Tensor) -> Tensor:
    """Return `value` in float64, or float32 on a device that has no float64 (Apple's).

    For the few formulas that lose digits in single precision.

    Example:
        >>> wide(torch.zeros(2)).dtype
        torch.float64
    """
    return value.float() if value.device.type == "mps" else value.double()


def without_autocast(value: Tensor) -> torch.autocast:
    """Return a context in which matrix products on the device of `value` keep their precision."""
    return torch.autocast(value.device.type, enabled=False)
