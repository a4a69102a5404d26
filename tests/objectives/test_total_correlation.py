"""The decomposition of the divergence against sums, enumeration and the closed form of Gaussians."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Batch
from latentkit.distributions import DiagonalGaussian, FullGaussian, StandardNormal
from latentkit.objectives import BetaTc, Iwae, kl_decomposition
from latentkit.objectives import total_correlation as module

DOUBLE = torch.float64
PRIOR = StandardNormal(3, like=torch.zeros((), dtype=DOUBLE))


def _normal(*shape: int, key: str = "normal") -> torch.Tensor:
    return torch.randn(*shape, generator=seeds.generator(0, key), dtype=DOUBLE)


def _posterior(n: int, full: bool = False) -> DiagonalGaussian | FullGaussian:
    if not full:
        return DiagonalGaussian(_normal(n, 3), 0.3 * _normal(n, 3, key="log_var") - 1)
    factors = 0.4 * _normal(n, 3, 3, key="factors").tril(-1) + 0.6 * torch.eye(3, dtype=DOUBLE)
    return FullGaussian(_normal(n, 3), factors)


@pytest.mark.parametrize("sampling", ["weighted", "stratified"])
@pytest.mark.parametrize("full", [False, True])
def test_parts_sum_to_the_divergence(full, sampling) -> None:
    q = _posterior(7, full)
    z = q.rsample(noise=_normal(7, 3, key="noise"))
    parts = kl_decomposition(q, PRIOR, z, n_data=100, sampling=sampling)
    torch.testing.assert_close(parts.kl, q.log_prob(z) - PRIOR.log_prob(z))
    torch.testing.assert_close(
        parts.index_code_mi + parts.total_correlation + parts.dimension_wise_kl, q.log_prob(z) - PRIOR.log_prob(z)
    )


@pytest.mark.parametrize("full", [False, True])
def test_whole_data_set_is_the_mixture_of_its_posteriors(full) -> None:
    q = _posterior(6, full)
    z = q.rsample(noise=_normal(6, 3, key="noise"))
    covariance = q.cholesky @ q.cholesky.mT if full else torch.diag_embed(q.stddev.square())
    uniform = oracle.Categorical(torch.ones(6, dtype=DOUBLE))
    joint = oracle.MixtureSameFamily(uniform, oracle.MultivariateNormal(q.mean, covariance)).log_prob(z)
    stddev = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    product = sum(
        oracle.MixtureSameFamily(uniform, oracle.Normal(q.mean[:, j], stddev[:, j])).log_prob(z[:, j]) for j in range(3)
    )
    parts = kl_decomposition(q, PRIOR, z)
    torch.testing.assert_close(parts.index_code_mi, q.log_prob(z) - joint)
    torch.testing.assert_close(parts.total_correlation, joint - product)
    torch.testing.assert_close(parts.dimension_wise_kl, product - PRIOR.log_prob(z))


def test_stratified_sampling_is_unbiased_for_the_aggregate_density() -> None:
    """Over all minibatches of three out of six that hold the example."""
    q = _posterior(6)
    z = q.rsample(noise=_normal(6, 3, key="noise"))
    exact = (q.log_prob(z) - kl_decomposition(q, PRIOR, z).index_code_mi).exp()
    estimates: list[torch.Tensor] = []
    for others in itertools.combinations(range(1, 6), 2):
        rows = torch.tensor([0, *others])
        batch = DiagonalGaussian(q.mean[rows], q.log_var[rows])
        parts = kl_decomposition(batch, PRIOR, z[rows], n_data=6)
        estimates.append((batch.log_prob(z[rows]) - parts.index_code_mi).exp()[0])
    torch.testing.assert_close(torch.stack(estimates).mean(), exact[0])
    assert torch.stack(estimates).std() > 0.01 * exact[0]


def test_weighted_sampling_differs_by_constants() -> None:
    """The formula of the article: log 1/(N B) sum_k q(z_i | x_k); N has no part in any gradient."""
    q = _posterior(5)
    z = q.rsample(noise=_normal(5, 3, key="noise"))
    few, many = (kl_decomposition(q, PRIOR, z, n_data=n, sampling="weighted") for n in (10, 1000))
    expected = torch.logsumexp(q.log_prob(z.unsqueeze(1)), dim=1) - math.log(10 * 5)
    torch.testing.assert_close(few.index_code_mi, q.log_prob(z) - expected)
    shift = torch.full((5,), math.log(100), dtype=DOUBLE)
    torch.testing.assert_close(many.index_code_mi - few.index_code_mi, shift)
    torch.testing.assert_close(many.total_correlation - few.total_correlation, 2 * shift)
    torch.testing.assert_close(many.dimension_wise_kl - few.dimension_wise_kl, -3 * shift)


def test_order_of_the_batch_and_chunks_do_not_matter(monkeypatch) -> None:
    q = _posterior(7, full=True)
    z = q.rsample(noise=_normal(7, 3, key="noise"))
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    whole = kl_decomposition(q, PRIOR, z, n_data=50)
    monkeypatch.setattr(module, "_PER_CALL", 7 * 3 * 2)
    shuffled = kl_decomposition(FullGaussian(q.mean[order], q.cholesky[order]), PRIOR, z[order], n_data=50)
    for name in ("index_code_mi", "total_correlation", "dimension_wise_kl"):
        torch.testing.assert_close(getattr(shuffled, name), getattr(whole, name)[order])


def test_parts_of_a_linear_gaussian_model() -> None:
    """Codes z = x + e of correlated Gaussian x: every part is a closed form."""
    n, r, noise = 2000, 0.8, 0.6
    factor = torch.linalg.cholesky(torch.tensor([[1.0, r], [r, 1.0]], dtype=DOUBLE))
    means = _normal(n, 2) @ factor.mT
    q = DiagonalGaussian(means, torch.full((n, 2), 2 * math.log(noise), dtype=DOUBLE))
    z = q.rsample(noise=_normal(n, 2, key="noise"))
    with torch.no_grad():
        parts = kl_decomposition(q, StandardNormal(2, like=z), z)
    covariance = factor @ factor.mT + noise**2 * torch.eye(2, dtype=DOUBLE)
    half_logdet = 0.5 * torch.logdet(covariance)
    mutual = float(half_logdet) - 2 * math.log(noise)
    correlation = float(0.5 * covariance.diagonal().log().sum() - half_logdet)
    dimension = float((0.5 * (covariance.diagonal() - 1 - covariance.diagonal().log())).sum())
    assert float(parts.index_code_mi.mean()) == pytest.approx(mutual, abs=0.05)
    assert float(parts.total_correlation.mean()) == pytest.approx(correlation, abs=0.03)
    assert float(parts.dimension_wise_kl.mean()) == pytest.approx(dimension, abs=0.05)


def test_weights_of_one_are_the_elbo(linear_gaussian, use_noise) -> None:
    model, batch = linear_gaussian(wrong=0.4, full=False), Batch(2 * _normal(8, 5))
    noise = _normal(8, 2, key="noise")
    use_noise(noise)
    terms = BetaTc(beta=1.0, n_data=500)(model, batch, kl_weight=0.7)
    use_noise(noise.unsqueeze(0))
    torch.testing.assert_close(terms.objective, Iwae(n_importance=1)(model, batch, kl_weight=0.7).objective)


def test_objective_weighs_the_parts(linear_gaussian, use_noise) -> None:
    model, batch = linear_gaussian(wrong=0.4, full=False), Batch(2 * _normal(8, 5))
    use_noise(_normal(8, 2, key="noise"))
    q = model.encode(batch.x)
    parts = kl_decomposition(q, model.prior(), q.rsample(), n_data=500)
    terms = BetaTc(alpha=0.5, beta=3.0, gamma=2.0, n_data=500)(model, batch, kl_weight=0.25)
    penalty = 0.5 * parts.index_code_mi + 3.0 * parts.total_correlation + 2.0 * parts.dimension_wise_kl
    torch.testing.assert_close(terms.objective, terms.log_likelihood - 0.25 * penalty)


def test_one_example_has_no_others() -> None:
    q = _posterior(1)
    parts = kl_decomposition(q, PRIOR, q.mean, n_data=10)
    torch.testing.assert_close(parts.index_code_mi, torch.tensor([math.log(10)], dtype=DOUBLE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "strat"}, "sampling must be one of: weighted, stratified"),
        ({"n_data": 0}, "n_data must be an integer of at least 1"),
        ({"z": torch.zeros(2, 3, dtype=DOUBLE)}, r"one draw from each posterior, shape \(4, 3\); got \(2, 3\)"),
    ],
)
def test_refused(options, message) -> None:
    q = _posterior(4)
    with pytest.raises(InvalidParameterError, match=message):
        kl_decomposition(q, PRIOR, options.pop("z", q.mean), **options)


def test_needs_a_gaussian() -> None:
    with pytest.raises(UnsupportedOperationError, match="the decomposition of the KL needs .* Use the 'diagonal' or"):
        kl_decomposition(PRIOR, PRIOR, torch.zeros(1, 3))
