"""Fidelity and diversity of samples apart: precision and recall, density and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.evaluation.inputs import Numbers, check_pair
from latentkit.evaluation.neighbours import kth_neighbour_distances, squared_distance_blocks

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "precision_recall"]

# A copy of a neighbour lies on the ball's surface: it is inside, whichever way the last bit was rounded.
_SURFACE = 1.0 + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRecall:
    """Overlap of the manifolds of two sets.

    Attributes:
        precision: Share of generated rows within the real manifold, in [0, 1], higher is better: fidelity.
        recall: Share of real rows within the generated manifold, in [0, 1], higher is better: diversity.
        n_neighbours: Neighbour k whose distance is the radius of a ball.
        n_real: Real rows.
        n_generated: Generated rows.
    """

    precision: float
    recall: float
    n_neighbours: int
    n_real: int
    n_generated: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return _computed_with(self.n_neighbours, self.n_real, self.n_generated)


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityCoverage:
    """How densely samples lie where real rows do, and how many real rows have samples near.

    Attributes:
        density: Mean number of real balls that a generated row lies in, over k: at least 0, not bounded by 1; about 1
            for two sets from one distribution. Higher is better up to there; above, samples crowd into dense parts.
        coverage: Share of real rows whose ball holds a generated row, in [0, 1], higher is better.
        n_neighbours: Neighbour k whose distance is the radius of a ball.
        n_real: Real rows.
        n_generated: Generated rows.
    """

    density: float
    coverage: float
    n_neighbours: int
    n_real: int
    n_generated: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return _computed_with(self.n_neighbours, self.n_real, self.n_generated)

    @property
    def expected_coverage(self) -> float:
        r"""Coverage to be expected of a second real set of the size of the generated one.

        .. math:: 1 - \prod_{i=0}^{k-1} \frac{N - 1 - i}{N + M - 1 - i}

        with N real and M generated rows: of the k nearest of the other N + M - 1 rows, not all are real.
        """
        missed = 1.0
        for i in range(self.n_neighbours):
            missed *= (self.n_real - 1 - i) / (self.n_real + self.n_generated - 1 - i)
        return 1.0 - missed


def precision_recall(real: Numbers, generated: Numbers, *, n_neighbours: int = 3) -> PrecisionRecall:
    r"""Share of samples that look real, and share of real rows that could have been sampled.

    .. math::
        precision = \frac{1}{M} |\{j : \exists i, |y_j - x_i| \le r_k(x_i)\}|, \quad
        recall = \frac{1}{N} |\{i : \exists j, |x_i - y_j| \le r_k(y_j)\}|

    with r_k the distance to the k-th nearest row of the own set. Both lie in [0, 1], higher is better. Both are biased:
    balls are wide where rows are few, so they fall with more rows, and one outlier makes a ball that swallows much.
    Compare sets of equal size, and quote two real sets beside them as the floor.

    Args:
        real: Features, shape (n_real, features), more rows than `n_neighbours`.
        generated: Features, shape (n_generated, features), more rows than `n_neighbours`.
        n_neighbours: k, at least 1.

    Returns:
        Both shares. Time is that of (n_real + n_generated)^2 distances; memory is bounded.

    Raises:
        InvalidParameterError: If the shapes do not fit, a set has too few rows, or a number is not finite.

    References:
        Kynkaanniemi et al., 2019, Improved Precision and Recall Metric for Assessing Generative Models,
        arXiv:1904.06991.

    Example:
        >>> grid = torch.arange(10.0)[:, None]
        >>> result = precision_recall(grid, grid[:5], n_neighbours=1)
        >>> result.precision, result.recall
        (1.0, 0.6)
    """
    real, generated = _pair(real, generated, n_neighbours)
    real_radii = kth_neighbour_distances(real, real, k=n_neighbours, skip_self=True) * _SURFACE
    radii = kth_neighbour_distances(generated, generated, k=n_neighbours, skip_self=True) * _SURFACE
    n_inside = 0
    is_reached = torch.zeros(real.shape[0], dtype=torch.bool, device=real.device)
    for rows, block in squared_distance_blocks(generated, real):
        n_inside += int((block <= real_radii).any(1).sum())
        is_reached |= (block <= radii[rows, None]).any(0)
    return PrecisionRecall(
        precision=n_inside / generated.shape[0],
        recall=float(is_reached.double().mean()),
        n_neighbours=n_neighbours,
        n_real=real.shape[0],
        n_generated=generated.shape[0],
    )


def density_coverage(real: Numbers, generated: Numbers, *, n_neighbours: int = 5) -> DensityCoverage:
    r"""Fidelity and diversity that outliers do not spoil.

    .. math::
        density = \frac{1}{k M} \sum_{j, i} 1[|y_j - x_i| \le r_k(x_i)], \quad
        coverage = \frac{1}{N} |\{i : \exists j, |y_j - x_i| \le r_k(x_i)\}|

    with r_k the distance to the k-th nearest other real row. Density is at least 0 and about 1 for two sets of one
    distribution; coverage lies in [0, 1] and has a known expectation there, 1 - 2^-k for many rows (0.97 for k = 5).
    Higher is better for both. The expectations hold at any size, so small samples are noisy rather than biased; both
    depend on the ratio of the sizes, so use equal ones.

    Args:
        real: Features, shape (n_real, features), more rows than `n_neighbours`.
        generated: Features, shape (n_generated, features), more rows than `n_neighbours`.
        n_neighbours: k, at least 1.

    Returns:
        Both figures. Time is that of n_real * (n_real + n_generated) distances; memory is bounded.

    Raises:
        InvalidParameterError: If the shapes do not fit, a set has too few rows, or a number is not finite.

    References:
        Naeem et al., 2020, Reliable Fidelity and Diversity Metrics for Generative Models, arXiv:2002.09797.

    Example:
        >>> grid = torch.arange(10.0)[:, None]
        >>> result = density_coverage(grid, grid[:5], n_neighbours=1)
        >>> result.density, result.coverage
        (2.8, 0.6)
    """
    real, generated = _pair(real, generated, n_neighbours)
    radii = kth_neighbour_distances(real, real, k=n_neighbours, skip_self=True) * _SURFACE
    n_inside = 0
    is_covered = torch.zeros(real.shape[0], dtype=torch.bool, device=real.device)
    for _, block in squared_distance_blocks(generated, real):
        inside = block <= radii
        n_inside += int(inside.sum())
        is_covered |= inside.any(0)
    return DensityCoverage(
        density=n_inside / (n_neighbours * generated.shape[0]),
        coverage=float(is_covered.double().mean()),
        n_neighbours=n_neighbours,
        n_real=real.shape[0],
        n_generated=generated.shape[0],
    )


def _pair(real: Numbers, generated: Numbers, n_neighbours: int) -> tuple[Tensor, Tensor]:
    check_integer("n_neighbours", n_neighbours, low=1)
    return check_pair(("real", real), ("generated", generated), at_least=n_neighbours + 1)


def _computed_with(n_neighbours: int, n_real: int, n_generated: int) -> str:
    return f"{n_neighbours} nearest neighbours, {n_real:,} real and {n_generated:,} generated rows"
