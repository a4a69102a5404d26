"""A bound whose posterior is refined for each example, beside an encoder that learns to come near it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.parameters import check_integer, check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.distributions import DiagonalGaussian, kl_divergence
from latentkit.objectives.phases import given, log_likelihood, objectives, single_phase

__all__ = ["SemiAmortized", "refine"]


def refine(
    model: LatentVariableModel, batch: Batch, start: DiagonalGaussian, *, n_steps: int, step_size: float
) -> DiagonalGaussian:
    r"""Return the posteriors of a batch after some steps up the bound of each example.

    .. math:: \lambda \leftarrow \lambda + \eta \, g / |g|_{rms}, \quad g = \nabla_\lambda L(x; \lambda),
              \qquad \lambda = (\mu, \log \sigma^2)

    The gradient is divided by its root mean square of the steps so far, as by Adam; it reaches no weight of the model.

    Args:
        model: The model.
        batch: Examples.
        start: What the encoder gives, from which no gradient is taken.
        n_steps: Steps, at least 0.
        step_size: eta.
    """
    with torch.inference_mode(False):  # of all that the graph holds there is a copy that it may hold
        means, log_vars = start.mean.detach().clone(), start.log_var.detach().clone()
        parameters = [means.requires_grad_(), log_vars.requires_grad_()]
        optimizer = torch.optim.Adam(parameters, lr=step_size, betas=(0.8, 0.9))
        seen = Batch(_own(batch.x), mask=_own(batch.mask), condition=_own(batch.condition))
        model = given(model, seen)
    for _ in range(n_steps):
        # cuDNN has no gradient of recurrent networks outside of training
        with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            posterior = DiagonalGaussian(means, log_vars)
            z = posterior.rsample()
            bound = log_likelihood(model, z, seen) - kl_divergence(posterior, model.prior(), z=z)
            gradients = torch.autograd.grad(-bound.sum(), parameters)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
    return DiagonalGaussian(means.detach(), log_vars.detach())


def _own(part: Any) -> Any:
    """A part of a batch as a graph may hold it."""
    return part.clone() if part is not None and part.is_inference() else part


@objectives.register("semi_amortized", cites=("kim2018semi",))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class SemiAmortized:
    r"""Evidence lower bound of posteriors that are refined for each example, with an encoder that follows.

    .. math:: L = \log p(x \mid z) - w \beta KL(q_{\lambda_K}, p) - KL(q_{\lambda_K}, q_\phi(z \mid x)),
              \qquad z \sim q_{\lambda_K}

    with lambda_K what :func:`refine` makes of the encoder's posterior in K steps. The first two terms teach the decoder
    and the prior, with lambda held. The last one teaches the encoder; it has a gradient, and no part in the value.

    Args:
        n_steps: K, at least 1.
        step_size: Of a step, relative to the root mean square of the gradients.
        beta: Weight of the divergence, at least 0.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.
        UnsupportedOperationError: If the posterior is no Gaussian with independent dimensions.

    References:
        Kim et al., 2018, Semi-Amortized Variational Autoencoders, arXiv:1802.02550; Krishnan et al., 2018, On the
        challenges of learning with inference networks on sparse, high-dimensional data, arXiv:1710.06085 (the encoder
        has a target of its own, and no gradient goes through the steps).

    Example:
        >>> SemiAmortized(n_steps=10)
        SemiAmortized(n_steps=10, step_size=0.1, beta=1.0)
    """

    n_steps: int = 5
    step_size: float = 0.1
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_integer("n_steps", self.n_steps, low=1)
        check_real("step_size", self.step_size, low=0.0, inclusive=(False, True))
        check_real("beta", self.beta, low=0.0, hint="Use beta=0 to drop the KL term.")

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example of `batch` by its refined posterior, in nats."""
        bound = given(model, batch)
        amortized = bound.encode(batch.x)
        if not isinstance(amortized, DiagonalGaussian):
            raise UnsupportedOperationError(
                f"posteriors are refined where they are Gaussians with independent dimensions; got a "
                f"{type(amortized).__name__}. Use posterior='diagonal'."
            )
        refined = refine(model, batch, amortized, n_steps=self.n_steps, step_size=self.step_size)
        z = refined.sample()
        fit, kl = log_likelihood(bound, z, batch), kl_divergence(refined, bound.prior(), z=z)
        distance = kl_divergence(refined, amortized)
        # the encoder is taught beside the bound, whose value is told
        value = fit - self.beta * kl_weight * kl - (distance - distance.detach())
        return Terms(objective=value, log_likelihood=fit, kl=kl)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: each part has a term of its own."""
        return single_phase(self, model)
