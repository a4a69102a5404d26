"""Divergences: every registered pair against torch.distributions and Monte Carlo."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.errors import UnsupportedOperationError
from latentkit.distributions import (
    DiagonalGaussian,
    FullGaussian,
    GaussianMixture,
    StandardNormal,
    UniformSphere,
    VonMisesFisher,
    has_closed_form_kl,
    kl_divergence,
    kl_per_dimension,
    posteriors,
)
from latentkit.distributions.kl import registered_kl

DOUBLE = torch.float64


def _numbers(*shape: int, seed: str = "numbers") -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE)


def _make(kind: type, seed: str) -> object:
    if kind is StandardNormal:
        return StandardNormal(3)
    return kind.from_parameters(_numbers(5, 6 if kind is DiagonalGaussian else 9, seed=seed))


def _oracle(p: object) -> oracle.Distribution:
    if isinstance(p, StandardNormal):
        return oracle.MultivariateNormal(torch.zeros(3, dtype=DOUBLE), torch.eye(3, dtype=DOUBLE))
    factor = p.cholesky if isinstance(p, FullGaussian) else torch.diag_embed(p.stddev)
    return oracle.MultivariateNormal(p.mean, scale_tril=factor)


SPHERE = [(VonMisesFisher, UniformSphere)]  # its own tests have it, against quadrature
GAUSSIAN = [pair for pair in registered_kl() if pair not in SPHERE]


def test_the_spherical_pair_is_registered() -> None:
    assert set(SPHERE) < set(registered_kl())


@pytest.mark.parametrize(("kind_q", "kind_p"), GAUSSIAN, ids=lambda kind: kind.__name__)
def test_closed_forms(kind_q, kind_p) -> None:
    q, p = _make(kind_q, "q"), _make(kind_p, "p")
    assert has_closed_form_kl(q, p)
    kl = kl_divergence(q, p)
    assert kl.shape == (5,)
    assert (kl >= 0).all()
    torch.testing.assert_close(kl, oracle.kl_divergence(_oracle(q), _oracle(p)))
    z = q.sample(20000, generator=seeds.generator(1))
    estimates = q.log_prob(z) - p.log_prob(z)
    assert ((estimates.mean(0) - kl).abs() <= 5 * estimates.std(0) / 20000**0.5).all()


REAL = [posteriors[name] for name in posteriors if posteriors[name].support == "reals" and posteriors[name].has_density]


@pytest.mark.parametrize("kind", REAL, ids=lambda kind: kind.__name__)
def test_of_itself_is_zero(kind) -> None:
    family = kind(3)
    q = family(torch.zeros(2, family.n_parameters))
    torch.testing.assert_close(kl_divergence(q, StandardNormal(3)), torch.zeros(2))


@pytest.mark.parametrize("kind_p", [StandardNormal, DiagonalGaussian])
def test_dimensions_sum_to_the_whole(kind_p) -> None:
    q, p = _make(DiagonalGaussian, "q"), _make(kind_p, "p")
    elements = kl_per_dimension(q, p)
    assert elements.shape == (5, 3)
    assert (elements >= 0).all()
    torch.testing.assert_close(elements.sum(-1), kl_divergence(q, p))
    assert torch.autograd.gradcheck(
        lambda mean, log_var: kl_per_dimension(DiagonalGaussian(mean, log_var), p),
        (_numbers(5, 3).requires_grad_(), _numbers(5, 3, seed="v").requires_grad_()),
    )


def test_without_a_closed_form_the_draws_are_averaged() -> None:
    q = _make(DiagonalGaussian, "q")
    p = GaussianMixture(torch.zeros(1, dtype=DOUBLE), torch.zeros(1, 3, dtype=DOUBLE), torch.eye(3, dtype=DOUBLE)[None])
    assert not has_closed_form_kl(q, p)
    z = q.sample(20000, generator=seeds.generator(1))
    assert kl_divergence(q, p).shape == (5,)
    torch.testing.assert_close(kl_divergence(q, p, z=z[0]), q.log_prob(z[0]) - p.log_prob(z[0]))
    torch.testing.assert_close(kl_divergence(q, p, z=z), (q.log_prob(z) - p.log_prob(z)).mean(0))
    torch.testing.assert_close(kl_divergence(q, p, z=z), kl_divergence(q, StandardNormal(3)), rtol=0.05, atol=0.05)


def test_one_draw_without_draws_given_carries_gradients() -> None:
    mean = _numbers(5, 3).requires_grad_()
    p = GaussianMixture(torch.zeros(1, dtype=DOUBLE), torch.zeros(1, 3, dtype=DOUBLE), torch.eye(3, dtype=DOUBLE)[None])
    (gradient,) = torch.autograd.grad(kl_divergence(DiagonalGaussian(mean, torch.zeros_like(mean)), p).sum(), mean)
    assert (gradient != 0).all()


def test_no_split_where_dimensions_depend() -> None:
    with pytest.raises(UnsupportedOperationError, match=r"FullGaussian from StandardNormal does not split .*diagonal"):
        kl_per_dimension(_make(FullGaussian, "q"), StandardNormal(3))
