"""Which kernels compute float32 products on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

__all__ = ["fast_products", "is_medium_exact", "products_of"]


@contextmanager
def products_of(precision: str) -> Iterator[None]:
    """Compute float32 products inside the block as torch does for this precision: "highest", "high" or "medium".

    Example:
        >>> with products_of("medium"):
        ...     torch.get_float32_matmul_precision()
        'medium'
        >>> torch.get_float32_matmul_precision()
        'highest'
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def fast_products() -> Iterator[None]:
    """Send wide float32 products to oneDNN inside the block, where that computes in float32 as well.

    On AMD processors oneDNN is faster than MKL for wide layers and large batches, and slower for narrow ones. Torch
    reaches it by the precision "medium", which on processors with matrix units means bfloat16: there nothing changes.
    """
    before = torch.get_float32_matmul_precision()
    with products_of("medium" if before == "highest" and is_medium_exact() else before):
        yield


@cache
def is_medium_exact() -> bool:
    """Whether ``matmul="medium"`` still computes in float32 here: judged by its error, not by the name of the CPU."""
    a, b = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(0)).unbind()
    exact = a.double() @ b.double()
    with products_of("medium"):
        error = ((a @ b).double() - exact).abs().max() / exact.abs().max()
    return bool(error < 1e-5)
