"""DIP, InfoVAE and FactorVAE: their penalties against formulas, and a discriminator that learns."""

from __future__ import annotations

import math

import pytest
import torch

from latentkit.core import seeds
from latentkit.core.protocols import Batch
from latentkit.distributions import FullGaussian
from latentkit.objectives import Dip, Elbo, Factor, Info, maximum_mean_discrepancy, permute_dimensions

DOUBLE = torch.float64


def _normal(*shape: int, key: str = "normal") -> torch.Tensor:
    return torch.randn(*shape, generator=seeds.generator(0, key), dtype=DOUBLE)


@pytest.fixture
def batch() -> Batch:
    return Batch(2 * _normal(8, 5))


# DIP


@pytest.mark.parametrize("version", ["i", "ii"])
@pytest.mark.parametrize("full", [False, True])
def test_dip_is_the_elbo_minus_the_distance_of_the_covariance(linear_gaussian, use_noise, batch, full, version) -> None:
    model = linear_gaussian(wrong=0.3, full=full)
    use_noise(_normal(8, 2, key="noise"))
    q = model.encode(batch.x)
    covariance = torch.cov(q.mean.mT, correction=0)
    if version == "ii":
        own = q.cholesky[0] @ q.cholesky[0].mT if full else torch.diag(q.stddev[0].square())
        covariance = covariance + own
    (a, c), (_, b) = covariance.tolist()
    penalty = 2.0 * 2 * c**2 + 3.0 * ((a - 1) ** 2 + (b - 1) ** 2)
    terms = Dip(version=version, lambda_od=2.0, lambda_d=3.0, beta=1.5)(model, batch, kl_weight=0.5)
    elbo = Elbo(beta=1.5)(model, batch, kl_weight=0.5)
    torch.testing.assert_close(terms.objective, elbo.objective - 0.5 * penalty)
    torch.testing.assert_close(terms.kl, elbo.kl)
    default = Dip(version=version, lambda_od=2.0)(model, batch).objective
    ratio = {"i": 10.0, "ii": 1.0}[version]
    torch.testing.assert_close(
        default, Dip(version=version, lambda_od=2.0, lambda_d=2.0 * ratio)(model, batch).objective
    )


def test_dip_of_codes_like_the_prior_is_the_elbo(linear_gaussian, use_noise) -> None:
    """Codes with the identity for a covariance cost nothing."""
    model, n = linear_gaussian(full=True), 4
    means = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=DOUBLE)
    model.encode = lambda x: FullGaussian(means, 0.5 * torch.eye(2, dtype=DOUBLE).expand(n, 2, 2))
    use_noise(_normal(n, 2, key="noise"))
    x = Batch(_normal(n, 5))
    torch.testing.assert_close(Dip(lambda_od=5.0)(model, x).objective, Elbo()(model, x).objective)
    gap = Elbo()(model, x).objective - Dip(version="ii", lambda_od=5.0)(model, x).objective
    torch.testing.assert_close(gap, torch.full((n,), 5.0 * 2 * 0.25**2, dtype=DOUBLE))


# InfoVAE


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_discrepancy_is_its_formula(kernel) -> None:
    a, b = _normal(4, 2), _normal(3, 2, key="b")
    scales = (0.5, 2.0)

    def k(u: torch.Tensor, v: torch.Tensor) -> float:
        squared = float((u - v).square().sum())
        widths = [2 * 2 * scale for scale in scales]
        return sum(math.exp(-squared / c) if kernel == "rbf" else c / (c + squared) for c in widths)

    expected = sum(k(a[i], a[j]) for i in range(4) for j in range(4) if i != j) / 12
    expected += sum(k(b[i], b[j]) for i in range(3) for j in range(3) if i != j) / 6
    expected -= 2 * sum(k(u, v) for u in a for v in b) / 12
    actual = maximum_mean_discrepancy(a, b, kernel=kernel, bandwidths=scales)
    assert float(actual) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_discrepancy_is_unbiased_and_sees_a_difference(kernel) -> None:
    same = torch.stack([maximum_mean_discrepancy(*_normal(2, 10, 3, key=str(i)), kernel=kernel) for i in range(1000)])
    assert abs(float(same.mean())) < 4 * float(same.std()) / 1000**0.5
    assert (same < 0).any()
    a, b = _normal(2, 100, 3)
    for other in (b + 1.0, 2.0 * b, torch.cat((b[:, :2], b[:, :1]), dim=1)):
        assert maximum_mean_discrepancy(a, other, kernel=kernel) > 0.05


def test_discrepancy_has_gradients_where_points_meet() -> None:
    a = torch.zeros(3, 2, dtype=DOUBLE, requires_grad=True)
    (gradient,) = torch.autograd.grad(maximum_mean_discrepancy(a, torch.ones(3, 2, dtype=DOUBLE)), a)
    assert gradient.isfinite().all()
    assert (gradient < 0).all()
    assert maximum_mean_discrepancy(a[:1], a) == 0


