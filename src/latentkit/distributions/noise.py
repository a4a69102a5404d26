"""Random numbers for draws: every draw takes an explicit generator, which may live on another device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from latentkit.core.seeds import RowGenerator

__all__ = ["drawn_shape", "gumbel", "logistic", "standard_normal", "uniform"]


def drawn_shape(n: int | None, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of `n` draws of `shape`: ``(n, *shape)``, or `shape` alone where `n` is None."""
    return tuple(shape) if n is None else (n, *shape)


def standard_normal(shape: Sequence[int], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard normal numbers with the device and dtype of `like`.

    They are drawn on the generator's own device and then moved, so that a seeded CPU generator gives the same numbers
    to a model on any device.

    Example:
        >>> standard_normal((2, 3), like=torch.zeros(()), generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """
    if generator is None:
        return torch.randn(shape, dtype=like.dtype, device=like.device)
    if isinstance(generator, RowGenerator):
        return generator.normal(shape, dtype=like.dtype).to(like.device)
    return torch.randn(shape, dtype=like.dtype, device=generator.device, generator=generator).to(like.device)


def uniform(shape: Sequence[int], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return uniform numbers in [0, 1) with the device and dtype of `like`, drawn on the generator's own device."""
    if generator is None:
        return torch.rand(shape, dtype=like.dtype, device=like.device)
    if isinstance(generator, RowGenerator):
        return generator.uniform(shape, dtype=like.dtype).to(like.device)
    return torch.rand(shape, dtype=like.dtype, device=generator.device, generator=generator).to(like.device)


def gumbel(shape: Sequence[int], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard Gumbel numbers: the argmax of logits + Gumbel is a draw from the categories."""
    if isinstance(generator, RowGenerator):
        return -torch.log(-torch.log(uniform(shape, like=like, generator=generator)))
    device = like.device if generator is None else generator.device
    exponential = torch.empty(shape, dtype=like.dtype, device=device).exponential_(generator=generator)
    return -exponential.log().to(like.device)


def logistic(shape: Sequence[int], *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return standard logistic numbers: a Gumbel number minus another."""
    return gumbel(shape, like=like, generator=generator) - gumbel(shape, like=like, generator=generator)
