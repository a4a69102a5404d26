"""Kernel distance between two sets of features, free of bias."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import generator
from latentkit.evaluation.inputs import Numbers, check_pair

__all__ = ["KernelDistance", "kernel_distance"]

_LARGEST_SUBSET = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelDistance:
    """Squared maximum mean discrepancy, and how sure it is.

    Attributes:
        value: Mean over the subsets; lower is better, 0 is expected of two sets from one distribution, and values
            slightly below 0 are then as likely as above.
        standard_error: Standard error of `value`; the subsets share no row, so it is that of their mean.
        n_subsets: Disjoint subsets.
        n_real: Real rows.
        n_generated: Generated rows.
    """

    value: float
    standard_error: float
    n_subsets: int
    n_real: int
    n_generated: int

    @property
    def computed_with(self) -> str:
        """What the figure rests on."""
        return (
            f"cubic polynomial kernel, {self.n_subsets} disjoint subsets, "
            f"{self.n_real:,} real and {self.n_generated:,} generated rows"
        )


def kernel_distance(
    real: Numbers, generated: Numbers, *, n_subsets: int | None = None, seed: int = 0
) -> KernelDistance:
    r"""Unbiased squared maximum mean discrepancy with the cubic kernel of the kernel inception distance.

    .. math::
        \frac{1}{m(m-1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n(n-1)} \sum_{i \ne j} k(y_i, y_j)
        - \frac{2}{mn} \sum_{i, j} k(x_i, y_j), \qquad k(x, y) = (x^T y / d + 1)^3

    averaged over disjoint subsets, so that the cost is linear in the rows and the standard error is an honest one.
    Any real number, lower is better; its expectation does not depend on the number of rows, so sets of unequal size may
    be compared. The kernel sees the scale of the features: figures of different features cannot be compared, and on
    Inception features alone this is the KID.

    Args:
        real: Features, shape (n_real, features), at least 4 rows.
        generated: Features, shape (n_generated, features), at least 4 rows.
        n_subsets: Subsets, from 2 to half of the rows of the smaller set; by default 10 (fewer where rows are few),
            or as many as leave at most 1,000 rows in each.
        seed: Decides which rows share a subset.

    Returns:
        The distance with its standard error.

    Raises:
        InvalidParameterError: If the shapes do not fit, rows are too few, a number is not finite, or `n_subsets` is
            out of range.

    References:
        Binkowski et al., 2018, Demystifying MMD GANs, arXiv:1801.01401. Zaremba et al., 2013, B-test, arXiv:1307.1954
        (disjoint subsets).

    Example:
        >>> x = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
        >>> distance = kernel_distance(x[:250], x[250:] + 1.0)
        >>> distance.value > 10 * distance.standard_error
        True
    """
    real, generated = check_pair(("real", real), ("generated", generated), at_least=4)
    fewest, most = sorted((real.shape[0], generated.shape[0]))
    if n_subsets is None:
        n_subsets = min(fewest // 2, max(10, math.ceil(most / _LARGEST_SUBSET)))
    check_integer("n_subsets", n_subsets, low=2)
    if n_subsets > fewest // 2:
        raise InvalidParameterError(
            f"every subset needs 2 rows of each set, so n_subsets can be at most {fewest // 2} for sets of "
            f"{real.shape[0]} and {generated.shape[0]} rows; got {n_subsets}."
        )
    parts = zip(
        _shuffled(real, seed, "real", n_subsets), _shuffled(generated, seed, "generated", n_subsets), strict=True
    )
    values = torch.tensor([_unbiased(x, y) for x, y in parts], dtype=torch.float64)
    return KernelDistance(
        value=float(values.mean()),
        standard_error=float(values.std() / math.sqrt(n_subsets)),
        n_subsets=n_subsets,
        n_real=real.shape[0],
        n_generated=generated.shape[0],
    )


def _shuffled(rows: Tensor, seed: int, name: str, n_parts: int) -> tuple[Tensor, ...]:
    order = torch.randperm(rows.shape[0], generator=generator(seed, "kernel-distance", name))
    return rows[order.to(rows.device)].tensor_split(n_parts)


def _unbiased(x: Tensor, y: Tensor) -> float:
    return _within(x) + _within(y) - 2.0 * float(_kernel(x, y).mean())


def _within(x: Tensor) -> float:
    kernel = _kernel(x, x)
    return float(kernel.sum() - kernel.diagonal().sum()) / (x.shape[0] * (x.shape[0] - 1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.mT / x.shape[1] + 1.0).pow(3)
