"""Annealed importance sampling against evidence that is known: in closed form, and counted out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.distributions import DiagonalGaussian, GaussianMixture, UniformSphere
from latentkit.evaluation import annealed_bound, bidirectional_bounds, importance_bound
from latentkit.evaluation.annealing import temperatures
from tests.evaluation.linear_gaussian import LinearGaussian
from tests.evaluation.small_discrete import SmallDiscrete

FAST: dict[str, Any] = {"n_steps": 30, "n_leapfrog": 3}


@pytest.fixture
def misled() -> LinearGaussian:
    """A model whose encoder is far off and far too sure."""
    return LinearGaussian(widen=0.3, shift=2.0)


def test_temperatures_rise_from_0_to_1_dense_at_both_ends() -> None:
    betas = temperatures(100)
    assert (betas[0], betas[-1]) == (0.0, 1.0)
    steps = betas.diff()
    assert steps.min() > 0
    assert steps[0] < 0.2 * steps[50]
    torch.testing.assert_close(steps, steps.flip(0))


def test_weights_are_unbiased_however_few_temperatures(misled: LinearGaussian) -> None:
    x = misled.draw(4)
    for start in ("prior", "posterior"):
        model = LinearGaussian(widen=1.5) if start == "posterior" else misled
        found = annealed_bound(model, x, n_chains=4000, n_steps=4, n_leapfrog=2, start=start)
        off = (found.log_likelihood - model.log_evidence(x)) / found.standard_error
        assert off.abs().max() < 4.0
        assert found.standard_error.max() < 0.2


@pytest.mark.slow
def test_it_needs_no_good_encoder(misled: LinearGaussian) -> None:
    x = misled.draw(30)
    truth = misled.log_evidence(x)
    by_encoder = importance_bound(misled, x, 200)
    assert float((truth - by_encoder.log_likelihood).mean()) > 1.0
    assert not by_encoder.is_tight
    found = annealed_bound(misled, x, n_chains=16, n_steps=150, n_leapfrog=4)
    assert found.is_tight
    low, high = found.interval(over="rows")
    assert low < float(truth.mean()) < high
    assert high - low < 0.2


def test_it_agrees_with_what_is_counted_out() -> None:
    model = SmallDiscrete()
    rows = model.all_rows()
    truth = model.log_evidence(rows)
    assert float(truth.exp().sum()) == pytest.approx(1.0, abs=1e-6)
    found = annealed_bound(model, rows, n_chains=32, **FAST)
    low, high = found.interval(over="rows")
    assert low < float(truth.mean()) < high
    assert float(found.log_likelihood.exp().sum()) == pytest.approx(1.0, abs=0.05)
    bound = importance_bound(model, rows, 4000)
    assert float((truth - bound.log_likelihood).abs().max()) < 0.3


def test_bounds_from_both_sides_close_in_on_the_truth() -> None:
    model = LinearGaussian(latent_dim=3, event_shape=(8,))
    gaps = []
    for n_steps in (8, 80):
        found = bidirectional_bounds(model, 20, n_steps=n_steps, n_leapfrog=3, n_chains=4)
        truth = float(model.log_evidence(found.x).mean())
        noise = 4.0 * float(found.lower.standard_error.square().sum().sqrt()) / 20
        assert found.lower.mean < truth + noise
        assert float(found.upper.mean()) > truth - noise
        gaps.append(found.gap)
    assert 0.0 < gaps[1] < 0.4 * gaps[0]


@pytest.mark.parametrize("start", ["prior", *(pytest.param(start, marks=pytest.mark.slow) for start in ("posterior",))])
def test_estimates_do_not_depend_on_batch_or_order(misled: LinearGaussian, start: Any) -> None:
    x = misled.draw(6)
    whole = annealed_bound(misled, x, start=start, n_chains=3, seed=4, **FAST)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    shuffled = annealed_bound(misled, x[order], start=start, n_chains=3, seed=4, **FAST)
    torch.testing.assert_close(shuffled.log_likelihood, whole.log_likelihood[order])
    single = annealed_bound(misled, x[2:3], start=start, n_chains=3, seed=4, **FAST)
    torch.testing.assert_close(single.log_likelihood, whole.log_likelihood[2:3])
    other = annealed_bound(misled, x, start=start, n_chains=3, seed=5, **FAST)
    assert not torch.equal(other.log_likelihood, whole.log_likelihood)


class Mixed(LinearGaussian):
    """The same model under a mixture of two Gaussians that adds up to N(0, I): the evidence is the same."""

    def prior(self) -> Any:
        means, factor = torch.zeros(2, self.latent_dim, dtype=torch.float64), torch.eye(self.latent_dim).double()
        return GaussianMixture(torch.tensor([0.3, 0.7]).double().log(), means, factor.expand(2, -1, -1))


def test_priors_that_know_no_rows_start_each_row_alone() -> None:
    model = Mixed()
    x = model.draw(12)
    found = annealed_bound(model, x, n_chains=16, **FAST)
    low, high = found.interval(over="rows")
    assert low - 0.05 < float(model.log_evidence(x).mean()) < high + 0.05
    torch.testing.assert_close(
        annealed_bound(model, x[4:5], n_chains=16, **FAST).log_likelihood, found.log_likelihood[4:5]
    )


@pytest.mark.slow
def test_missing_features_do_not_count(misled: LinearGaussian) -> None:
    x = misled.draw(10)
    mask = torch.tensor([True, False, True, True, False]).expand_as(x)
    columns = torch.tensor([0, 2, 3])
    found = annealed_bound(misled, torch.where(mask, x, torch.nan), mask=mask, n_steps=100)
    off = found.log_likelihood - misled.log_evidence(x[:, columns], columns)
    assert abs(float(off.mean())) < 0.1


def test_no_rows_and_impossible_rows(misled: LinearGaussian) -> None:
    assert annealed_bound(misled, torch.empty(0, 5, dtype=torch.float64), **FAST).log_likelihood.shape == (0,)
    far = annealed_bound(misled, torch.full((1, 5), 1e200, dtype=torch.float64), **FAST)
    assert far.log_likelihood.item() == -math.inf
    assert not far.is_tight


class OnSphere(LinearGaussian):
    def prior(self) -> Any:
        return UniformSphere(self.latent_dim)


def test_what_cannot_be_annealed(misled: LinearGaussian) -> None:
    x: Tensor = misled.draw(2)
    with pytest.raises(UnsupportedOperationError, match="vectors on a sphere do not move so"):
        annealed_bound(OnSphere(), x)
    for name, low in (("n_chains", 2), ("n_steps", 1), ("n_leapfrog", 1)):
        with pytest.raises(InvalidParameterError, match=f"{name} must be an integer of at least {low}; got 0"):
            annealed_bound(misled, x, **{name: 0})
    with pytest.raises(InvalidParameterError, match="start must be one of: prior, posterior"):
        annealed_bound(misled, x, start="encoder")  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match=r"one key per row, shape \(2,\); got shape \(3,\)"):
        annealed_bound(misled, x, keys=torch.arange(3))
    with pytest.raises(InvalidParameterError, match="n must be an integer of at least 1"):
        bidirectional_bounds(misled, 0)


def test_normal_priors_of_other_places_are_started_from_too() -> None:
    class Shifted(LinearGaussian):
        def prior(self) -> Any:
            return DiagonalGaussian(torch.full((2,), 3.0).double(), torch.zeros(2).double())

    model = Shifted()
    random = torch.Generator().manual_seed(0)
    x = model.decode(model.prior().sample(8, generator=random)).sample(generator=random)
    centred = x - 3.0 * model.weight.sum(1)
    found = annealed_bound(model, x, n_chains=16, **FAST)
    low, high = found.interval(over="rows")
    assert low - 0.05 < float(model.log_evidence(centred).mean()) < high + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["iwae", "ais"])
@pytest.mark.parametrize("over", ["rows", "population"])
def test_intervals_hold_the_truth_as_often_as_they_say(estimator: str, over: Any) -> None:
    model = LinearGaussian(latent_dim=2, event_shape=(6,), widen=1.3, shift=0.1)
    n_features = 6
    covariance = model.weight @ model.weight.mT + model.stddev**2 * torch.eye(n_features, dtype=torch.float64)
    # the mean of log p over the model's own rows is minus its entropy
    expected = -float(torch.distributions.MultivariateNormal(model.bias, covariance).entropy())
    n_rounds, n_rows = 100, 60
    # rows draw by their content alone, so that all rounds go through together
    x = model.draw(n_rounds * n_rows, seed=7)
    if estimator == "iwae":
        whole = importance_bound(model, x, 100)
    else:
        whole = annealed_bound(model, x, n_chains=16, n_steps=200, n_leapfrog=4)
    evidence, held = model.log_evidence(x), 0
    for rows in torch.arange(len(x)).split(n_rows):
        found = replace(
            whole,
            log_likelihood=whole.log_likelihood[rows],
            effective_sample_size=whole.effective_sample_size[rows],
        )
        assert found.is_tight
        low, high = found.interval(over=over)
        held += low <= (expected if over == "population" else float(evidence[rows].mean())) <= high
    assert held >= 93
