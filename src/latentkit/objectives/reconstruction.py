"""The log-likelihood of the reconstruction, for models whose codes are points, with the penalties of the literature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor

from latentkit.core.parameters import check_choice, check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.objectives.phases import given, log_likelihood, objectives, single_phase

__all__ = ["Reconstruction"]

_CORRUPTIONS = ("none", "gaussian", "masking", "salt_and_pepper")


@objectives.register("reconstruction")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    r"""How well each example is rebuilt from its code, minus penalties.

    .. math:: \log p(x | z) - \beta/2 |z|^2 - \lambda_1 |z|_1 - \lambda_r \sum_j KL(\rho, \bar z_j)
              - \lambda_c |dz/dx|_F^2 - \lambda_g |d\bar x/dz|_F^2 - \lambda_d |\theta_{dec}|^2

    with z the code of x, or of a corrupted copy of it. It is no bound on log p(x), and `kl` is zero.

    Args:
        corruption: Of what the encoder sees, never of the target: "none", "gaussian", "masking", "salt_and_pepper".
        corruption_level: Standard deviation of Gaussian noise in model units; else the share of features.
        latent_l2: Weight of half the squared norm of the code.
        l1: Weight of the sum of the absolute values of the code.
        rate: Mean activation over the batch that `rate_weight` asks for, in (0, 1).
        rate_weight: Weight of the divergence from it; codes must lie in [0, 1].
        contractive: Weight of the squared Frobenius norm of the encoder's Jacobian, by one random direction.
        gradient_penalty: Likewise of the decoder's mean.
        decoder_l2: Weight of the squared norm of the decoder's weight matrices.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Ghosh et al., 2020, arXiv:1903.12436; Rifai et al., 2011, Contractive Auto-Encoders; Vincent et al., 2010.
    """

    corruption: str = "none"
    corruption_level: float = 0.0
    latent_l2: float = 0.0
    l1: float = 0.0
    rate: float = 0.05
    rate_weight: float = 0.0
    contractive: float = 0.0
    gradient_penalty: float = 0.0
    decoder_l2: float = 0.0

    def __post_init__(self) -> None:
        check_choice("corruption", self.corruption, _CORRUPTIONS)
        high = float("inf") if self.corruption == "gaussian" else 1.0
        check_real("corruption_level", self.corruption_level, low=0.0, high=high)
        check_real("rate", self.rate, low=0.0, high=1.0, inclusive=(False, False))
        for name in ("latent_l2", "l1", "rate_weight", "contractive", "gradient_penalty", "decoder_l2"):
            check_real(name, getattr(self, name), low=0.0, hint="Use 0 to drop it.")

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """The penalised log-likelihood for each example of `batch`, in nats."""
        model = given(model, batch)
        seen = self._corrupted(batch.x)
        if self.contractive:
            z, stretch = _stretch(lambda x: model.encode(x).rsample(), seen)
        else:
            z = model.encode(seen).rsample()
        fit = log_likelihood(model, z, batch)
        objective = fit
        if self.contractive:
            objective = objective - self.contractive * stretch
        if self.latent_l2:
            objective = objective - 0.5 * self.latent_l2 * z.square().sum(-1)
        if self.l1:
            objective = objective - self.l1 * z.abs().sum(-1)
        if self.rate_weight:
            mean = z.mean(0).clamp(1e-6, 1 - 1e-6)
            kl = self.rate * (self.rate / mean).log() + (1 - self.rate) * ((1 - self.rate) / (1 - mean)).log()
            objective = objective - self.rate_weight * kl.sum()
        if self.gradient_penalty:
            objective = objective - self.gradient_penalty * _stretch(lambda code: model.decode(code).mean, z)[1]
        if self.decoder_l2:
            decoder = cast(Any, model).decoder
            squares = [p.square().sum() for p in decoder.parameters() if p.ndim > 1]
            objective = objective - self.decoder_l2 * torch.stack(squares).sum()
        return Terms(objective=objective, log_likelihood=fit, kl=torch.zeros_like(fit))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the objective."""
        return single_phase(self, model)

    def _corrupted(self, x: Tensor) -> Tensor:
        if self.corruption == "gaussian":
            return x + self.corruption_level * torch.randn_like(x)
        if self.corruption == "none":
            return x
        hit = torch.rand_like(x) < self.corruption_level
        if self.corruption == "masking":
            return x.masked_fill(hit, 0.0)
        salt = torch.rand_like(x) < 0.5
        return torch.where(hit, torch.where(salt, x.amax(), x.amin()), x)


def _stretch(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """The function's value, and an unbiased estimate of the squared Frobenius norm of its Jacobian for each row."""
    value, tangent = cast("tuple[Tensor, Tensor]", torch.func.jvp(function, (at,), (torch.randn_like(at),)))
    return value, tangent.flatten(1).square().sum(1)
