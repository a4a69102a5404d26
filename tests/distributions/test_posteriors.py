"""Posteriors: a contract over the registry, and the oracles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.protocols import Posterior
from latentkit.distributions import (
    DiagonalGaussian,
    FullGaussian,
    PosteriorFamily,
    StandardNormal,
    UniformSphere,
    has_closed_form_kl,
    kl_divergence,
    posteriors,
)

DOUBLE = torch.float64
#: Families without a density have tests of their own.
DENSE = [name for name in posteriors if posteriors[name].has_density]
everyone = pytest.mark.parametrize("name", DENSE)
#: Those whose draws are anywhere in R^latent_dim, and those whose moments and entropy have closed forms.
REAL = [name for name in DENSE if posteriors[name].support == "reals"]
CLOSED = [name for name in DENSE if name != "flow"]
SMALL = {"flow": {"width": 16, "context_dim": 4}}


def _numbers(*shape: int, seed: str = "numbers", dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE).to(dtype)


def _family(name: str, latent_dim: int = 3, dtype: torch.dtype = DOUBLE) -> PosteriorFamily:
    """A family whose own parameters, if any, are away from where they start."""
    family = posteriors[name](latent_dim, **SMALL.get(name, {}))
    random = seeds.generator(0, "family")
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.normal_(0.0, 0.15, generator=random)
    return family.to(dtype)


def _posterior(name: str, *batch: int, latent_dim: int = 3, dtype: torch.dtype = DOUBLE) -> Posterior:
    family = _family(name, latent_dim, dtype)
    return family(_numbers(*batch, family.n_parameters, dtype=dtype))


def _value(name: str, *shape: int, seed: str = "z", dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    """Somewhere in the family's support."""
    z = _numbers(*shape, seed=seed, dtype=dtype)
    return z if posteriors[name].support == "reals" else z / z.norm(dim=-1, keepdim=True)


def _prior(name: str, latent_dim: int = 3) -> StandardNormal | UniformSphere:
    return (StandardNormal if posteriors[name].support == "reals" else UniformSphere)(latent_dim)


@everyone
@pytest.mark.parametrize("batch", [(), (7,), (4, 7)])
def test_shapes(name, batch) -> None:
    q = _posterior(name, *batch)
    assert isinstance(q, Posterior)
    assert q.mean.shape == q.stddev.shape == q.log_var.shape == (*batch, 3)
    for draw in (q.rsample, q.sample):
        assert draw().shape == (*batch, 3)
        assert draw(5).shape == (5, *batch, 3)
    assert q.log_prob(q.sample()).shape == batch
    assert q.log_prob(q.sample(5)).shape == (5, *batch)
    assert q.log_prob(q.sample(5).clone()).shape == (5, *batch)
    if name in CLOSED:
        assert q.entropy().shape == batch


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("latent_dim", [1, 2, 3, 8])
def test_zeros_are_the_standard_normal(name, latent_dim) -> None:
    q = posteriors[name](latent_dim)(torch.zeros(2, posteriors[name](latent_dim).n_parameters))
    z = _numbers(2, latent_dim, dtype=torch.float32)
    assert q.mean.shape == (2, latent_dim)
    torch.testing.assert_close(q.log_prob(z), StandardNormal(latent_dim).log_prob(z))
    torch.testing.assert_close(q.rsample(noise=z), z)


@everyone
def test_every_parameter_matters(name) -> None:
    family = _family(name, 4)
    parameters = _numbers(2, family.n_parameters).requires_grad_()
    value = family(parameters).log_prob(_value(name, 2, 4)).sum()
    gradient, *others = torch.autograd.grad(value, [parameters, *family.parameters()])
    assert (gradient != 0).all()
    assert all((other != 0).any() for other in others)


