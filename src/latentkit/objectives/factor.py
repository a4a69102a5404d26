"""The ELBO with a total correlation that a discriminator estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core.parameters import check_integer, check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.core.seeds import derive_seed, isolated_rng
from latentkit.objectives.draws import draw_once
from latentkit.objectives.phases import given, objectives, single_phase

__all__ = ["Factor", "permute_dimensions"]


def permute_dimensions(z: Tensor) -> Tensor:
    """Shuffle each dimension over the batch on its own: draws from the product of the marginals of q(z).

    Args:
        z: Shape (batch, latent). The orders are drawn from torch's global generator.

    Example:
        >>> z = torch.arange(6.0).reshape(3, 2)
        >>> permute_dimensions(z).sort(dim=0).values.equal(z)
        True
    """
    return z.gather(0, torch.rand_like(z).argsort(dim=0))


@objectives.register("factor", cites=("kim2018disentangling",))
@final
@dataclass(kw_only=True, eq=False)
class Factor(nn.Module):
    r"""ELBO minus the total correlation of the codes, by the density ratio that a discriminator learns.

    .. math:: L = \log p(x | z) - w (\beta KL(q(z | x), p(z)) + \gamma (\log D(z) - \log(1 - D(z))))

    with w the weight of the schedule (`kl_weight`). D(z) is the probability that z comes from q(z), and not from the
    product of its marginals, which :func:`permute_dimensions` draws from. A training step has two phases: the
    discriminator climbs

    .. math:: 1/2 \log D(z) + 1/2 \log(1 - D(permuted z))

    then the model climbs L. The discriminator is made by `phases`, from a fixed seed, and knows nothing at first: its
    last layer starts at zero, and until there is one the total correlation counts as 0, as such a one says. It is part
    of this module's state and of no other's.

    Args:
        beta: Weight of the divergence, at least 0; 1 in the article.
        gamma: Weight of the total correlation, at least 0.
        width: Units in each hidden layer of the discriminator, at least 1; 1000 in the article.
        n_layers: Hidden layers of it, at least 1; 5 in the article.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Kim and Mnih, 2018, Disentangling by Factorising, arXiv:1802.05983.

    Example:
        >>> Factor(gamma=35.0)
        Factor(beta=1.0, gamma=35.0, width=256, n_layers=3)
    """

    beta: float = 1.0
    gamma: float = 10.0
    width: int = 256
    n_layers: int = 3

    def __post_init__(self) -> None:
        super().__init__()
        check_real("beta", self.beta, low=0.0, hint="Use beta=0 to drop the KL term.")
        check_real("gamma", self.gamma, low=0.0, hint="Use gamma=0 to drop the total correlation.")
        check_integer("width", self.width, low=1)
        check_integer("n_layers", self.n_layers, low=1)
        self.discriminator: nn.Module | None = None

    def forward(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Objective for each example, nats; `kl` is the divergence without weight."""
        draw = draw_once(model, batch)
        penalty = self.beta * draw.kl
        if self.discriminator is not None:
            penalty = penalty + self.gamma * self.log_ratio(draw.z)
        return draw.terms(kl_weight * penalty)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """A new discriminator, then the model."""
        discriminator = self._make(model)
        self.discriminator = discriminator
        return [
            Phase(list(discriminator.parameters()), lambda batch, _: self._tell_apart(model, batch)),
            *single_phase(self, model),
        ]

    def log_ratio(self, z: Tensor) -> Tensor:
        """The discriminator's log-odds of z, shape (batch, latent) to (batch,): their mean is the total correlation."""
        assert self.discriminator is not None, "there is no discriminator before `phases`"
        log_odds: Tensor = self.discriminator(z.to(next(self.discriminator.parameters()).dtype))
        return log_odds.squeeze(-1).to(z.dtype)

    def _tell_apart(self, model: LatentVariableModel, batch: Batch) -> Terms:
        """What the discriminator climbs, per example; the model is left alone."""
        with torch.no_grad():
            z = given(model, batch).encode(batch.x).rsample()
            permuted = permute_dimensions(z)
        value = 0.5 * (functional.logsigmoid(self.log_ratio(z)) + functional.logsigmoid(-self.log_ratio(permuted)))
        return Terms(objective=value, log_likelihood=torch.zeros_like(value), kl=torch.zeros_like(value))

    def _make(self, model: LatentVariableModel) -> nn.Module:
        latent_dim = model.prior().mean.shape[-1]
        like = next(iter(model.parameters()))
        layers: list[nn.Module] = []
        with isolated_rng(derive_seed(0, "factor discriminator")):
            for n_inputs in (latent_dim, *[self.width] * (self.n_layers - 1)):
                layers += [nn.Linear(n_inputs, self.width), nn.LeakyReLU(0.2)]
            last = nn.Linear(self.width, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(*layers, last).to(like)
