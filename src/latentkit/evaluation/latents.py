"""What the latent dimensions carry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_real
from latentkit.distributions import DiagonalGaussian, StandardNormal, kl_per_dimension

__all__ = ["LatentSummary", "active_units", "summarize_latents"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSummary:
    """The posteriors of a data set, dimension by dimension.

    Attributes:
        n: Rows that were summarised.
        kl_per_dimension: Mean KL(q(z_j given x), N(0, 1)) over the rows, nats, float64, shape (latent,). Near 0: the
            dimension says nothing about x. None where posteriors are points, which have no divergence.
        mean_variance: Variance over the rows of the posterior mean, Var_x(E[z_j given x]), float64, shape (latent,).
        active: Whether `mean_variance` is above the threshold of :func:`active_units`, bool, shape (latent,).
        aggregate_mean: Mean of the aggregate posterior q(z) = E_x q(z given x), float64, shape (latent,).
        aggregate_covariance: Its covariance, Cov_x(E[z given x]) + E_x(Cov[z given x]), shape (latent, latent).
    """

    n: int
    kl_per_dimension: Tensor | None
    mean_variance: Tensor
    active: Tensor
    aggregate_mean: Tensor
    aggregate_covariance: Tensor

    @property
    def kl(self) -> float | None:
        """Mean divergence of the posteriors from the standard normal, nats; None where they are points."""
        return None if self.kl_per_dimension is None else float(self.kl_per_dimension.sum())

    @property
    def order(self) -> Tensor:
        """Dimensions, the one that carries most first: by KL, or by the variance of the mean where there is none."""
        weight = self.mean_variance if self.kl_per_dimension is None else self.kl_per_dimension
        return weight.argsort(descending=True, stable=True)

    @property
    def n_active(self) -> int:
        """Number of active dimensions."""
        return int(self.active.sum())

    @property
    def aggregate_gap(self) -> float:
        r"""Divergence from N(0, I) of the Gaussian with the aggregate posterior's moments, nats.

        .. math:: 1/2 (tr C + m^T m - d - \log \det C)

        It bounds from below nothing in general, but a large value shows that N(0, I) is a poor prior to sample from.
        """
        trace = self.aggregate_covariance.trace() + self.aggregate_mean.square().sum()
        dim = self.aggregate_mean.shape[0]
        return float(0.5 * (trace - dim - torch.linalg.slogdet(self.aggregate_covariance).logabsdet))


def active_units(means: Tensor, *, threshold: float = 0.01) -> Tensor:
    """Tell which latent dimensions the encoder uses.

    .. math:: A_j = Var_x(E[z_j | x]) > threshold

    Args:
        means: Posterior means, shape (n, latent), n at least 2.
        threshold: Variance above which a dimension counts as active, at least 0.

    Returns:
        Bool, shape (latent,).

    Raises:
        InvalidParameterError: If `threshold` is below 0 or there are fewer than 2 rows.

    References:
        Burda et al., 2016, Importance Weighted Autoencoders, section 5, arXiv:1509.00519.

    Example:
        >>> active_units(torch.tensor([[-1.0, 0.0], [1.0, 0.01]]))
        tensor([ True, False])
    """
    check_real("threshold", threshold, low=0.0)
    return _rows(means).var(0) > threshold


def summarize_latents(means: Tensor, log_vars: Tensor | None = None, *, threshold: float = 0.01) -> LatentSummary:
    """Summarise the posteriors of a data set against the standard normal prior.

    Args:
        means: Posterior means, shape (n, latent), n at least 2.
        log_vars: Logarithms of the posterior variances, shape (n, latent); None where posteriors are points.
        threshold: Variance above which a dimension counts as active.

    Returns:
        Figures per dimension, computed in float64.

    Raises:
        InvalidParameterError: If there are fewer than 2 rows or the shapes differ.

    References:
        Hoffman and Johnson, 2016, ELBO surgery (the aggregate posterior).
    """
    means = _rows(means)
    if log_vars is not None and log_vars.shape != means.shape:
        raise InvalidParameterError(
            f"means and log_vars must have one shape; got {tuple(means.shape)} and {tuple(log_vars.shape)}."
        )
    divergences, variances = None, torch.zeros_like(means[0])
    if log_vars is not None:
        posteriors = DiagonalGaussian(means, log_vars.double())
        divergences = kl_per_dimension(posteriors, StandardNormal(means.shape[1])).mean(0)
        variances = log_vars.double().exp().mean(0)
    centred = means - means.mean(0)
    spread = centred.mT @ centred / means.shape[0]
    return LatentSummary(
        n=means.shape[0],
        kl_per_dimension=divergences,
        mean_variance=means.var(0),
        active=active_units(means, threshold=threshold),
        aggregate_mean=means.mean(0),
        aggregate_covariance=spread + torch.diag(variances),
    )


def _rows(means: Tensor) -> Tensor:
    if means.ndim != 2 or means.shape[0] < 2:
        raise InvalidParameterError(
            f"a variance over examples needs at least 2 rows of shape (latent,); got shape {tuple(means.shape)}."
        )
    return means.double()
