"""What an ensemble of autoencoders climbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast, final

import torch
from torch import Tensor

from latentkit.core.parameters import check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.objectives.phases import single_phase

__all__ = ["MemberElbos"]


class _Normal(Protocol):
    mean: Tensor

    def sample(self, noise: Tensor) -> Tensor: ...

    def log_prob(self, value: Tensor) -> Tensor: ...

    def kl(self) -> Tensor: ...


class _Members(Protocol):
    n_members: int

    def encode(self, x: Tensor, shown: Tensor | None = None) -> _Normal: ...

    def decode(self, z: Tensor) -> _Normal: ...


@final
@dataclass(frozen=True, slots=True)
class MemberElbos:
    r"""Sum of the bounds of all members of an ensemble, each with its own weight of the divergence and its own holes.

    .. math:: L = \sum_m \log p_m(x_{known} \mid z_m) - \beta_m KL(q_m(z \mid x_{shown}), p(z)), \qquad z_m \sim q_m

    A member that is shown a part of a row has to explain the whole of it. Numbers that are NaN are unknown: they are
    not shown, and nothing asks for them.

    With `trim`, a member leaves the share of the rows of a batch out that it explains worst: a truncated likelihood,
    for data of which some rows do not belong.

    Args:
        betas: Weight of the divergence of each member, at least 0.
        masking: Largest share of a row that is hidden from each member; each row draws its share below it.
        trim: Share of the rows that are left out, in [0, 1).

    References:
        Kingma and Welling, 2014, arXiv:1312.6114; Higgins et al., 2017, beta-VAE; Ivanov et al., 2019, Variational
        Autoencoder with Arbitrary Conditioning, arXiv:1806.02382 (rows with parts hidden); Neykov and Müller, 2003,
        Breakdown Point and Computation of Trimmed Likelihood Estimators.

    Example:
        >>> MemberElbos(betas=(0.3, 0.1), masking=(0.0, 0.3)).trim
        0.0
    """

    betas: tuple[float, ...]
    masking: tuple[float, ...]
    trim: float = 0.0

    def __post_init__(self) -> None:
        for beta, share in zip(self.betas, self.masking, strict=True):
            check_real("beta", beta, low=0.0)
            check_real("masking", share, low=0.0, high=1.0)
        check_real("trim", self.trim, low=0.0, high=1.0, inclusive=(True, False))

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bounds of each example, nats but for constants, summed over the members."""
        members = cast(_Members, model)
        known = ~batch.x.isnan()
        x = batch.x.where(known, 0.0).expand(members.n_members, -1, -1)
        known = known.to(x.dtype).expand_as(x)
        masking, betas = x.new_tensor(self.masking), x.new_tensor(self.betas)
        shares = masking[:, None, None] * torch.rand_like(x[..., :1])
        q = members.encode(x, known * (torch.rand_like(x) >= shares))
        p = members.decode(q.sample(torch.randn_like(q.mean)))
        fit = (p.log_prob(x) * known).sum(-1)
        kl = q.kl().sum(-1)
        bounds = fit - kl_weight * betas[:, None] * kl
        if self.trim:
            n_kept = max(1, round((1.0 - self.trim) * x.shape[1]))
            best = fit.detach().topk(n_kept, dim=1).indices
            # what is left counts for the whole, so that the mean over the batch is the mean over what is kept
            bounds = bounds * torch.zeros_like(bounds).scatter(1, best, x.shape[1] / n_kept)
        return Terms(objective=bounds.sum(0), log_likelihood=fit.sum(0), kl=kl.sum(0))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: all members climb, each its own bound."""
        return single_phase(self, model)
