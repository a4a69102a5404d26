"""Importance weights of the posterior's draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Batch, LatentVariableModel
from latentkit.objectives.phases import log_likelihood

__all__ = ["log_importance_weights", "log_mean_exp"]


def log_mean_exp(values: Tensor, dim: int = 0) -> Tensor:
    """Return log(mean(exp(values))) over one dimension, without overflow.

    Example:
        >>> log_mean_exp(torch.tensor([1000.0, 1000.0]))
        tensor(1000.)
    """
    return torch.logsumexp(values, dim) - math.log(values.shape[dim])


def log_importance_weights(
    model: LatentVariableModel,
    x: Tensor,
    n_samples: int,
    *,
    noise: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Log-weights of draws from the posterior, in nats.

    .. math:: log w_k = log p(x | z_k) + log p(z_k) - log q(z_k | x),    z_k ~ q(z | x)

    exp(log w_k) is an unbiased estimate of p(x); :func:`log_mean_exp` over the draws is the importance-weighted bound.

    Args:
        model: Its posterior is reparameterised.
        x: Data in model units, shape (batch, *event).
        n_samples: Number of draws for each example, at least 1.
        noise: Standard normal numbers, shape (n_samples, batch, latent), in place of drawn ones.
        mask: True where a feature was observed, shape of `x`; only these count.

    Returns:
        Shape (n_samples, batch).

    Raises:
        InvalidParameterError: If `n_samples` is below 1.

    References:
        Burda et al., 2016, Importance Weighted Autoencoders, section 3, arXiv:1509.00519.
    """
    check_integer("n_samples", n_samples, low=1)
    posterior = model.encode(x)
    z = posterior.rsample(n_samples, noise=noise)
    return log_likelihood(model, z, Batch(x, mask)) + model.prior().log_prob(z) - posterior.log_prob(z)