@everyone
def test_moments_and_entropy_of_draws(name) -> None:
    q = _posterior(name, 2)
    n = 20000
    z = q.sample(n, generator=seeds.generator(1))
    estimated = 0.0 if name in CLOSED else 0.15  # from 32 fixed draws
    assert ((z.mean(0) - q.mean).abs() <= (5 / n**0.5 + estimated) * q.stddev).all()
    torch.testing.assert_close(z.std(0), q.stddev, rtol=0.04 + estimated, atol=0.0)
    torch.testing.assert_close(q.log_var, 2 * q.stddev.log())
    if name in CLOSED:
        log_prob = q.log_prob(z)
        assert ((log_prob.mean(0) + q.entropy()).abs() <= 5 * log_prob.std(0) / n**0.5).all()


@everyone
@pytest.mark.parametrize("latent_dim", [2, 3])
def test_draws_have_the_density_that_they_are_given(name, latent_dim) -> None:
    """Draws from it and from a known distribution, half and half: each density over their mean has expectation 1."""
    q = _posterior(name, latent_dim=latent_dim)
    n = 20000
    if posteriors[name].support == "sphere":
        known, others = UniformSphere(latent_dim), UniformSphere(latent_dim).sample(n, generator=seeds.generator(3))
    else:
        known = oracle.Independent(oracle.Normal(q.mean, 2 * q.stddev), 1)
        others = q.mean + 2 * q.stddev * _numbers(n, latent_dim, seed="others")
    z = torch.cat([q.sample(n, generator=seeds.generator(2)), others])
    log_prob, log_known = q.log_prob(z), known.log_prob(z)
    ratio = (log_known - torch.logaddexp(log_prob, log_known) + math.log(2)).exp()
    assert abs(ratio.mean() - 1) <= 5 * ratio.std() / (2 * n) ** 0.5


@everyone
def test_density_of_own_draws_is_that_of_any_value(name) -> None:
    family = _family(name)
    parameters = _numbers(4, family.n_parameters)
    q, again = family(parameters), family(parameters)
    for z in (q.rsample(), q.rsample(5), q.sample(5)):
        torch.testing.assert_close(q.log_prob(z), again.log_prob(z.clone()))
        torch.testing.assert_close(q.detach().log_prob(z), again.log_prob(z.clone()))


@everyone
def test_gradients_of_the_density_of_own_draws(name) -> None:
    """Total, along the path alone, and at a fixed value: each as where nothing was kept from drawing."""
    family = _family(name)
    parameters = _numbers(4, family.n_parameters).requires_grad_()
    noise = _numbers(5, 4, 3, seed="noise")

    def gradients(how: str, kept: bool) -> tuple[torch.Tensor, ...]:
        q = family(parameters)
        z = q.sample(5, generator=seeds.generator(4)) if how == "fixed" else q.rsample(5, noise=noise)
        density = q.detach() if how == "path" else q
        value = density.log_prob(z if kept else z + 0.0)
        return torch.autograd.grad(value.sum(), [parameters, *family.parameters()])

    for how in ("total", "path", "fixed"):
        torch.testing.assert_close(gradients(how, True), gradients(how, False))
    q = family(parameters.detach())
    z = q.sample(5).requires_grad_()
    (to_value,) = torch.autograd.grad(q.log_prob(z).sum(), z)
    (expected,) = torch.autograd.grad(q.log_prob(z + 0.0).sum(), z)
    torch.testing.assert_close(to_value, expected)


@everyone
def test_draws_are_reparameterised_and_samples_are_not(name) -> None:
    family = _family(name)
    parameters = _numbers(2, family.n_parameters).requires_grad_()
    q = family(parameters)
    assert q.rsample(2).requires_grad
    assert not q.sample(2).requires_grad
    noise = _numbers(5, 2, 3, seed="noise")
    z = q.rsample(5, noise=noise)
    assert torch.equal(z, q.rsample(5, noise=noise))
    (gradient,) = torch.autograd.grad(z.sum(), parameters)
    assert (gradient != 0).all()
    if name in ("diagonal", "full"):
        assert (gradient[..., :3] == 5).all()


