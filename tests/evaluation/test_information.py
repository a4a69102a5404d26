from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import DiagonalGaussian
from latentkit.evaluation import codebook_perplexity, information, mutual_information


def posteriors(n: int, spread: float, dim: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Means from N(0, spread^2) and variances of 1: the aggregate is N(0, 1 + spread^2)."""
    means = spread * torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return means, torch.zeros_like(means)


def test_bounds_enclose_the_closed_form() -> None:
    exact = 2 * 0.5 * math.log(1 + 2.0**2)
    estimate = mutual_information(*posteriors(3000, 2.0))
    assert estimate.lower - 3 * estimate.standard_error < exact < estimate.upper + 3 * estimate.standard_error
    assert estimate.upper - estimate.lower < 0.1
    assert estimate.lower == pytest.approx(exact, abs=0.1)
    # 1/2 (m^2 + v - log v - 1) of the aggregate
    assert estimate.aggregate_kl == pytest.approx(2 * 0.5 * (5.0 - math.log(5.0) - 1.0), abs=0.3)


def test_bounds_are_on_average_on_their_sides() -> None:
    exact = 2 * 0.5 * math.log(1 + 2.0**2)
    estimates = [mutual_information(*posteriors(40, 2.0, seed=seed), seed=seed) for seed in range(60)]
    assert np.mean([e.lower for e in estimates]) < exact < np.mean([e.upper for e in estimates])


@pytest.mark.parametrize("block", [1, 50, 1 << 21])
def test_blocks_sum_the_formula(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(information, "_BLOCK", block)
    source = torch.Generator().manual_seed(0)
    means, log_vars = (torch.randn(30, 3, generator=source, dtype=torch.float64) for _ in range(2))
    estimate = mutual_information(means, log_vars, seed=5)
    noise = torch.randn(30, 3, generator=information.generator(5, "mutual-information"), dtype=torch.float64)
    z = means + (0.5 * log_vars).exp() * noise
    pairs = DiagonalGaussian(means, log_vars).log_prob(z[:, None])
    lower = pairs.diagonal() - pairs.logsumexp(1) + math.log(30)
    upper = pairs.diagonal() - pairs.masked_fill(torch.eye(30, dtype=torch.bool), -math.inf).logsumexp(1)
    assert estimate.lower == pytest.approx(float(lower.mean()))
    assert estimate.upper == pytest.approx(float(upper.mean()) + math.log(29))
    assert estimate.standard_error == pytest.approx(float(lower.std()) / math.sqrt(30))


def test_collapse_is_zero_and_the_most_is_log_n() -> None:
    nothing = mutual_information(torch.zeros(50, 3), torch.zeros(50, 3))
    assert nothing.lower == pytest.approx(0.0, abs=1e-12)
    assert nothing.upper == pytest.approx(0.0, abs=1e-12)
    assert nothing.kl == 0.0
    all_of_it = mutual_information(*posteriors(64, 1e4))
    assert all_of_it.lower == pytest.approx(math.log(64))
    assert all_of_it.upper > 1000
    assert all_of_it.computed_with == "64 rows against each other, one draw each (at most log n = 4.16 nats)"


def test_the_seed_decides_the_draws() -> None:
    given = posteriors(20, 1.0)
    assert mutual_information(*given, seed=1) == mutual_information(*given, seed=1)
    assert mutual_information(*given, seed=1).lower != mutual_information(*given, seed=2).lower


def test_perplexity_is_that_of_the_shares() -> None:
    codes = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
    assert codebook_perplexity(codes, 8) == pytest.approx(2**1.75)
    assert codebook_perplexity(codes.reshape(2, 2, 2).numpy(), 8) == pytest.approx(2**1.75)
    assert codebook_perplexity(torch.full((5,), 7), 8) == 1.0
    assert codebook_perplexity(torch.arange(512), 512) == pytest.approx(512.0)


def test_wrong_input_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="at least 2 rows"):
        mutual_information(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(InvalidParameterError, match="one shape"):
        mutual_information(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(InvalidParameterError, match="from 0 to 7, at least one; got from 0 to 8"):
        codebook_perplexity(torch.arange(9), 8)
    with pytest.raises(InvalidParameterError, match="got from -1 to 0"):
        codebook_perplexity(torch.tensor([-1, 0]), 8)
    with pytest.raises(InvalidParameterError, match="at least one; got none"):
        codebook_perplexity(torch.empty(0, dtype=torch.int64), 8)
    with pytest.raises(InvalidParameterError, match="codes must be integers"):
        codebook_perplexity(torch.zeros(3), 8)
