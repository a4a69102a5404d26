"""Bounds made of several importance-weighted ones, between the ELBO and IWAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from latentkit.core.parameters import check_integer, check_real
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.objectives.draws import draw_weighted
from latentkit.objectives.importance import log_mean_exp
from latentkit.objectives.phases import inference_parameters, objectives, single_phase, trainable_parameters

__all__ = ["Ciwae", "Miwae", "Piwae"]


def _miwae(log_weights: Tensor, n_bounds: int) -> Tensor:
    """Mean of the bounds of `n_bounds` equal groups of draws, shape (draws, batch) to (batch,)."""
    return log_mean_exp(log_weights.reshape(n_bounds, -1, *log_weights.shape[1:]), dim=1).mean(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _SeveralBounds:
    """M bounds of K draws each."""

    n_bounds: int = 8
    n_importance: int = 8

    def __post_init__(self) -> None:
        check_integer("n_bounds", self.n_bounds, low=1)
        check_integer("n_importance", self.n_importance, low=1)


@objectives.register("miwae", cites=("rainforth2018tighter", "burda2016importance"))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Miwae(_SeveralBounds):
    """Mean of several importance-weighted bounds.

    .. math:: L_{M,K} = 1/M sum_m log 1/K sum_k w_{m,k},    w = p(x | z) (p(z) / q(z | x))^weight

    with `weight` that of the schedule (`kl_weight`). M = 1 is :class:`Iwae` with K draws, K = 1 the ELBO with the mean
    of M one-draw divergences. At a given number M K of draws, a larger M has the looser bound and the better gradient
    of the encoder.

    Args:
        n_bounds: Number of bounds M, at least 1.
        n_importance: Draws K of each bound, at least 1. Cost is linear in M K.

    Raises:
        InvalidParameterError: If an option is not an integer of at least 1.

    References:
        Rainforth et al., 2018, Tighter Variational Bounds are Not Necessarily Better, section 4, arXiv:1802.04537.

    Example:
        >>> Miwae()
        Miwae(n_bounds=8, n_importance=8)
    """

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example, nats; `log_likelihood` is the mean over the draws, `kl` has no weight."""
        draws = draw_weighted(model, batch, self.n_bounds * self.n_importance, kl_weight)
        return draws.terms(_miwae(draws.log_weights, self.n_bounds))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the bound."""
        return single_phase(self, model)


@objectives.register("piwae", cites=("rainforth2018tighter", "burda2016importance"))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Piwae(_SeveralBounds):
    """Importance-weighted bound for the decoder, and the mean of several looser ones for the encoder.

    .. math:: phi climbs L_{M,K},    theta climbs L_{M K} = log 1/(M K) sum_{m,k} w_{m,k}

    with L_{M,K} that of :class:`Miwae`. Called, it gives L_{M K}. A training step has two phases, first that of the
    parameters of q(z given x), then that of the rest (decoder, likelihood, prior), each with draws of its own.

    Args:
        n_bounds: Number of bounds M, at least 1.
        n_importance: Draws K of each bound, at least 1. Cost is linear in M K, and twice that of :class:`Miwae`.

    Raises:
        InvalidParameterError: If an option is not an integer of at least 1.

    References:
        Rainforth et al., 2018, Tighter Variational Bounds are Not Necessarily Better, section 4, arXiv:1802.04537.

    Example:
        >>> Piwae()
        Piwae(n_bounds=8, n_importance=8)
    """

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example, nats; `log_likelihood` is the mean over the draws, `kl` has no weight."""
        draws = draw_weighted(model, batch, self.n_bounds * self.n_importance, kl_weight)
        return draws.terms(log_mean_exp(draws.log_weights))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """Encoder, then decoder; a part of which everything is frozen has no phase."""
        looser = Miwae(n_bounds=self.n_bounds, n_importance=self.n_importance)
        inference = inference_parameters(model)
        known = {id(parameter) for parameter in inference}
        generative = [parameter for parameter in trainable_parameters(model) if id(parameter) not in known]
        phases = [
            Phase(inference, lambda batch, kl_weight: looser(model, batch, kl_weight=kl_weight)),
            Phase(generative, lambda batch, kl_weight: self(model, batch, kl_weight=kl_weight)),
        ]
        return [phase for phase in phases if phase.parameters]


@objectives.register("ciwae", cites=("rainforth2018tighter", "burda2016importance"))
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Ciwae:
    """Combination of the ELBO and the importance-weighted bound of the same draws.

    .. math:: L = beta 1/K sum_k log w_k + (1 - beta) log 1/K sum_k w_k,    w = p(x | z) (p(z) / q(z | x))^weight

    with `weight` that of the schedule (`kl_weight`). beta = 1 is the ELBO with K draws, beta = 0 is :class:`Iwae`.

    Args:
        beta: Share of the ELBO, in [0, 1].
        n_importance: Number of draws K, at least 1. Cost is linear in K.

    Raises:
        InvalidParameterError: If an option has a value that it cannot have.

    References:
        Rainforth et al., 2018, Tighter Variational Bounds are Not Necessarily Better, section 4, arXiv:1802.04537.

    Example:
        >>> Ciwae(beta=0.05)
        Ciwae(beta=0.05, n_importance=5)
    """

    beta: float = 0.5
    n_importance: int = 5

    def __post_init__(self) -> None:
        check_real("beta", self.beta, low=0.0, high=1.0, hint="1 is the ELBO, 0 the importance-weighted bound.")
        check_integer("n_importance", self.n_importance, low=1)

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example, nats; `log_likelihood` is the mean over the draws, `kl` has no weight."""
        draws = draw_weighted(model, batch, self.n_importance, kl_weight)
        elbo, tighter = draws.log_weights.mean(0), log_mean_exp(draws.log_weights)
        return draws.terms(self.beta * elbo + (1.0 - self.beta) * tighter)

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the bound."""
        return single_phase(self, model)