def test_info_is_between_the_elbo_and_the_discrepancy(linear_gaussian, use_noise, batch, monkeypatch) -> None:
    model = linear_gaussian(wrong=0.3, full=False)
    use_noise(_normal(8, 2, key="noise"))
    elbo = Elbo()(model, batch, kl_weight=0.5)
    torch.testing.assert_close(Info(alpha=0.0, lambda_mmd=1.0)(model, batch, kl_weight=0.5).objective, elbo.objective)
    drawn = _normal(8, 2, key="prior")
    monkeypatch.setattr(type(model.prior()), "sample", lambda _, n, **__: drawn[:n])
    discrepancy = maximum_mean_discrepancy(model.encode(batch.x).rsample(), drawn, kernel="rbf", bandwidths=[1.0])
    terms = Info(alpha=0.25, lambda_mmd=20.0, kernel="rbf", bandwidths=[1.0])(model, batch, kl_weight=0.5)
    expected = elbo.log_likelihood - 0.5 * (0.75 * elbo.kl + 19.25 * discrepancy)
    torch.testing.assert_close(terms.objective, expected)
    assert abs(float(discrepancy.detach())) > 0.01


def test_info_keeps_bandwidths_as_numbers() -> None:
    assert Info(bandwidths=[1, 2]).bandwidths == (1.0, 2.0)
    assert Info(bandwidths=[1, 2]) == Info(bandwidths=(1.0, 2.0))


# FactorVAE


def test_permuted_codes_keep_the_marginals_and_lose_the_rest() -> None:
    z = _normal(500, 1).expand(-1, 3) * torch.tensor([1.0, 2.0, 3.0], dtype=DOUBLE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        permuted = permute_dimensions(z)
    torch.testing.assert_close(permuted.sort(dim=0).values, z.sort(dim=0).values)
    off_diagonal = torch.corrcoef(permuted.mT) - torch.eye(3, dtype=DOUBLE)
    assert off_diagonal.abs().max() < 0.2


class Correlated(torch.nn.Module):
    """Codes of correlation r: their total correlation is -log(1 - r^2) / 2 nats."""

    def __init__(self, model: torch.nn.Module, r: float) -> None:
        super().__init__()
        self.model, self.r = model, r

    def encode(self, x: torch.Tensor) -> FullGaussian:
        covariance = torch.tensor([[1.0, self.r], [self.r, 1.0]], dtype=DOUBLE)
        factor = torch.linalg.cholesky(covariance)
        return FullGaussian(torch.zeros(len(x), 2, dtype=DOUBLE), factor.expand(len(x), 2, 2))

    def decode(self, z: torch.Tensor):
        return self.model.decode(z)

    def prior(self):
        return self.model.prior()


def test_discriminator_learns_the_total_correlation(linear_gaussian) -> None:
    model = Correlated(linear_gaussian(), 0.9)
    objective = Factor(width=32, n_layers=2)
    discriminator, _ = objective.phases(model)
    x = Batch(torch.zeros(512, 5, dtype=DOUBLE))
    optimizer = torch.optim.Adam(discriminator.parameters, lr=3e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = discriminator.terms(x, 1.0)
        assert before.objective.shape == (512,)
        torch.testing.assert_close(before.objective, torch.full((512,), -math.log(2), dtype=DOUBLE))
        for _ in range(300):
            optimizer.zero_grad()
            value = discriminator.terms(x, 1.0).objective.mean()
            (-value).backward()
            optimizer.step()
        z = model.encode(torch.zeros(20_000, 5)).rsample()
    assert value > -math.log(2) + 0.1
    with torch.no_grad():
        estimate = float(objective.log_ratio(z).mean())
    assert estimate == pytest.approx(-0.5 * math.log(1 - 0.9**2), abs=0.15)


def test_factor_is_the_elbo_minus_what_the_discriminator_says(linear_gaussian, use_noise, batch) -> None:
    model = linear_gaussian(wrong=0.3, full=False)
    use_noise(_normal(8, 2, key="noise"))
    elbo = Elbo(beta=2.0)(model, batch, kl_weight=0.5)
    objective = Factor(beta=2.0, gamma=7.0, width=8)
    torch.testing.assert_close(objective(model, batch, kl_weight=0.5).objective, elbo.objective)
    first, second = objective.phases(model)
    torch.testing.assert_close(second.terms(batch, 0.5).objective, elbo.objective)
    with torch.no_grad():
        for parameter in first.parameters:
            parameter.copy_(_normal(*parameter.shape, key="weights"))
    ratio = objective.log_ratio(model.encode(batch.x).rsample())
    assert ratio.abs().min() > 0
    torch.testing.assert_close(second.terms(batch, 0.5).objective, elbo.objective - 0.5 * 7.0 * ratio)


def test_phases_touch_only_their_own_part(linear_gaussian, batch) -> None:
    model, objective = linear_gaussian(full=False), Factor(width=8)
    first, second = objective.phases(model)
    first.terms(batch, 1.0).objective.mean().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in first.parameters)
    assert not {id(p) for p in first.parameters} & {id(p) for p in second.parameters}


def test_discriminator_is_the_same_in_every_run(linear_gaussian) -> None:
    model = linear_gaussian()
    before = torch.random.get_rng_state()
    one, other = Factor(), Factor()
    one.phases(model)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        other.phases(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(one.state_dict()) == list(other.state_dict())
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
        assert tensor.dtype is DOUBLE
