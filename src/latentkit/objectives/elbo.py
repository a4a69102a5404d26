"""The evidence lower bound, with a weight and a floor for its divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.distributions import kl_divergence, kl_per_part, kl_splits
from latentkit.objectives.phases import given, log_likelihood, objectives, single_phase

__all__ = ["Elbo"]


@objectives.register("elbo", cites=("kingma2014auto",))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Elbo:
    """Evidence lower bound with one draw of z.

    .. math:: L = log p(x | z) - w beta KL(q(z | x), p(z)),    z ~ q(z | x)

    with w the weight of the schedule (`kl_weight`). With free bits the divergence is replaced by

    .. math:: sum_j max(free_bits, mean_b KL_j(x_b))

    over latent dimensions j (over layers, where the posterior has layers) and the examples b of the minibatch: a
    dimension whose *batch-mean* divergence is below `free_bits` counts as `free_bits` and is not pushed further down.
    Each example carries its own KL_j for the dimensions above the floor and the constant for the others, so that the
    mean over the batch is the formula. A divergence that does not split, as from a learnt prior, has the floors of all
    latent dimensions together.

    With a capacity C the divergence of each example is asked to be a number instead of small:

    .. math:: L = log p(x | z) - beta |KL(q(z | x), p(z)) - C w|

    The schedule's weight then anneals the capacity and not the penalty: C is reached where w is 1.

    Args:
        beta: Weight of the divergence, at least 0; 1 is the bound, above 1 the beta-VAE.
        free_bits: Nats of divergence that each latent dimension, or layer, has for free, at least 0.
        capacity: Nats of divergence C that each example is asked to have, at least 0; None for no such target. It goes
            with a large beta, and not with free bits.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have, or `capacity` comes with `free_bits`.

    References:
        Kingma and Welling, 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114; Higgins et al., 2017, beta-VAE;
        Kingma et al., 2016, Improved Variational Inference with Inverse Autoregressive Flow, appendix C.8,
        arXiv:1606.04934 (free bits); Burgess et al., 2018, Understanding disentangling in beta-VAE, equation 8,
        arXiv:1804.03599 (capacity).

    Example:
        >>> Elbo(beta=4.0)
        Elbo(beta=4.0, free_bits=0.0, capacity=None)
    """

    beta: float = 1.0
    free_bits: float = 0.0
    capacity: float | None = None

    def __post_init__(self) -> None:
        check_real("beta", self.beta, low=0.0, hint="Use beta=0 to drop the KL term.")
        check_real("free_bits", self.free_bits, low=0.0, hint="It counts nats per latent dimension.")
        if self.capacity is None:
            return
        check_real("capacity", self.capacity, low=0.0, hint="It counts nats per example; None is for no target.")
        if self.free_bits:
            raise InvalidParameterError(
                f"capacity and free_bits both say how large the divergence shall be; got capacity={self.capacity!r} "
                f"and free_bits={self.free_bits!r}. Leave one of them out."
            )

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example of `batch`, in nats; `kl` is the divergence itself, without weight and floor."""
        model = given(model, batch)
        posterior, prior = model.encode(batch.x), model.prior()
        z = posterior.rsample()
        fit = log_likelihood(model, z, batch)
        if self.free_bits:
            floor = self.free_bits
            if kl_splits(posterior, prior):
                elements = kl_per_part(posterior, prior, z=z)
            else:
                elements, floor = kl_divergence(posterior, prior, z=z).unsqueeze(-1), floor * z.shape[-1]
            kl = elements.sum(-1)
            penalty = torch.where(elements.mean(0) > floor, elements, floor).sum(-1)
        else:
            kl = penalty = kl_divergence(posterior, prior, z=z)
        if self.capacity is not None:
            penalty = (kl - self.capacity * kl_weight).abs()
            return Terms(objective=fit - self.beta * penalty, log_likelihood=fit, kl=kl)
        return Terms(objective=fit - self.beta * kl_weight * penalty, log_likelihood=fit, kl=kl)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the bound."""
        return single_phase(self, model)
