from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import row_keys, row_noise
from latentkit.evaluation import LikelihoodEstimate, bits_per_dimension, importance_bound, reconstruction_likelihood
from latentkit.objectives import log_importance_weights
from tests.evaluation.linear_gaussian import LinearGaussian


@pytest.fixture
def model() -> LinearGaussian:
    """A model whose encoder is wrong in spread and place."""
    return LinearGaussian(widen=1.6, shift=0.1)


@pytest.fixture
def x(model: LinearGaussian) -> Tensor:
    return model.draw(300)


def test_one_sample_with_the_exact_posterior_gives_the_evidence() -> None:
    exact = LinearGaussian()
    x = exact.draw(20)
    estimate = importance_bound(exact, x, 1)
    torch.testing.assert_close(estimate.log_likelihood, exact.log_evidence(x))
    estimate = importance_bound(exact, x, 7)
    torch.testing.assert_close(estimate.log_likelihood, exact.log_evidence(x))
    torch.testing.assert_close(estimate.effective_sample_size, torch.full((20,), 7.0, dtype=torch.float64))
    assert estimate.standard_error.max() < 1e-6


def test_bounds_rise_with_k_to_the_evidence(model: LinearGaussian, x: Tensor) -> None:
    log_p = model.log_evidence(x)
    gaps = [float((log_p - importance_bound(model, x, k).log_likelihood).mean()) for k in (1, 5, 50, 4000)]
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] - 2e-3
    assert gaps[2] > 0
    assert abs(gaps[3]) < 2e-3


def test_standard_error_is_the_spread_over_seeds(model: LinearGaussian, x: Tensor) -> None:
    estimates = [importance_bound(model, x[:20], 500, seed=seed) for seed in range(60)]
    spread = torch.stack([estimate.log_likelihood for estimate in estimates]).std(0)
    claimed = torch.stack([estimate.standard_error for estimate in estimates]).mean(0)
    assert abs(float((spread / claimed).mean()) - 1) < 0.1


def test_effective_sample_size_is_between_one_and_k(model: LinearGaussian, x: Tensor) -> None:
    for k in (1, 2, 40):
        size = importance_bound(model, x, k).effective_sample_size
        assert size.min() >= 1
        assert size.max() <= k
    assert float(importance_bound(model, x, 40).effective_sample_size.mean()) < 39


@pytest.mark.parametrize("chunk", [1, 3, 64, 1000, 10**6, None])
def test_estimates_do_not_depend_on_batch_order_or_chunk(model: LinearGaussian, x: Tensor, chunk: int | None) -> None:
    whole = importance_bound(model, x[:7], 33, seed=3)
    order = torch.tensor([4, 0, 6, 1, 5, 3, 2])
    shuffled = importance_bound(model, x[order], 33, seed=3, chunk=chunk)
    single = [importance_bound(model, x[i : i + 1], 33, seed=3, chunk=chunk) for i in range(7)]
    for name in ("log_likelihood", "effective_sample_size"):
        expected = getattr(whole, name)
        torch.testing.assert_close(getattr(shuffled, name), expected[order], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            torch.cat([getattr(part, name) for part in single]), expected, rtol=1e-12, atol=1e-12
        )


def test_keys_and_seed_decide_the_draws(model: LinearGaussian, x: Tensor) -> None:
    keys = row_keys(x[:4])
    first = importance_bound(model, x[:4], 5, keys=keys, seed=1).log_likelihood
    assert torch.equal(first, importance_bound(model, x[:4], 5, seed=1).log_likelihood)
    assert not torch.equal(first, importance_bound(model, x[:4], 5, seed=2).log_likelihood)
    assert not torch.equal(first, importance_bound(model, x[:4], 5, keys=keys.flip(0), seed=1).log_likelihood)


def test_streaming_equals_the_formula(model: LinearGaussian, x: Tensor) -> None:
    keys = row_keys(x)
    weights = log_importance_weights(model, x, 10, noise=row_noise(keys, 10, 2, dtype=torch.float64))
    estimate = importance_bound(model, x, 10, keys=keys, chunk=4)
    torch.testing.assert_close(estimate.log_likelihood, weights.logsumexp(0) - math.log(10))
    size = weights.softmax(0).square().sum(0).reciprocal()
    torch.testing.assert_close(estimate.effective_sample_size, size)


def test_missing_features_do_not_count(model: LinearGaussian, x: Tensor) -> None:
    mask = torch.tensor([True, False, True, True, False]).expand_as(x)
    estimate = importance_bound(model, x, 5000, mask=mask)
    columns = torch.tensor([0, 2, 3])
    difference = estimate.log_likelihood - model.log_evidence(x[:, columns], columns)
    assert abs(float(difference.mean())) < 0.02


