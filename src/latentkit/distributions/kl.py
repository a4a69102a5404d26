"""Kullback-Leibler divergences: closed forms by pair of types, one draw where there is none."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from latentkit.core.errors import UnsupportedOperationError
from latentkit.core.protocols import Distribution, Posterior
from latentkit.distributions.flow import FlowGaussian
from latentkit.distributions.posterior import DiagonalGaussian, FullGaussian
from latentkit.distributions.prior import StandardNormal

__all__ = [
    "has_closed_form_kl",
    "kl_divergence",
    "kl_per_dimension",
    "kl_per_part",
    "register_kl",
    "register_kl_given_draw",
    "register_kl_per_dimension",
    "registered_kl",
]

_Formula = Callable[[Any, Any], Tensor]
_FormulaGivenDraw = Callable[[Any, Any, Tensor], Tensor]

_WHOLE: dict[tuple[type, type], _Formula] = {}
_PER_DIMENSION: dict[tuple[type, type], _Formula] = {}
_GIVEN_DRAW: dict[tuple[type, type], _FormulaGivenDraw] = {}


def register_kl(q: type, p: type) -> Callable[[_Formula], _Formula]:
    """Return a decorator that files a closed form of KL(q, p), shape (*batch,), for this pair of types."""

    def decorator(formula: _Formula) -> _Formula:
        assert (q, p) not in _WHOLE, f"KL of {q.__name__} and {p.__name__} is registered twice"
        _WHOLE[q, p] = formula
        return formula

    return decorator


def register_kl_per_dimension(q: type, p: type) -> Callable[[_Formula], _Formula]:
    """Return a decorator that files a closed form whose sum over dimensions is KL(q, p), shape (*batch, latent)."""

    def decorator(formula: _Formula) -> _Formula:
        assert (q, p) not in _PER_DIMENSION, f"KL of {q.__name__} and {p.__name__} is registered twice"
        _PER_DIMENSION[q, p] = formula
        return formula

    return decorator


def register_kl_given_draw(q: type, p: type) -> Callable[[_FormulaGivenDraw], _FormulaGivenDraw]:
    """Return a decorator that files the divergence of a posterior of several parts, each given a draw of those before.

    .. math:: KL(q, p) = E_{z ~ q}[ sum_l KL(q(z_l | z_{<l}), p(z_l | z_{<l})) ]

    The formula is called with q, p and z, shape (*batch, latent) or (n, *batch, latent), and returns the term of each
    part, averaged over the n draws, shape (*batch, parts).
    """

    def decorator(formula: _FormulaGivenDraw) -> _FormulaGivenDraw:
        assert (q, p) not in _GIVEN_DRAW, f"KL of {q.__name__} and {p.__name__} is registered twice"
        _GIVEN_DRAW[q, p] = formula
        return formula

    return decorator


def registered_kl() -> tuple[tuple[type, type], ...]:
    """Return the pairs of types (q, p) that have a closed form."""
    return tuple(_WHOLE)


def has_closed_form_kl(q: Distribution, p: Distribution) -> bool:
    """Tell whether :func:`kl_divergence` is exact for these two."""
    return (type(q), type(p)) in _WHOLE


@singledispatch
def _n_batch_dims(q: Posterior) -> int:
    return q.mean.ndim - 1


@_n_batch_dims.register
def _(q: FlowGaussian) -> int:
    return len(q.batch_shape)  # its mean takes many passes


def kl_divergence(q: Posterior, p: Distribution, *, z: Tensor | None = None) -> Tensor:
    """Divergence of the posterior from the prior.

    .. math:: KL(q, p) = E_{z ~ q}[ log q(z) - log p(z) ]

    Args:
        q: Posterior, batch shape (*batch,).
        p: Prior, batch shape () or (*batch,).
        z: Reparameterised draws from q, shape (*batch, latent) or (n, *batch, latent). They are used where no closed
            form is registered for the two types (n draws are averaged); one draw is made where they are missing.
            The estimate may be negative; the closed form, and that of the parts given a draw, never are.

    Returns:
        Nats per example, shape (*batch,).

    Example:
        >>> import torch
        >>> q = DiagonalGaussian(torch.full((1, 2), 3.0), torch.zeros(1, 2))
        >>> kl_divergence(q, StandardNormal(2))
        tensor([9.])
    """
    formula = _WHOLE.get((type(q), type(p)))
    if formula is not None:
        return formula(q, p)
    if z is None:
        z = q.rsample()
    if (type(q), type(p)) in _GIVEN_DRAW:
        return kl_per_part(q, p, z=z).sum(-1)
    estimate = q.log_prob(z) - p.log_prob(z)
    n_draws = estimate.ndim - _n_batch_dims(q)
    return estimate.flatten(0, n_draws - 1).mean(0) if n_draws > 0 else estimate


def kl_per_dimension(q: Posterior, p: Distribution) -> Tensor:
    """Divergence of each latent dimension, where both distributions have independent dimensions.

    Returns:
        Nats, shape (*batch, latent); the sum over dimensions is :func:`kl_divergence`.

    Raises:
        UnsupportedOperationError: If the divergence of these types does not split into dimensions.
    """
    formula = _PER_DIMENSION.get((type(q), type(p)))
    if formula is None:
        raise UnsupportedOperationError(
            f"the divergence of {type(q).__name__} from {type(p).__name__} does not split into latent dimensions. "
            "Use the 'diagonal' posterior with the 'normal' prior."
        )
    return formula(q, p)


def kl_splits(q: Posterior, p: Distribution) -> bool:
    """Tell whether :func:`kl_per_part` has parts for these two."""
    return (type(q), type(p)) in _PER_DIMENSION or (type(q), type(p)) in _GIVEN_DRAW


def kl_per_part(q: Posterior, p: Distribution, *, z: Tensor | None = None) -> Tensor:
    """Divergence of each part of the latent vector: of a layer, where it has layers, else of a dimension.

    Args:
        q: Posterior, batch shape (*batch,).
        p: Prior, batch shape () or (*batch,).
        z: Draws from q, on which the terms of layers depend; see :func:`kl_divergence`.

    Returns:
        Nats, shape (*batch, parts); the sum over the parts is :func:`kl_divergence`.

    Raises:
        UnsupportedOperationError: If the divergence of these types does not split.
    """
    formula = _GIVEN_DRAW.get((type(q), type(p)))
    if formula is None:
        return kl_per_dimension(q, p)
    return formula(q, p, q.rsample() if z is None else z)


@register_kl(DiagonalGaussian, StandardNormal)
def _diagonal_standard(q: DiagonalGaussian, p: StandardNormal) -> Tensor:
    # Kingma and Welling, 2014, appendix B; the constant leaves the sum to save a pass over (*batch, latent).
    # Small nets are bound by the number of operations, forward and backward: hence addcmul.
    elements = torch.addcmul(q.stddev.square(), q.mean, q.mean) - q.log_var
    return elements.sum(-1) * 0.5 - 0.5 * q.mean.shape[-1]


@register_kl_per_dimension(DiagonalGaussian, StandardNormal)
def _diagonal_standard_elements(q: DiagonalGaussian, p: StandardNormal) -> Tensor:
    return 0.5 * (q.mean.square() + q.stddev.square() - q.log_var - 1.0)


@register_kl_per_dimension(DiagonalGaussian, DiagonalGaussian)
def _diagonal_diagonal_elements(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    ratio = (q.stddev / p.stddev).square()
    shift = ((q.mean - p.mean) / p.stddev).square()
    return 0.5 * (ratio + shift + p.log_var - q.log_var - 1.0)


@register_kl(DiagonalGaussian, DiagonalGaussian)
def _diagonal_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    return _diagonal_diagonal_elements(q, p).sum(-1)


@register_kl(FullGaussian, StandardNormal)
def _full_standard(q: FullGaussian, p: StandardNormal) -> Tensor:
    trace = q.cholesky.square().sum((-2, -1))
    return 0.5 * (trace + q.mean.square().sum(-1) - q.mean.shape[-1]) - q.half_log_determinant
