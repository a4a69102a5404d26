"""The bounds against closed-form evidence."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Batch
from latentkit.objectives import Dreg, Elbo, Iwae, Stl, log_importance_weights, log_mean_exp

DOUBLE = torch.float64


def _x(n: int, features: int = 5) -> torch.Tensor:
    return 2 * torch.randn(n, features, generator=seeds.generator(0, "x"), dtype=DOUBLE)


@pytest.mark.parametrize("full", [True, False])
def test_elbo_of_the_exact_posterior_is_the_evidence(linear_gaussian, use_noise, sigma_points, full) -> None:
    model = linear_gaussian(full=full)
    points = sigma_points(2)
    use_noise(points)
    for x in _x(4):
        terms = Elbo()(model, Batch(x.expand(len(points), -1)))
        assert abs(terms.objective.mean() - model.log_evidence(x)) < 1e-6
        assert terms.objective.std() > 0.01


@pytest.mark.parametrize("objective", [Iwae(n_importance=1), Iwae(), Dreg(), Stl(), Stl(n_importance=4)], ids=repr)
@pytest.mark.parametrize("full", [True, False])
def test_every_draw_of_the_exact_posterior_weighs_the_evidence(linear_gaussian, objective, full) -> None:
    model = linear_gaussian(full=full)
    x = _x(8)
    torch.testing.assert_close(objective(model, Batch(x)).objective, model.log_evidence(x), rtol=0.0, atol=1e-6)


def test_evidence_of_what_was_observed(linear_gaussian) -> None:
    """With features missing, the mean weight is the evidence of the others."""
    model = linear_gaussian(wrong=0.1, full=False)
    x = _x(1)
    mask = torch.tensor([[True, False, True, True, False]])
    covariance = model.weight @ model.weight.T + model.likelihood.stddev.square() * torch.eye(5, dtype=DOUBLE)
    seen = mask[0]
    expected = torch.distributions.MultivariateNormal(model.bias[seen], covariance[seen][:, seen]).log_prob(x[:, seen])
    noise = torch.randn(200000, 1, 2, generator=seeds.generator(1), dtype=DOUBLE)
    # A posterior of all features is too narrow for the evidence of some: it is widened by hand.
    log_weights = log_importance_weights(model, x, len(noise), noise=3.0 * noise, mask=mask)
    log_weights = log_weights - noise.square().sum(-1) * (3.0**2 - 1) / 2 + 2 * math.log(3.0)
    torch.testing.assert_close(log_mean_exp(log_weights), expected, atol=0.02, rtol=0.0)


def test_bounds_tighten_with_draws_and_stay_below_the_evidence(linear_gaussian) -> None:
    model = linear_gaussian(wrong=0.7, full=False)
    x = _x(8)
    n = 1500
    noise = torch.randn(50, n * 8, 2, generator=seeds.generator(2), dtype=DOUBLE)
    with torch.no_grad():
        log_weights = log_importance_weights(model, x.repeat(n, 1), 50, noise=noise).reshape(50, n, 8)
        evidence = model.log_evidence(x)
    bounds = [log_weights.mean(0), log_mean_exp(log_weights[:5]), log_mean_exp(log_weights)]
    for looser, tighter in itertools.pairwise(bounds):
        gap = tighter - looser
        assert (gap.mean(0) > 5 * gap.std(0) / n**0.5).all()
    assert (bounds[-1].mean(0) < evidence - 3 * bounds[-1].std(0) / n**0.5).all()
    torch.testing.assert_close(bounds[-1].mean(0), evidence, rtol=0.0, atol=0.3)


def test_objectives_share_one_value(linear_gaussian, use_noise) -> None:
    model = linear_gaussian(wrong=0.4, full=False)
    noise = torch.randn(7, 8, 2, generator=seeds.generator(3), dtype=DOUBLE)
    use_noise(noise)
    batch = Batch(_x(8))
    expected = log_mean_exp(log_importance_weights(model, batch.x, 7, noise=noise))
    for objective in (Iwae(n_importance=7), Dreg(n_importance=7), Stl(n_importance=7)):
        terms = objective(model, batch)
        torch.testing.assert_close(terms.objective, expected)
        assert not terms.kl.requires_grad


def test_beta_and_weight_multiply(linear_gaussian, use_noise) -> None:
    model = linear_gaussian(wrong=0.4, full=False)
    use_noise(torch.randn(8, 2, generator=seeds.generator(3), dtype=DOUBLE))
    terms = Elbo(beta=4.0)(model, Batch(_x(8)), kl_weight=0.25)
    plain = Elbo()(model, Batch(_x(8)))
    torch.testing.assert_close(terms.objective, plain.objective)
    terms = Elbo(beta=3.0)(model, Batch(_x(8)))
    torch.testing.assert_close(terms.objective, terms.log_likelihood - 3 * terms.kl)
    torch.testing.assert_close(terms.kl, plain.kl)


def test_log_mean_exp() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [-1e4, 1e4, 0.0]], dtype=DOUBLE)
    assert log_mean_exp(values, dim=1)[0] == pytest.approx(math.log(sum(map(math.exp, (1, 2, 3))) / 3))
    assert log_mean_exp(values, dim=1)[1] == pytest.approx(1e4 - math.log(3))
    assert log_mean_exp(values).shape == (3,)


def test_no_draws_are_refused(linear_gaussian) -> None:
    with pytest.raises(InvalidParameterError, match="n_samples must be an integer of at least 1; got 0"):
        log_importance_weights(linear_gaussian(), _x(2), 0)
