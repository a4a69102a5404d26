"""What priors climb that are learnt from codes or latent vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast, final

import torch
from torch import Tensor

from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.objectives.phases import single_phase

__all__ = ["FlowMatching", "MaximumLikelihood"]


class _Density(Protocol):
    def log_prob(self, value: Tensor, condition: Tensor | None = None) -> Tensor: ...


class _Velocity(Protocol):
    def __call__(self, z: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor: ...


@final
@dataclass(frozen=True, slots=True)
class MaximumLikelihood:
    """Log-probability of the data of a batch, codes or latent vectors, under a model that gives it.

    .. math:: L = log p(x | condition)

    The model has a method ``log_prob(x, condition)``.

    Example:
        >>> MaximumLikelihood()
        MaximumLikelihood()
    """

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Log-probability for each example, nats; there is no divergence."""
        fit = cast(_Density, model).log_prob(batch.x, batch.condition)
        return Terms(objective=fit, log_likelihood=fit, kl=torch.zeros_like(fit))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the log-probability."""
        return single_phase(self, model)


@final
@dataclass(frozen=True, slots=True)
class FlowMatching:
    r"""Fit of a field of velocities to straight ways from noise to data.

    .. math:: L = -|v(z_t, t, c) - (z - e)|^2, \qquad z_t = (1 - t) e + t z, \quad e \sim N(0, I), \quad t \sim U(0, 1)

    The data z of a batch have shape (batch, latent). L is no bound on log p(z), and its best value is not 0: the
    velocity of the field is the mean over all straight ways through a point. The model is called with z_t, t and c.

    References:
        Lipman et al., 2023, Flow Matching for Generative Modeling, arXiv:2210.02747.

    Example:
        >>> FlowMatching()
        FlowMatching()
    """

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Negative squared error of one velocity for each example; there is no divergence."""
        noise, t = torch.randn_like(batch.x), torch.rand_like(batch.x[:, :1])
        velocity = cast(_Velocity, model)(torch.lerp(noise, batch.x, t), t, batch.condition)
        fit = -(velocity - (batch.x - noise)).square().sum(-1)
        return Terms(objective=fit, log_likelihood=fit, kl=torch.zeros_like(fit))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: the field climbs."""
        return single_phase(self, model)
