"""The bound of a mixture of posteriors against the evidence, the single bound, and a slow formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.seeds import row_keys, row_noise
from latentkit.evaluation import importance_bound
from latentkit.evaluation.mixture_posteriors import miselbo
from tests.evaluation.linear_gaussian import LinearGaussian


@pytest.fixture
def model() -> LinearGaussian:
    return LinearGaussian(widen=1.4, shift=0.3)


@pytest.fixture
def other() -> LinearGaussian:
    """The same model, whose encoder is wrong in another way."""
    return LinearGaussian(widen=0.8, shift=-0.4)


@pytest.fixture
def x(model: LinearGaussian) -> Tensor:
    return model.draw(40)


def test_one_posterior_is_the_importance_bound(model: LinearGaussian, x: Tensor) -> None:
    single = importance_bound(model, x, 7, seed=3)
    estimate = miselbo(model, [model], x, 7, seed=3)
    torch.testing.assert_close(estimate.mixture.log_likelihood, single.log_likelihood)
    torch.testing.assert_close(estimate.mixture.effective_sample_size, single.effective_sample_size)
    torch.testing.assert_close(estimate.components[0], single.log_likelihood)
    assert estimate.gain.abs().max() < 1e-9
    assert estimate.mixture.n_importance == 7
    assert estimate.mixture.estimator == "importance-weighted bound by a mixture of 1 posteriors"


def test_equal_posteriors_are_the_mean_of_their_bounds(model: LinearGaussian, x: Tensor) -> None:
    estimate = miselbo(model, [model, model], x, 5)
    torch.testing.assert_close(estimate.miselbo, estimate.components.mean(0))
    assert (estimate.mixture.log_likelihood > estimate.miselbo).all()
    assert (estimate.components[0] != estimate.components[1]).all()


def test_it_is_the_formula(model: LinearGaussian, other: LinearGaussian, x: Tensor) -> None:
    x = x[:3]
    estimate = miselbo(model, [model, other], x, 4, seed=2)
    posteriors = [model.encode(x), other.encode(x)]
    total = torch.zeros(3, dtype=torch.float64)
    weights = []
    for s, q in enumerate(posteriors):
        noise = row_noise(row_keys(x), 4, 2, seed=2, start=4 * s, dtype=torch.float64)
        z = q.rsample(4, noise=noise)
        joint = model.decode(z).log_prob(x) + model.prior().log_prob(z)
        mixed = sum(p.log_prob(z).exp() / 2 for p in posteriors).log()
        weights.append((joint - mixed).exp())
        total += torch.logsumexp(joint - mixed, 0) - math.log(4)
        torch.testing.assert_close(estimate.components[s], torch.logsumexp(joint - q.log_prob(z), 0) - math.log(4))
    torch.testing.assert_close(estimate.miselbo, total / 2)
    pooled = torch.cat(weights)
    torch.testing.assert_close(estimate.mixture.log_likelihood, pooled.mean(0).log())
    torch.testing.assert_close(estimate.mixture.effective_sample_size, pooled.sum(0) ** 2 / pooled.square().sum(0))
    assert estimate.mixture.n_importance == 8


def test_bounds_rise_with_draws_and_with_posteriors(model: LinearGaussian, other: LinearGaussian, x: Tensor) -> None:
    evidence = float(model.log_evidence(x).mean())
    few, many = miselbo(model, [model, other], x, 1), miselbo(model, [model, other], x, 200)
    assert few.gain.mean() > 0
    assert few.gain.max() <= math.log(2) + 1e-9
    assert (
        float(few.components.mean()) < float(few.miselbo.mean()) < float(few.mixture.log_likelihood.mean()) < evidence
    )
    assert float(few.miselbo.mean()) < float(many.miselbo.mean()) < evidence - 0.1
    assert float(few.mixture.log_likelihood.mean()) < float(many.mixture.log_likelihood.mean()) < evidence + 0.02
    assert float(many.mixture.log_likelihood.mean()) == pytest.approx(evidence, abs=0.02)


def test_posteriors_that_do_not_overlap_gain_log_s(x: Tensor) -> None:
    far = [LinearGaussian(shift=20.0 * i) for i in range(3)]
    torch.testing.assert_close(miselbo(far[0], far, x, 1).gain, torch.full((40,), math.log(3), dtype=torch.float64))


@pytest.mark.parametrize("chunk", [1, 7, 30, 10**6, None])
def test_order_and_chunks_do_not_matter(model: LinearGaussian, other: LinearGaussian, x: Tensor, chunk) -> None:
    whole = miselbo(model, [model, other], x, 9, seed=1)
    order = torch.arange(39, -1, -1)
    part = miselbo(model, [model, other], x[order], 9, seed=1, chunk=chunk)
    torch.testing.assert_close(part.mixture.log_likelihood, whole.mixture.log_likelihood[order])
    torch.testing.assert_close(part.mixture.effective_sample_size, whole.mixture.effective_sample_size[order])
    torch.testing.assert_close(part.components, whole.components[:, order])


def test_missing_features_do_not_count(model: LinearGaussian, x: Tensor) -> None:
    mask = torch.tensor([True, False, True, True, False]).expand_as(x)
    wide = LinearGaussian(widen=2.5)
    columns = torch.tensor([0, 2, 3])
    estimate = miselbo(model, [model, wide], x, 2000, mask=mask).mixture.log_likelihood
    assert abs(float((estimate - model.log_evidence(x[:, columns], columns)).mean())) < 0.03


def test_no_rows_are_no_estimates(model: LinearGaussian, x: Tensor) -> None:
    estimate = miselbo(model, [model], x[:0], 3)
    assert estimate.mixture.log_likelihood.shape == estimate.gain.shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": []}, "at least one encoder; got none. Pass .model. for its own posterior"),
        ({"n_importance": 0}, "n_importance must be an integer of at least 1"),
        ({"chunk": 0}, "chunk must be an integer of at least 1"),
        ({"keys": torch.zeros(3, dtype=torch.int64)}, r"one key per row, shape \(40,\); got shape \(3,\)"),
        ({"encoders": [LinearGaussian(latent_dim=3)]}, "the model's 2 latent dimensions; encoder 0 has 3"),
    ],
)
def test_refused(model: LinearGaussian, x: Tensor, options, message) -> None:
    encoders, n_importance = options.pop("encoders", [model]), options.pop("n_importance", 2)
    with pytest.raises(InvalidParameterError, match=message):
        miselbo(model, encoders, x, n_importance, **options)


def test_condition_needs_models_that_see_it(model: LinearGaussian, x: Tensor) -> None:
    with pytest.raises(UnsupportedOperationError, match="has no place for a condition"):
        miselbo(model, [model], x, 2, condition=torch.zeros(1, 2))