def test_no_rows_and_impossible_rows(model: LinearGaussian) -> None:
    empty = importance_bound(model, torch.empty(0, 5, dtype=torch.float64), 3)
    assert empty.log_likelihood.shape == (0,)
    far = importance_bound(model, torch.full((1, 5), 1e200, dtype=torch.float64), 8, chunk=3)
    assert far.log_likelihood.item() == -math.inf
    assert far.effective_sample_size.item() == 1


def test_result_is_free_of_inference_mode(model: LinearGaussian, x: Tensor) -> None:
    estimate = importance_bound(model, x[:2], 2)
    assert not estimate.log_likelihood.is_inference()
    assert estimate.log_likelihood.dtype == torch.float64
    assert isinstance(estimate, LikelihoodEstimate)
    assert estimate.n_importance == 2
    assert "importance" in estimate.estimator


def test_wrong_options_are_named(model: LinearGaussian, x: Tensor) -> None:
    with pytest.raises(InvalidParameterError, match=r"n_importance must be an integer of at least 1; got 0"):
        importance_bound(model, x, 0)
    with pytest.raises(InvalidParameterError, match=r"chunk must be an integer of at least 1; got 0"):
        importance_bound(model, x, 1, chunk=0)
    with pytest.raises(InvalidParameterError, match=r"one key per row, shape \(300,\); got shape \(2,\)"):
        importance_bound(model, x, 1, keys=torch.arange(2))


def test_bits_per_dimension_of_a_uniform_byte_is_eight() -> None:
    mass = torch.tensor([-3 * math.log(256.0)], dtype=torch.float64)
    assert bits_per_dimension(mass, 3).item() == pytest.approx(8.0)
    # the uniform density on [0, 1] is 1; cells of 1/256 of it are the same masses
    assert bits_per_dimension(torch.zeros(1), 3, step=1 / 256).item() == pytest.approx(8.0)
    with pytest.raises(InvalidParameterError, match="n_dimensions"):
        bits_per_dimension(mass, 0)
    with pytest.raises(InvalidParameterError, match="step"):
        bits_per_dimension(mass, 3, step=0.0)


def test_a_reconstruction_is_scored_at_the_code_and_bounds_nothing(model: LinearGaussian, x: Tensor) -> None:
    estimate = reconstruction_likelihood(model, x)
    expected = model.decode(model.encode(x).mean).log_prob(x)
    torch.testing.assert_close(estimate.log_likelihood, expected.double())
    assert not estimate.is_bound
    assert "not a bound" in estimate.estimator
    assert (estimate.log_likelihood > model.log_evidence(x)).float().mean() > 0.9
    assert estimate.n_importance == 1
    assert (estimate.standard_error == 0).all()
    assert importance_bound(model, x, 2).is_bound


def test_missing_features_do_not_count_in_a_reconstruction(model: LinearGaussian, x: Tensor) -> None:
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 1] = False
    estimate = reconstruction_likelihood(model, x, mask=mask)
    expected = model.decode(model.encode(x).mean).log_prob(x, mask=mask)
    torch.testing.assert_close(estimate.log_likelihood, expected.double())


def test_an_interval_of_few_good_draws_holds_the_truth(model: LinearGaussian, x: Tensor) -> None:
    estimate = importance_bound(model, x, 200)
    assert estimate.is_tight
    low, high = estimate.interval(over="rows")
    assert low < float(model.log_evidence(x).mean()) < high
    wide_low, wide_high = estimate.interval()
    assert wide_low < low < high < wide_high
    middle, half = estimate.mean, 1.959963984540054 * float(estimate.log_likelihood.std()) / math.sqrt(len(x))
    assert wide_low == pytest.approx(middle - half)
    # the bias of the logarithm is added above
    assert wide_high - middle - half == pytest.approx(0.5 * float(estimate.standard_error.square().mean()))


def test_a_loose_bound_says_so(x: Tensor) -> None:
    lost = LinearGaussian(widen=0.3, shift=2.0)
    estimate = importance_bound(lost, x, 100)
    assert not estimate.is_tight
    low, high = estimate.interval()
    assert high - estimate.mean == pytest.approx(estimate.mean - low)
    assert high < float(lost.log_evidence(x).mean())
    assert not importance_bound(LinearGaussian(), x, 1).is_tight
    assert not reconstruction_likelihood(lost, x).is_tight


def test_what_has_no_interval(model: LinearGaussian, x: Tensor) -> None:
    with pytest.raises(InvalidParameterError, match=r"at least 2 rows of finite log p\(x\); got 1, of which 0 are not"):
        importance_bound(model, x[:1], 20).interval()
    far = importance_bound(model, torch.full((3, 5), 1e200, dtype=torch.float64), 20)
    with pytest.raises(InvalidParameterError, match="got 3, of which 3 are not"):
        far.interval()
