"""Learnt mixtures: against torch.distributions, and made of any posterior."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.errors import UnsupportedOperationError
from latentkit.distributions import (
    DiagonalGaussian,
    FullGaussian,
    MixturePrior,
    PosteriorMixture,
    VampPrior,
    posteriors,
)
from latentkit.distributions.mixture import log_prob_under_each

DOUBLE = torch.float64


def _numbers(*shape: int, seed: str = "numbers") -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE)


def test_mixture_against_torch() -> None:
    prior = MixturePrior(3, n_components=4).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(_numbers(*parameter.shape, seed=str(parameter.shape)))
    p = prior()
    components = oracle.Independent(oracle.Normal(p.components.mean, p.components.stddev), 1)
    expected = oracle.MixtureSameFamily(oracle.Categorical(logits=prior.logits), components)
    z = 3 * _numbers(4, 7, 3, seed="z")
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(p.mean, expected.mean)
    torch.testing.assert_close(p.stddev, expected.variance.sqrt())


def test_mixture_starts_near_the_standard_normal() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        p = MixturePrior(2, n_components=2000)()
    assert p.mean.abs().max() < 0.1
    torch.testing.assert_close(p.stddev, torch.ones(2), rtol=0.05, atol=0.0)


@pytest.mark.parametrize("log_var", [-20.0, -8.0, 0.0, 8.0])
def test_products_lose_no_digits(log_var) -> None:
    """Narrow components far from zero, where squares multiplied out cancel."""
    q = DiagonalGaussian(5 * _numbers(6, 3).float(), torch.full((6, 3), log_var))
    rows = torch.cat([q.mean + q.stddev * _numbers(6, 3, seed="noise").float(), q.mean])
    exact = DiagonalGaussian(q.mean.double(), q.log_var.double()).log_prob(rows.double().unsqueeze(1))
    near = exact > -100  # elsewhere the density is nothing
    torch.testing.assert_close(log_prob_under_each(q, rows)[near], exact[near], rtol=1e-5, atol=1e-5)


def test_other_components_go_one_by_one() -> None:
    q = FullGaussian.from_parameters(_numbers(4, 9))
    rows = _numbers(7, 3, seed="rows")
    expected = torch.stack([q.log_prob(row.expand(4, 3)) for row in rows])
    torch.testing.assert_close(log_prob_under_each(q, rows), expected)


@pytest.mark.parametrize("name", [name for name in posteriors if posteriors[name].has_density])
def test_draws_of_components_are_those_of_their_posteriors(name) -> None:
    """A component that has all the weight is the mixture."""
    family = posteriors[name](3).double()
    parameters = _numbers(4, family.n_parameters)
    log_weights = torch.tensor([-1e9, -1e9, 0.0, -1e9], dtype=DOUBLE)
    p = PosteriorMixture(log_weights, family(parameters), lambda chosen: family(parameters[chosen]))
    q = family(parameters[2])
    z = p.sample(4000, generator=seeds.generator(1))
    assert ((z.mean(0) - q.mean).abs() <= 5 * q.stddev / 4000**0.5).all()
    torch.testing.assert_close(p.log_prob(z), q.log_prob(z))
    torch.testing.assert_close(p.mean, q.mean)
    torch.testing.assert_close(p.stddev, q.stddev)


def test_vamp_is_the_mixture_of_the_posteriors_at_its_pseudo_inputs() -> None:
    prior = VampPrior(2, (4,), n_components=3).double()
    seen = []

    def encode(x: torch.Tensor) -> DiagonalGaussian:
        seen.append(len(x))
        return DiagonalGaussian(x[:, :2], x[:, 2:])

    z = _numbers(5, 2)
    q = encode(prior.pseudo_inputs)
    expected = torch.stack([q.log_prob(row.expand(3, 2)) for row in z]).exp().mean(-1).log()
    torch.testing.assert_close(prior(encode).log_prob(z), expected)
    prior(encode).sample(8, generator=seeds.generator(0))
    assert max(seen) == 3, "no more are encoded at a time than there are components"
    (gradient,) = torch.autograd.grad(prior(encode).log_prob(z).sum(), prior.pseudo_inputs)
    assert (gradient != 0).all()


@pytest.mark.parametrize("n_rows", [2, 3, 50])
def test_pseudo_inputs_start_as_rows_of_the_data(n_rows) -> None:
    prior = VampPrior(2, (1, 2, 2), n_components=5)
    x = 10 * _numbers(n_rows, 1, 2, 2).float()
    before = torch.random.get_rng_state()
    prior.initialise(x)
    assert torch.equal(before, torch.random.get_rng_state())
    apart = torch.cdist(prior.pseudo_inputs.flatten(1), x.flatten(1))
    assert apart.min(1).values.max() < 0.1 * x.std() * 2
    assert len(set(apart.argmin(1).tolist())) == min(5, n_rows), "evenly spread over the rows"
    assert len(prior.pseudo_inputs.unique(dim=0)) == 5, "those of the same row can part"


def test_vamp_needs_the_model() -> None:
    with pytest.raises(UnsupportedOperationError, match=r"without `encode`. Call it as prior\(model.encode\)"):
        VampPrior(2, (4,))()
