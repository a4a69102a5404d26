"""Distance between two sets of examples, through features that are named."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer
from latentkit.core.seeds import generator

__all__ = ["frechet_distance", "random_convolution_features"]


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    r"""Squared Frechet (2-Wasserstein) distance of the Gaussians fitted to two sets of features.

    .. math:: |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2})

    On Inception features this is the FID; on any other features it is not, and figures of different features cannot be
    compared. It is computed in float64, and biased upwards for few examples: compare sets of equal size, and quote
    the distance of two real sets beside it as the floor.

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
    shapes = f"{tuple(features_a.shape)} and {tuple(features_b.shape)}"
    if features_a.ndim != 2 or features_b.ndim != 2 or features_a.shape[1] != features_b.shape[1]:
        raise InvalidParameterError(f"features must be two arrays of shape (n, features), equally wide; got {shapes}.")
    if min(features_a.shape[0], features_b.shape[0]) < 2:
        raise InvalidParameterError(f"a covariance needs at least 2 examples in each set; got shapes {shapes}.")
    (mean_a, factor_a), (mean_b, factor_b) = _moments(features_a), _moments(features_b)
    # C = F^T F, so the trace of the root of C_a^{1/2} C_b C_a^{1/2} is the sum of the singular values of F_a F_b^T
    overlap = torch.linalg.svdvals(factor_a @ factor_b.mT).sum()
    distance = (mean_a - mean_b).square().sum() + factor_a.square().sum() + factor_b.square().sum() - 2.0 * overlap
    return max(0.0, float(distance))


def random_convolution_features(images: Tensor, *, n_features: int = 64, seed: int = 0) -> Tensor:
    """Features of images from a small convolutional network with fixed random weights.

    Three layers of 3 x 3 filters with stride 2, leaky rectifiers, then the mean and the maximum over the grid. Nothing
    is learnt or loaded, so the features exist for any images, without labels; they see edges and textures, not
    meaning. Equal arguments give equal features up to rounding.

    Args:
        images: Shape (n, channels, height, width), model units.
        n_features: Width of the result, an even number of at least 2.
        seed: Another seed is another network; distances from different seeds cannot be compared.

    Returns:
        Shape (n, n_features), float32.

    Raises:
        InvalidParameterError: If the images are not 4-D or `n_features` is odd or below 2.

    References:
        Saxe et al., 2011, On Random Weights and Unsupervised Feature Learning, ICML.
    """
    if images.ndim != 4:
        raise InvalidParameterError(
            f"images must have shape (n, channels, height, width); got {tuple(images.shape)}. "
            "Rows of a table need no feature map: give them to frechet_distance as they are."
        )
    check_integer("n_features", n_features, low=2)
    if n_features % 2:
        raise InvalidParameterError(f"n_features must be even (means and maxima of each filter); got {n_features}.")
    widths = (images.shape[1], 16, 32, n_features // 2)
    source = generator(seed, "random-convolution", *widths)
    filters = [
        (torch.randn(out, wide, 3, 3, generator=source) * (2.0 / (9 * wide)) ** 0.5).to(images.device)
        for wide, out in pairwise(widths)
    ]
    with torch.inference_mode():
        parts = []
        for start in range(0, images.shape[0], 512):
            grid = images[start : start + 512].float()
            for weight in filters:
                grid = functional.leaky_relu(functional.conv2d(grid, weight, stride=2, padding=1), 0.2)
            parts.append(torch.cat((grid.mean((2, 3)), grid.amax((2, 3))), dim=1))
        features = torch.cat(parts) if parts else torch.empty(0, n_features)
    return features.clone()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and a factor F of the unbiased covariance F^T F with at most as many rows as features, in float64."""
    features = features.detach().double()
    if not torch.isfinite(features).all():
        raise InvalidParameterError("features must be finite; look for NaN or infinity in the examples.")
    mean = features.mean(0)
    centred = (features - mean) / (features.shape[0] - 1) ** 0.5
    if centred.shape[0] > centred.shape[1]:
        centred = torch.linalg.qr(centred, mode="r").R
    return mean, centred
