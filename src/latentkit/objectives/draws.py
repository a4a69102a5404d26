"""What an objective draws from the posterior of a batch, once, before it weighs it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.protocols import Batch, Distribution, LatentVariableModel, Posterior, Terms
from latentkit.distributions import DiagonalGaussian, FullGaussian, kl_divergence
from latentkit.objectives.phases import given, log_likelihood

__all__ = ["OneDraw", "WeightedDraws", "as_gaussian", "draw_once", "draw_weighted"]


@dataclass(frozen=True, slots=True)
class OneDraw:
    """One z for each example, and what was computed on the way.

    Attributes:
        posterior: q(z given x).
        prior: p(z).
        z: Reparameterised draw, shape (batch, latent).
        log_likelihood: log p(x given z) of the observed features, nats, shape (batch,).
        kl: Divergence of the posterior from the prior, nats, shape (batch,).
    """

    posterior: Posterior
    prior: Distribution
    z: Tensor
    log_likelihood: Tensor
    kl: Tensor

    def terms(self, penalty: Tensor) -> Terms:
        """Terms whose objective is the log-likelihood minus a penalty that broadcasts to shape (batch,)."""
        return Terms(objective=self.log_likelihood - penalty, log_likelihood=self.log_likelihood, kl=self.kl)


def draw_once(model: LatentVariableModel, batch: Batch) -> OneDraw:
    """Draw one z for each example of a batch, given its condition."""
    model = given(model, batch)
    posterior, prior = model.encode(batch.x), model.prior()
    z = posterior.rsample()
    return OneDraw(posterior, prior, z, log_likelihood(model, z, batch), kl_divergence(posterior, prior, z=z))


@dataclass(frozen=True, slots=True)
class WeightedDraws:
    """Several z for each example and their importance weights.

    Attributes:
        z: Reparameterised draws, shape (draws, batch, latent).
        log_likelihood: log p(x given z), nats, shape (draws, batch).
        log_weights: log p(x given z) + weight (log p(z) - log q(z given x)), nats, shape (draws, batch).
        kl: Divergence of the posterior from the prior, without gradient, nats, shape (batch,).
    """

    z: Tensor
    log_likelihood: Tensor
    log_weights: Tensor
    kl: Tensor

    def terms(self, objective: Tensor) -> Terms:
        """Terms of an objective, shape (batch,); the log-likelihood is the mean over the draws."""
        return Terms(objective=objective, log_likelihood=self.log_likelihood.mean(0), kl=self.kl)


def draw_weighted(
    model: LatentVariableModel, batch: Batch, n: int, kl_weight: float, *, path_only: bool = False
) -> WeightedDraws:
    """Draw n times for each example and weigh the draws.

    Args:
        model: Its posterior is reparameterised.
        batch: The examples, with their condition.
        n: Draws for each example.
        kl_weight: Power of p(z) / q(z given x) in the weights.
        path_only: Cut the posterior's density from the graph, so that z alone leads to its parameters.
    """
    model = given(model, batch)
    posterior, prior = model.encode(batch.x), model.prior()
    z = posterior.rsample(n)
    fit = log_likelihood(model, z, batch)
    density = posterior.detach() if path_only else posterior
    log_weights = fit + kl_weight * (prior.log_prob(z) - density.log_prob(z))
    with torch.no_grad():
        kl = kl_divergence(posterior, prior, z=z)
    return WeightedDraws(z, fit, log_weights, kl)


def as_gaussian(posterior: Posterior, purpose: str) -> DiagonalGaussian | FullGaussian:
    """Return the posterior, whose moments and marginals are then known in closed form.

    Args:
        posterior: q(z given x).
        purpose: What needs them, for the message.

    Raises:
        UnsupportedOperationError: If it is no Gaussian.
    """
    if isinstance(posterior, DiagonalGaussian | FullGaussian):
        return posterior
    raise UnsupportedOperationError(
        f"{purpose} needs the mean, the covariance and the marginals of q(z given x), which are known for Gaussians; "
        f"got a {type(posterior).__name__}. Use the 'diagonal' or 'full' posterior."
    )
