"""Bounds from several draws, and the gradient estimators for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from latentkit.core.parameters import check_integer
from latentkit.core.protocols import Batch, LatentVariableModel, Phase, Terms
from latentkit.objectives.draws import draw_weighted
from latentkit.objectives.importance import log_mean_exp
from latentkit.objectives.phases import objectives, single_phase

__all__ = ["Dreg", "Iwae", "Stl"]


@objectives.register("iwae")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Iwae:
    """Importance-weighted bound with its plain reparameterised gradient.

    .. math:: L_K = log 1/K sum_k w_k,    w_k = p(x | z_k) (p(z_k) / q(z_k | x))^weight,    z_k ~ q(z | x)

    with `weight` that of the schedule (`kl_weight`); at 1 it is a lower bound on log p(x) that tightens as K grows, and
    K = 1 is the ELBO with a one-draw divergence. The signal in the encoder's gradient drowns in noise as K grows; that
    of :class:`Dreg` does not.

    Args:
        n_importance: Number of draws K, at least 1. Cost is linear in K.

    Raises:
        InvalidParameterError: If `n_importance` is not an integer of at least 1.

    References:
        Burda et al., 2016, Importance Weighted Autoencoders, arXiv:1509.00519.

    Example:
        >>> Iwae(n_importance=5)
        Iwae(n_importance=5)
    """

    n_importance: int = 5

    def __post_init__(self) -> None:
        check_integer("n_importance", self.n_importance, low=1)

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example, nats; `log_likelihood` is the mean over the draws, `kl` has no weight."""
        draws = draw_weighted(model, batch, self.n_importance, kl_weight)
        return draws.terms(log_mean_exp(draws.log_weights))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the bound."""
        return single_phase(self, model)


@objectives.register("dreg")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Dreg:
    """Importance-weighted bound with the doubly reparameterised gradient of the encoder.

    The value is that of :class:`Iwae`, and so is the gradient of decoder and prior. That of the encoder is

    .. math:: sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi),    v_k = w_k / sum_j w_j

    which has the same expectation and a signal-to-noise ratio that grows with K. While the schedule's weight b is not
    1, the factor is (1 - b) v_k + b v_k^2, which is exact for the weighted bound; K = 1 is :class:`Stl`.

    Args:
        n_importance: Number of draws K, at least 1. Cost is linear in K.

    Raises:
        InvalidParameterError: If `n_importance` is not an integer of at least 1.

    References:
        Tucker et al., 2019, Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, arXiv:1810.04152.

    Example:
        >>> Dreg(n_importance=5)
        Dreg(n_importance=5)
    """

    n_importance: int = 5

    def __post_init__(self) -> None:
        check_integer("n_importance", self.n_importance, low=1)

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example, nats; `log_likelihood` is the mean over the draws, `kl` has no weight."""
        draws = draw_weighted(model, batch, self.n_importance, kl_weight, path_only=True)
        if draws.z.requires_grad:
            # What reaches z already has one factor v_k, from the log-mean-exp; decoder and prior keep that one alone.
            weights = torch.softmax(draws.log_weights.detach(), dim=0)
            factor = ((1.0 - kl_weight) + kl_weight * weights).unsqueeze(-1)
            draws.z.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
        return draws.terms(log_mean_exp(draws.log_weights))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the bound."""
        return single_phase(self, model)


@objectives.register("stl")
@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Stl:
    """ELBO by one draw, or importance-weighted bound by several, with the path-derivative gradient.

    The value is that of :class:`Iwae`; the gradient of log q(z | x) reaches the encoder through z alone ("sticking the
    landing"), and vanishes where the posterior is exact. With one draw it is unbiased. With several it follows Roeder
    et al., whose gradient of the encoder is then *biased* (Tucker et al., 2019, section 3); :class:`Dreg` is the
    unbiased one.

    Args:
        n_importance: Number of draws K, at least 1. Cost is linear in K.

    Raises:
        InvalidParameterError: If `n_importance` is not an integer of at least 1.

    References:
        Roeder et al., 2017, Sticking the Landing, arXiv:1703.09194.

    Example:
        >>> Stl()
        Stl(n_importance=1)
    """

    n_importance: int = 1

    def __post_init__(self) -> None:
        check_integer("n_importance", self.n_importance, low=1)

    def __call__(self, model: LatentVariableModel, batch: Batch, *, kl_weight: float = 1.0) -> Terms:
        """Bound for each example, nats; `log_likelihood` is the mean over the draws, `kl` has no weight."""
        draws = draw_weighted(model, batch, self.n_importance, kl_weight, path_only=True)
        return draws.terms(log_mean_exp(draws.log_weights))

    def phases(self, model: LatentVariableModel) -> list[Phase]:
        """One phase: everything climbs the bound."""
        return single_phase(self, model)