@everyone
def test_path_gradients_are_those_of_the_expectation(name) -> None:
    """The gradient of E f(z) along the draws is that of the score function, which knows only the density."""
    family = _family(name)
    parameters = _numbers(family.n_parameters).requires_grad_()
    target = _numbers(3, seed="target")
    z = family(parameters).rsample(20000, noise=_numbers(20000, 3, seed="noise"))
    value = (z @ target).exp() if posteriors[name].support == "sphere" else torch.tanh(z @ target)
    (path,) = torch.autograd.grad(value.mean(), parameters, retain_graph=True)
    fixed = z.detach().clone()
    score = family(parameters).log_prob(fixed) * (value - value.mean()).detach()
    (expected,) = torch.autograd.grad(score.mean(), parameters)
    torch.testing.assert_close(path, expected, rtol=0.1, atol=0.03)


@everyone
def test_detach_cuts_the_graph_and_keeps_the_distribution(name) -> None:
    family = _family(name)
    q = family(_numbers(2, family.n_parameters).requires_grad_())
    z = _value(name, 2, 3)
    assert not q.detach().log_prob(z).requires_grad
    assert not q.detach().detach().rsample().requires_grad
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
    family = _family(name, dtype=torch.float32)
    parameters = _numbers(2, family.n_parameters, dtype=torch.bfloat16)
    noise, z = _numbers(2, 3, dtype=torch.float32), _value(name, 2, 3, dtype=torch.float32)

    def results(parameters: torch.Tensor) -> list[torch.Tensor]:
        q = family(parameters)
        values = [q.rsample(noise=noise), q.log_prob(z), q.mean, q.stddev]
        return [*values, q.entropy()] if name in CLOSED else values

    expected = results(parameters.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = results(parameters)
    for value, wanted in zip(actual, expected, strict=True):
        assert value.dtype is torch.float32
        assert torch.equal(value, wanted)
    assert _posterior(name, 2).rsample().dtype is DOUBLE


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "flow" else []) for name in DENSE]
)
def test_gradients(name) -> None:
    family = _family(name)
    parameters = _numbers(2, family.n_parameters).requires_grad_()
    noise, z = _numbers(4, 2, 3, seed="noise"), _value(name, 4, 2, 3)

    def outputs(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        q = family(value)
        values = q.log_prob(z), q.mean, q.stddev
        return (*values, q.entropy(), kl_divergence(q, _prior(name))) if name in CLOSED else values

    assert torch.autograd.gradcheck(outputs, (parameters,))
    # draws of the spherical family invert a table: its own rounding limits finite differences
    assert torch.autograd.gradcheck(lambda value: family(value).rsample(4, noise=noise), (parameters,), atol=1e-4)


@everyone
def test_extreme_outputs_stay_finite(name) -> None:
    family = posteriors[name](3)
    at = slice(3, 6) if name != "spherical" else slice(3, 4)
    for sign in (1.0, -1.0):
        parameters = torch.full((2, family.n_parameters), 60.0 * sign).requires_grad_()
        q = family(parameters)
        value = kl_divergence(q, _prior(name)) + q.rsample().sum(-1)
        (gradient,) = torch.autograd.grad(value.sum(), parameters)
        assert value.isfinite().all()
        assert gradient.isfinite().all()
        assert (gradient[..., at] != 0).any(), "a variance at its bound must be able to come back"


@everyone
def test_one_draw_estimates_the_divergence(name) -> None:
    q, p = _posterior(name, 4), _prior(name)
    z = q.sample(5000, generator=seeds.generator(5))
    estimates = q.log_prob(z) - p.log_prob(z)
    expected = kl_divergence(q, p) if has_closed_form_kl(q, p) else kl_divergence(q, p, z=z)
    assert expected.shape == (4,)
    assert ((estimates.mean(0) - expected).abs() <= 5 * estimates.std(0) / 5000**0.5).all()
    assert (expected >= 0).all()


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
