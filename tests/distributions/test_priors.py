"""Priors: a contract over the registry and the fitted mixture, and the oracles."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Distribution
from latentkit.distributions import GaussianMixturePrior, Prior, StandardNormal, priors

DOUBLE = torch.float64


def _numbers(*shape: int, seed: str = "numbers") -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE)


def _mixture() -> GaussianMixturePrior:
    factors = _numbers(4, 3, 3, seed="factors").tril(-1) + torch.diag_embed(_numbers(4, 3, seed="diagonal").exp())
    return GaussianMixturePrior(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=DOUBLE), 2 * _numbers(4, 3), factors)


def _oracle(prior: Prior) -> oracle.Distribution:
    if isinstance(prior, GaussianMixturePrior):
        components = oracle.MultivariateNormal(prior.means, scale_tril=prior.cholesky)
        return oracle.MixtureSameFamily(oracle.Categorical(logits=prior.log_weights), components)
    return oracle.Independent(oracle.Normal(torch.zeros(3, dtype=DOUBLE), torch.ones(3, dtype=DOUBLE)), 1)


def _prior(name: str) -> Prior:
    return _mixture() if name == "mixture" else priors[name](3).double()


everyone = pytest.mark.parametrize("name", [*priors, "mixture"])


@everyone
def test_shapes_and_precision(name) -> None:
    prior = _prior(name)
    p = prior()
    assert isinstance(p, Distribution)
    assert prior.latent_dim == 3
    assert p.mean.shape == p.stddev.shape == p.sample().shape == (3,)
    assert p.sample(5).shape == (5, 3)
    assert p.log_prob(_numbers(3)).shape == ()
    assert p.log_prob(_numbers(4, 7, 3)).shape == (4, 7)
    assert p.mean.dtype is p.sample(2).dtype is p.log_prob(_numbers(2, 3)).dtype is DOUBLE
    low = _numbers(7, 3).bfloat16()
    expected = prior.float()().log_prob(low.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = prior().log_prob(low)
    assert actual.dtype is torch.float32
    assert torch.equal(actual, expected)


@everyone
def test_moments_of_draws(name) -> None:
    p = _prior(name)()
    z = p.sample(20000, generator=seeds.generator(1))
    assert ((z.mean(0) - p.mean).abs() <= 5 * p.stddev / 20000**0.5).all()
    torch.testing.assert_close(z.std(0), p.stddev, rtol=0.04, atol=0.0)


@everyone
def test_density_integrates_to_one_under_another(name) -> None:
    p = _prior(name)()
    proposal = oracle.MultivariateNormal(p.mean, torch.diag_embed(4 * p.stddev.square()))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        z = proposal.sample((40000,))
    ratio = (p.log_prob(z) - proposal.log_prob(z)).exp()
    assert abs(ratio.mean() - 1) <= 5 * ratio.std() / 40000**0.5


@everyone
def test_draws_follow_the_generator_alone(name) -> None:
    p = _prior(name)()
    before = torch.random.get_rng_state()
    assert torch.equal(p.sample(3, generator=seeds.generator(1)), p.sample(3, generator=seeds.generator(1)))
    assert torch.equal(before, torch.random.get_rng_state())


@everyone
def test_gradient_reaches_z(name) -> None:
    p = _prior(name)()
    assert torch.autograd.gradcheck(p.log_prob, (_numbers(4, 3).requires_grad_(),))


@pytest.mark.parametrize("name", ["normal", "mixture"])
def test_against_torch(name) -> None:
    prior = _prior(name)
    z = 3 * _numbers(4, 7, 3, seed="z")
    expected = _oracle(prior)
    torch.testing.assert_close(prior().log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(prior().mean, expected.mean)
    torch.testing.assert_close(prior().stddev, expected.variance.sqrt())


def test_standard_normal_alone_is_on_the_cpu_in_single_precision() -> None:
    p = StandardNormal(2)
    assert p.sample(3, generator=seeds.generator(0)).dtype is p.mean.dtype is torch.float32
    assert p.mean.tolist() == [0.0, 0.0]
    assert p.stddev.tolist() == [1.0, 1.0]


def test_mixture_state_goes_round_exactly() -> None:
    prior = _mixture().float()
    again = GaussianMixturePrior.from_state_dict(prior.state_dict())
    z = _numbers(7, 3).float()
    assert set(prior.state_dict()) == {"log_weights", "means", "cholesky"}
    assert not list(prior.parameters())
    for name, value in prior.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert torch.equal(again().log_prob(z), prior().log_prob(z))


def test_mixture_weights_are_normalised() -> None:
    torch.testing.assert_close(_mixture().log_weights.exp(), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=DOUBLE))


@pytest.mark.parametrize(
    ("weights", "means", "cholesky", "message"),
    [
        (torch.ones(2), torch.zeros(3, 2), torch.eye(2).expand(3, 2, 2), r"got shapes \(2,\), \(3, 2\)"),
        (torch.ones(3), torch.zeros(3), torch.eye(2).expand(3, 2, 2), "a mixture needs weights"),
        (torch.ones(3), torch.zeros(3, 2), torch.eye(2), "a mixture needs weights"),
        (torch.tensor([1.0, 0.0]), torch.zeros(2, 2), torch.eye(2).expand(2, 2, 2), "weights above zero"),
        (torch.ones(2), torch.zeros(2, 2), -torch.eye(2).expand(2, 2, 2), "diagonal above zero"),
        (torch.ones(2), torch.full((2, 2), torch.nan), torch.eye(2).expand(2, 2, 2), "finite numbers"),
    ],
)
def test_mixture_refuses(weights, means, cholesky, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        GaussianMixturePrior(weights, means, cholesky)


def test_normal_refuses_no_dimensions() -> None:
    with pytest.raises(InvalidParameterError, match="latent_dim must be an integer of at least 1; got 0"):
        priors["normal"](0)
