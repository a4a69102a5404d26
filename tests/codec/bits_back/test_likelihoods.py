"""Numbers of a row: they come back, cost what floating-point distributions say, and hostile settings are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from latentkit.codec import AnsStack
from latentkit.codec.bits_back import Coins, Likelihood, Logistics, Shares
from latentkit.codec.bits_back.likelihoods import likelihood_of
from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import Categorical, DiscretizedLogisticMixture

N, NUMBERS = 7, 50
LEVELS = np.arange(-18, 37)
LIKELIHOODS: dict[str, Likelihood] = {
    "coins": Coins(),
    "one logistic": Logistics(17, 1, lowest=-18, levels=LEVELS),
    "three logistics": Logistics(256, 3, lowest=-18, levels=LEVELS),
    "shares": Shares(5),
    "many shares": Shares(100),
}


def drawn(likelihood: Likelihood, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and rows."""
    random = np.random.default_rng(seed)
    n = likelihood.n_parameters
    parameters = (random.normal(size=(N, n * NUMBERS)) * 60).astype(np.int32)
    if isinstance(likelihood, Logistics):
        k = 1 if n == 2 else n // 3
        each = parameters.reshape(N, n, NUMBERS)
        each[:, :k] = random.integers(-40, 16 * likelihood.n_symbols, (N, k, NUMBERS))
        each[:, k : 2 * k] = random.integers(-25, 50, (N, k, NUMBERS))
    return parameters, random.integers(0, likelihood.n_symbols, (N, NUMBERS)).astype(np.uint8)


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=[*LIKELIHOODS])
def test_rows_come_back_and_cost_what_they_should(likelihood: Likelihood) -> None:
    parameters, x = drawn(likelihood)
    stack = AnsStack(N)
    likelihood.push(stack, parameters, x)
    content = stack.to_bytes()
    assert 8 * len(content) == pytest.approx(likelihood.bits(parameters, x) + 38 * N, abs=40)
    assert np.array_equal(likelihood.pop(stack, parameters), x)
    assert stack.is_fresh
    again = likelihood_of(likelihood.describe(), likelihood.arrays())
    other = AnsStack(N)
    again.push(other, parameters, x)
    assert other.to_bytes() == content


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=[*LIKELIHOODS])
def test_many_numbers_are_taken_in_parts(likelihood: Likelihood, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, x = drawn(likelihood)
    whole, parts = AnsStack(N), AnsStack(N)
    likelihood.push(whole, parameters, x)
    monkeypatch.setattr("latentkit.codec.bits_back.likelihoods._AT_ONCE", 3 * N)
    likelihood.push(parts, parameters, x)
    assert parts.to_bytes() == whole.to_bytes()
    assert np.array_equal(likelihood.pop(parts, parameters), x)


def test_coins_cost_what_logits_say() -> None:
    parameters, x = drawn(LIKELIHOODS["coins"])
    logits = torch.from_numpy(parameters / 64)
    due = torch.distributions.Bernoulli(logits=logits).log_prob(torch.from_numpy(x).double()).sum()
    assert LIKELIHOODS["coins"].bits(parameters, x) == pytest.approx(-float(due) / np.log(2), rel=1e-5)


def test_logits_beyond_the_last_are_the_last() -> None:
    coins, one = Coins(), np.ones((1, 1), np.uint8)
    assert coins.bits(np.array([[-5000]]), one) == coins.bits(np.array([[-1024]]), one) == 22 - np.log2(1)
    assert 0 < coins.bits(np.array([[5000]]), one) < 1e-6


@pytest.mark.parametrize("n_components", [1, 3])
@pytest.mark.parametrize("n_symbols", [17, 256])
def test_logistics_cost_what_the_mixture_says(n_symbols: int, n_components: int) -> None:
    likelihood = Logistics(n_symbols, n_components, lowest=-18, levels=LEVELS)
    parameters, _ = drawn(likelihood)
    each = torch.from_numpy(parameters.reshape(N, likelihood.n_parameters, NUMBERS)).double()
    means, levels, *logits = each.split(n_components, 1)
    half = (n_symbols - 1) / 2
    mixture = DiscretizedLogisticMixture(
        means / 16 / half - 1,
        levels.clamp(-18, 36) / 8 - np.log(half),
        logits[0] / 32 if logits else None,
        n_levels=n_symbols,
    )
    drawn_ones = mixture.sample(generator=torch.Generator().manual_seed(0))
    for values, error in ((mixture.mode, 0.01), (drawn_ones, 0.03)):  # tails are told in whole slots
        x = (values * (n_symbols - 1)).round().numpy().astype(np.uint8)
        nats = -float(mixture.log_prob(values).sum())
        assert likelihood.bits(parameters, x) == pytest.approx(nats / np.log(2), rel=error)


@pytest.mark.parametrize("n_symbols", [5, 100])
def test_shares_cost_what_logits_say(n_symbols: int) -> None:
    likelihood = Shares(n_symbols)
    parameters, _ = drawn(likelihood)
    logits = torch.from_numpy(parameters.reshape(N, n_symbols, NUMBERS) / 32)
    categorical = Categorical(logits)
    x = categorical.sample(generator=torch.Generator().manual_seed(0))
    nats = -float(categorical.log_prob(x).sum())
    symbols = (x * (n_symbols - 1)).round().numpy().astype(np.uint8)
    assert likelihood.bits(parameters, symbols) == pytest.approx(nats / np.log(2), rel=0.01)


@pytest.mark.parametrize(
    "description",
    [
        {"name": "logistics", "n_symbols": 257, "n_components": 1, "lowest": 0},
        {"name": "logistics", "n_symbols": 1, "n_components": 1, "lowest": 0},
        {"name": "logistics", "n_symbols": 16, "n_components": 0, "lowest": 0},
        {"name": "logistics", "n_symbols": 16, "n_components": 1, "lowest": 1 << 40},
        {"name": "shares", "n_symbols": 1},
        {"name": "shares", "n_symbols": "5"},
        {"name": "dice"},
    ],
)
def test_what_is_no_likelihood_is_refused(description: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="must be|is no likelihood"):
        likelihood_of(description, {"levels": LEVELS})


@pytest.mark.parametrize("levels", [LEVELS[:0], LEVELS[None]])
def test_levels_are_a_row(levels: np.ndarray) -> None:
    with pytest.raises(InvalidParameterError, match="levels must be whole numbers"):
        Logistics(16, 1, lowest=0, levels=levels)
