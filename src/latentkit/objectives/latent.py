"""Objectives of a decoder alone: latent vectors are given with the data, or learnt one for each example."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.objectives.phases import given, log_likelihood, single_phase

__all__ = ["GivenLatents", "LearntLatents"]

#: How far learnt vectors move for a unit of their parameters. An optimiser with a rate for networks meets each vector
#: once an epoch only; at rate 1 they would hardly leave their start.
STEP = 10.0
BOUNDS = ("ball", "normal")


@final
@dataclass(frozen=True)
class GivenLatents:
    r"""Fit of a decoder to pairs of latent vector and example.

    .. math:: L = \log p(x_i \mid z_i)

    Args:
        z: One vector for each example, shape (n, latent), in the order of the examples' numbers.
    """

    z: Tensor = field(repr=False)

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Log-likelihood of each example of `batch` given its own vector, nats; the `kl` is 0, as nothing is free."""
        assert batch.rows is not None, "the examples have no numbers"
        z = self.z[batch.rows.to(self.z.device)].to(batch.x)
        fit = log_likelihood(given(model, batch), z, batch)
        return Terms(objective=fit, log_likelihood=fit, kl=torch.zeros_like(fit))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: the decoder climbs."""
        return single_phase(self, model)


@final
class LearntLatents(nn.Module):
    r"""Fit of a decoder and of one free latent vector for each example.

    .. math:: L = \log p(x_i \mid z_i) + \log r(z_i), \qquad z_i = P(A x_i + d_i)

    A x_i are the example's principal components, where z starts, and d_i is learnt. With bound ``"ball"``, P projects
    to the ball of radius sqrt(latent), the unit ball in a scale in which components are about 1, and r is constant;
    with ``"normal"``, P does nothing and r = N(0, I), so that z is a posterior mode. `kl` of the terms is -log r(z) up
    to its constant.

    Args:
        n: Number of examples, at least 1.
        latent_dim: Number of latent dimensions, at least 1.
        bound: ``"ball"`` or ``"normal"``.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Bojanowski et al., 2018, Optimizing the Latent Space of Generative Networks, arXiv:1707.05776.
    """

    def __init__(self, n: int, latent_dim: int, *, bound: str = "ball") -> None:
        super().__init__()
        self.bound = check_choice("latent_bound", bound, BOUNDS)
        self._shape = (check_integer("n", n, low=1), check_integer("latent_dim", latent_dim, low=1))
        self.offsets = nn.Parameter(torch.zeros(self._shape))

    def latents(self, model: Any, x: Tensor, rows: Tensor) -> Tensor:
        """Return z of examples, shape (batch, latent).

        Args:
            model: Knows where z starts.
            x: Data in model units, shape (batch, *event).
            rows: Their numbers, shape (batch,).
        """
        start: Tensor = model.start(x)
        z = start + STEP * self.offsets[rows.to(self.offsets.device)].to(start)
        if self.bound == "normal":
            return z
        radius = self._shape[1] ** 0.5
        within: Tensor = z * (radius / z.norm(dim=-1, keepdim=True).clamp_min(radius))
        return within

    def forward(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Value of each example of `batch`, nats."""
        assert batch.rows is not None, "the examples have no numbers"
        z = self.latents(model, batch.x, batch.rows)
        fit = log_likelihood(given(model, batch), z, batch)
        cost = 0.5 * z.square().sum(-1) if self.bound == "normal" else torch.zeros_like(fit)
        return Terms(objective=fit - kl_weight * cost, log_likelihood=fit, kl=cost)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: the decoder and the vectors, which start anew, climb together."""
        (phase,) = single_phase(self, model)
        device = next(iter(model.parameters())).device
        self.offsets = nn.Parameter(torch.zeros(self._shape, device=device))
        return [Phase([*phase.parameters, self.offsets], phase.terms)]

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"bound={self.bound!r}"
