"""Distance between two sets of examples, through features that are named."""

from __future__ import annotations

import torch
from torch import Tensor

from latentkit.evaluation.inputs import Numbers, check_pair

__all__ = ["frechet_distance"]


def frechet_distance(features_a: Numbers, features_b: Numbers) -> float:
    r"""Squared Frechet (2-Wasserstein) distance of the Gaussians fitted to two sets of features.

    .. math:: |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2})

    On Inception features this is the FID; on any other features it is not, and figures of different features cannot be
    compared. Lower is better. It is computed in float64, and biased upwards for few examples: compare sets of equal
    size, and quote the distance of two real sets beside it as the floor.

    Args:
        features_a: Shape (n_a, features), n_a at least 2.
        features_b: Shape (n_b, features), n_b at least 2.

    Returns:
        At least 0; 0 where the first two moments agree.

    Raises:
        InvalidParameterError: If the shapes do not fit, a set has fewer than 2 rows, or a number is not finite.

    References:
        Dowson and Landau, 1982, The Frechet Distance between Multivariate Normal Distributions.
        Heusel et al., 2017, arXiv:1706.08500.

    Example:
        >>> line = torch.tensor([[0.0], [2.0]])
        >>> frechet_distance(line, line + 3.0)
        9.0
    """
    features_a, features_b = check_pair(("features_a", features_a), ("features_b", features_b), at_least=2)
    (mean_a, factor_a), (mean_b, factor_b) = _moments(features_a), _moments(features_b)
    # C = F^T F, so the trace of the root of C_a^{1/2} C_b C_a^{1/2} is the sum of the singular values of F_a F_b^T
    overlap = torch.linalg.svdvals(factor_a @ factor_b.mT).sum()
    distance = (mean_a - mean_b).square().sum() + factor_a.square().sum() + factor_b.square().sum() - 2.0 * overlap
    return max(0.0, float(distance))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and a factor F of the unbiased covariance F^T F with at most as many rows as features, in float64."""
    mean = features.mean(0)
    centred = (features - mean) / (features.shape[0] - 1) ** 0.5
    if centred.shape[0] > centred.shape[1]:
        centred = torch.linalg.qr(centred, mode="r").R
    return mean, centred
