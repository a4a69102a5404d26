"""Posteriors: a contract over the registry, and the oracles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.protocols import Posterior
from latentkit.distributions import DiagonalGaussian, FullGaussian, StandardNormal, kl_divergence, posteriors

DOUBLE = torch.float64
#: Families without a density have tests of their own.
everyone = pytest.mark.parametrize("name", [name for name in posteriors if posteriors[name].has_density])


def _numbers(*shape: int, seed: str = "numbers", dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE).to(dtype)


def _posterior(name: str, *batch: int, latent_dim: int = 3, dtype: torch.dtype = DOUBLE) -> Posterior:
    return posteriors[name](latent_dim)(_numbers(*batch, posteriors[name](latent_dim).n_parameters, dtype=dtype))


@everyone
@pytest.mark.parametrize("batch", [(), (7,), (4, 7)])
def test_shapes(name, batch) -> None:
    q = _posterior(name, *batch)
    assert isinstance(q, Posterior)
    assert q.mean.shape == q.stddev.shape == q.log_var.shape == (*batch, 3)
    for draw in (q.rsample, q.sample):
        assert draw().shape == (*batch, 3)
        assert draw(5).shape == (5, *batch, 3)
    assert q.log_prob(q.sample()).shape == q.entropy().shape == batch
    assert q.log_prob(q.sample(5)).shape == (5, *batch)


@everyone
@pytest.mark.parametrize("latent_dim", [1, 2, 3, 8])
def test_zeros_are_the_standard_normal(name, latent_dim) -> None:
    q = posteriors[name](latent_dim)(torch.zeros(2, posteriors[name](latent_dim).n_parameters))
    z = _numbers(2, latent_dim, dtype=torch.float32)
    assert q.mean.shape == (2, latent_dim)
    torch.testing.assert_close(q.log_prob(z), StandardNormal(latent_dim).log_prob(z))
    torch.testing.assert_close(q.rsample(noise=z), z)


@everyone
def test_every_parameter_matters(name) -> None:
    parameters = _numbers(2, posteriors[name](4).n_parameters).requires_grad_()
    q = posteriors[name](4)(parameters)
    (gradient,) = torch.autograd.grad(q.log_prob(_numbers(2, 4, seed="z")).sum(), parameters)
    assert (gradient != 0).all()


@everyone
def test_moments_and_entropy_of_draws(name) -> None:
    q = _posterior(name, 2)
    n = 20000
    z = q.sample(n, generator=seeds.generator(1))
    assert ((z.mean(0) - q.mean).abs() <= 5 * q.stddev / n**0.5).all()
    torch.testing.assert_close(z.std(0), q.stddev, rtol=0.04, atol=0.0)
    log_prob = q.log_prob(z)
    assert ((log_prob.mean(0) + q.entropy()).abs() <= 5 * log_prob.std(0) / n**0.5).all()


@everyone
def test_draws_are_reparameterised_and_samples_are_not(name) -> None:
    parameters = _numbers(2, posteriors[name](3).n_parameters).requires_grad_()
    q = posteriors[name](3)(parameters)
    assert q.rsample(2).requires_grad
    assert not q.sample(2).requires_grad
    noise = _numbers(5, 2, 3, seed="noise")
    (gradient,) = torch.autograd.grad(q.rsample(5, noise=noise).sum(), parameters)
    assert (gradient[..., :3] == 5).all()


@everyone
def test_detach_cuts_the_graph_and_keeps_the_distribution(name) -> None:
    parameters = _numbers(2, posteriors[name](3).n_parameters).requires_grad_()
    q = posteriors[name](3)(parameters)
    z = _numbers(2, 3, seed="z")
    assert not q.detach().log_prob(z).requires_grad
    torch.testing.assert_close(q.detach().log_prob(z), q.log_prob(z))


@everyone
def test_draws_follow_the_generator_alone(name) -> None:
    q = _posterior(name, 2)
    before = torch.random.get_rng_state()
    assert torch.equal(q.sample(3, generator=seeds.generator(1)), q.sample(3, generator=seeds.generator(1)))
    assert not torch.equal(q.sample(3, generator=seeds.generator(1)), q.sample(3, generator=seeds.generator(2)))
    assert torch.equal(before, torch.random.get_rng_state())


@everyone
def test_precision(name) -> None:
    parameters = _numbers(2, posteriors[name](3).n_parameters, dtype=torch.bfloat16)
    expected = posteriors[name](3)(parameters.float())
    noise, z = _numbers(2, 3, dtype=torch.float32), _numbers(2, 3, seed="z", dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q = posteriors[name](3)(parameters)
        results = q.rsample(noise=noise), q.log_prob(z), q.entropy()
    for actual, value in zip(
        results, (expected.rsample(noise=noise), expected.log_prob(z), expected.entropy()), strict=True
    ):
        assert actual.dtype is torch.float32
        assert torch.equal(actual, value)
    assert _posterior(name, 2).rsample().dtype is DOUBLE


@everyone
def test_gradients(name) -> None:
    parameters = _numbers(2, posteriors[name](3).n_parameters).requires_grad_()
    noise, z = _numbers(4, 2, 3, seed="noise"), _numbers(4, 2, 3, seed="z")

    def outputs(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        q = posteriors[name](3)(value)
        return q.rsample(4, noise=noise), q.log_prob(z), q.entropy(), kl_divergence(q, StandardNormal(3))

    assert torch.autograd.gradcheck(outputs, (parameters,))


@everyone
def test_extreme_outputs_stay_finite(name) -> None:
    for sign in (1.0, -1.0):
        parameters = torch.full((2, posteriors[name](3).n_parameters), 60.0 * sign).requires_grad_()
        q = posteriors[name](3)(parameters)
        value = kl_divergence(q, StandardNormal(3)) + q.rsample().sum(-1)
        (gradient,) = torch.autograd.grad(value.sum(), parameters)
        assert value.isfinite().all()
        assert gradient.isfinite().all()
        assert (gradient[..., 3:6] != 0).any(), "a variance at its bound must be able to come back"


def test_diagonal_against_torch() -> None:
    mean, log_var, z = _numbers(7, 3), _numbers(7, 3, seed="v"), _numbers(5, 7, 3, seed="z")
    q = DiagonalGaussian(mean, log_var)
    expected = oracle.Independent(oracle.Normal(mean, log_var.exp().sqrt()), 1)
    torch.testing.assert_close(q.log_prob(z), expected.log_prob(z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(q.entropy(), expected.entropy())
    torch.testing.assert_close(q.stddev, expected.stddev)


def test_diagonal_parameters_are_means_then_log_variances() -> None:
    q = DiagonalGaussian.from_parameters(torch.tensor([1.0, 2.0, 0.5, -40.0]))
    assert q.mean.tolist() == [1.0, 2.0]
    torch.testing.assert_close(q.log_var, torch.tensor([20 * math.tanh(0.025), 20 * math.tanh(-2.0)]))


def test_full_against_torch() -> None:
    q = _posterior("full", 7)
    z = _numbers(5, 7, 3, seed="z")
    expected = oracle.MultivariateNormal(q.mean, scale_tril=q.cholesky)
    torch.testing.assert_close(q.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(q.entropy(), expected.entropy())
    torch.testing.assert_close(q.stddev, expected.stddev)
    noise = _numbers(5, 7, 3, seed="noise")
    torch.testing.assert_close(q.rsample(5, noise=noise), q.mean + torch.einsum("bij,kbj->kbi", q.cholesky, noise))
    covariance = torch.stack([torch.cov(rows.T) for rows in q.sample(40000, generator=seeds.generator(3)).unbind(1)])
    torch.testing.assert_close(covariance, expected.covariance_matrix, rtol=0.05, atol=0.1)


def test_full_factor_is_triangular_and_holds_every_parameter_once() -> None:
    packed = torch.arange(10, dtype=DOUBLE) / 10 + 0.05
    q = FullGaussian.from_parameters(torch.cat((torch.zeros(4, dtype=DOUBLE), packed)))
    below = q.cholesky.tril(-1)
    assert torch.equal(q.cholesky.triu(1), torch.zeros(4, 4, dtype=DOUBLE))
    assert len(set(below[below != 0].tolist())) == 6
    assert set(below[below != 0].tolist()) < set(packed.tolist())
