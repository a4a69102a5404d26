"""The ELBO with a penalty on the covariance of the codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from latentkit.core.parameters import check_choice, check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.distributions import DiagonalGaussian, FullGaussian
from latentkit.objectives.draws import as_gaussian, draw_once
from latentkit.objectives.phases import objectives, single_phase

__all__ = ["Dip"]


@objectives.register("dip", cites=("kumar2018variational",))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Dip:
    r"""ELBO that asks the codes of the data for the covariance of the prior, the identity.

    .. math:: L = \log p(x | z) - w (\beta KL(q(z | x), p(z)) + \lambda_{od} \sum_{i \ne j} C_{ij}^2
              + \lambda_d \sum_i (C_{ii} - 1)^2)

    with w the weight of the schedule (`kl_weight`) and C the covariance over the minibatch: of the posterior means,
    Cov_x(E[z | x]), in version ``"i"``; of the codes, Cov_x(E[z | x]) + E_x(Cov[z | x]), in version ``"ii"``. The
    penalty is one number for the batch, and every example carries it.

    Args:
        version: ``"i"`` or ``"ii"``.
        lambda_od: Weight of the entries off the diagonal, at least 0.
        lambda_d: Weight of the diagonal, at least 0; None is 10 times `lambda_od` in version i and `lambda_od` in
            version ii.
        beta: Weight of the divergence, at least 0; 1 in the article.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Kumar et al., 2018, Variational Inference of Disentangled Latent Concepts from Unlabeled Observations, equations
        6 and 7, arXiv:1711.00848; Locatello et al., 2019, arXiv:1811.12359 (the ratio of the weights).

    Example:
        >>> Dip(version="ii").lambda_od
        10.0
    """

    version: str = "i"
    lambda_od: float = 10.0
    lambda_d: float | None = None
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_choice("version", self.version, ("i", "ii"))
        check_real("lambda_od", self.lambda_od, low=0.0, hint="Use 0 to drop it.")
        if self.lambda_d is not None:
            check_real("lambda_d", self.lambda_d, low=0.0, hint="Use 0 to drop it.")
        check_real("beta", self.beta, low=0.0, hint="Use beta=0 to drop the KL term.")

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Objective for each example, nats; `kl` is the divergence without weight and penalty."""
        draw = draw_once(model, batch)
        covariance = self._covariance(as_gaussian(draw.posterior, "objective 'dip'"))
        diagonal = covariance.diagonal()
        off_diagonal = covariance.square().sum() - diagonal.square().sum()
        lambda_d = self.lambda_d
        if lambda_d is None:
            lambda_d = self.lambda_od * (10.0 if self.version == "i" else 1.0)
        penalty = self.lambda_od * off_diagonal + lambda_d * (diagonal - 1.0).square().sum()
        return draw.terms(kl_weight * (self.beta * draw.kl + penalty))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the objective."""
        return single_phase(self, model)

    def _covariance(self, posterior: DiagonalGaussian | FullGaussian) -> Tensor:
        """C of the batch, shape (latent, latent)."""
        centred = posterior.mean - posterior.mean.mean(0)
        with torch.autocast(centred.device.type, enabled=False):
            covariance = centred.mT @ centred / len(centred)
            if self.version == "i":
                return covariance
            if isinstance(posterior, FullGaussian):
                return covariance + (posterior.cholesky @ posterior.cholesky.mT).mean(0)
        return covariance + torch.diag(posterior.stddev.square().mean(0))
