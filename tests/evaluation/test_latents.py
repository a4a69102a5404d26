from __future__ import annotations

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import active_units, summarize_latents


def test_summary_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(50, 3, generator=generator) * torch.tensor([1.0, 0.5, 0.0])
    log_vars = torch.randn(50, 3, generator=generator) * 0.3 - 1
    summary = summarize_latents(means, log_vars)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(means.double(), (0.5 * log_vars.double()).exp()),
        torch.distributions.Normal(torch.zeros(3, dtype=torch.float64), 1.0),
    ).mean(0)
    torch.testing.assert_close(summary.kl_per_dimension, expected)
    assert summary.kl == pytest.approx(float(expected.sum()))
    assert summary.active.tolist() == [True, True, False]
    assert summary.n_active == 2
    assert summary.n == 50


def test_aggregate_moments_are_those_of_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(40, 2, generator=generator, dtype=torch.float64) + 1
    log_vars = torch.full((40, 2), -0.5, dtype=torch.float64)
    summary = summarize_latents(means, log_vars)
    noise = torch.randn(20000, 40, 2, generator=generator, dtype=torch.float64)
    draws = (means + (0.5 * log_vars).exp() * noise).flatten(0, 1)
    torch.testing.assert_close(summary.aggregate_mean, draws.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(summary.aggregate_covariance, draws.T.cov(), atol=0.02, rtol=0)
    fitted = torch.distributions.MultivariateNormal(summary.aggregate_mean, summary.aggregate_covariance)
    normal = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    assert summary.aggregate_gap == pytest.approx(float(torch.distributions.kl_divergence(fitted, normal)))


def test_a_collapsed_posterior_is_inactive_and_costs_nothing() -> None:
    summary = summarize_latents(torch.zeros(10, 4), torch.zeros(10, 4))
    assert summary.n_active == 0
    assert summary.kl == 0.0
    assert summary.aggregate_gap == pytest.approx(0.0, abs=1e-12)


def test_threshold_is_on_the_variance() -> None:
    means = torch.tensor([[-0.2], [0.2]])  # variance 0.08
    assert active_units(means).item()
    assert not active_units(means, threshold=0.09).item()


def test_wrong_input_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="at least 2 rows"):
        active_units(torch.zeros(1, 3))
    with pytest.raises(InvalidParameterError, match="threshold"):
        active_units(torch.zeros(2, 3), threshold=-1.0)
    with pytest.raises(InvalidParameterError, match="one shape"):
        summarize_latents(torch.zeros(2, 3), torch.zeros(2, 2))


def test_points_have_no_divergence_and_no_spread_of_their_own() -> None:
    codes = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * torch.tensor(
        [1.0, 3.0, 0.01]
    )
    summary = summarize_latents(codes)
    assert summary.kl_per_dimension is None
    assert summary.kl is None
    assert summary.order.tolist() == [1, 0, 2]
    assert summary.active.tolist() == [True, True, False]
    torch.testing.assert_close(summary.aggregate_covariance, torch.cov(codes.mT, correction=0))


def test_dimensions_are_ordered_by_what_they_carry() -> None:
    means = torch.tensor([[-1.0, 0.0, -2.0], [1.0, 0.0, 2.0]])
    assert summarize_latents(means, torch.zeros(2, 3)).order.tolist() == [2, 0, 1]
