"""Each likelihood against an oracle that was written by others, or by enumeration."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import distributions as oracle

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import (
    Bernoulli,
    BernoulliLikelihood,
    Categorical,
    CategoricalLikelihood,
    DiscretizedLogisticLikelihood,
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianLikelihood,
)

DOUBLE = torch.float64


def _numbers(*shape: int, seed: str = "numbers") -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE)


def test_bernoulli_against_torch() -> None:
    logits = 5 * _numbers(7, 4)
    x = (_numbers(7, 4, seed="x") > 0).to(DOUBLE)
    expected = oracle.Independent(oracle.Bernoulli(logits=logits), 1)
    p = Bernoulli(logits)
    torch.testing.assert_close(p.log_prob(x), expected.log_prob(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(p.mean, expected.mean)
    assert torch.equal(p.mode, (expected.mean > 0.5).to(DOUBLE))


def test_bernoulli_keeps_digits_where_torch_softplus_does_not() -> None:
    """log sigma(25) is -1.4e-11: a softplus that is linear from 20 on gives 0."""
    p = Bernoulli(torch.tensor([25.0], dtype=DOUBLE))
    assert p.log_prob(torch.ones(1, dtype=DOUBLE)).item() == pytest.approx(-math.log1p(math.exp(-25)), rel=1e-4)


def test_bernoulli_of_grey_pixels_is_the_cross_entropy() -> None:
    logits, x = _numbers(7, 4), torch.rand(7, 4, generator=seeds.generator(1), dtype=DOUBLE)
    expected = x * logits.sigmoid().log() + (1 - x) * (-logits).sigmoid().log()
    torch.testing.assert_close(Bernoulli(logits).log_prob(x), expected.sum(-1))


def test_bernoulli_starts_at_the_mean() -> None:
    x = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    mean = BernoulliLikelihood((3,))(BernoulliLikelihood((3,)).initial_parameters(x)).mean
    torch.testing.assert_close(mean, torch.tensor([0.001, 0.999, 0.5]))


@pytest.mark.parametrize("shape", [(), (4,), (7, 4)])
def test_gaussian_against_torch(shape) -> None:
    mean, log_stddev, x = _numbers(7, 4), _numbers(*shape, seed="s"), _numbers(3, 7, 4, seed="x")
    expected = oracle.Independent(oracle.Normal(mean, log_stddev.exp().expand(7, 4)), 1)
    p = Gaussian(mean, log_stddev)
    torch.testing.assert_close(p.log_prob(x), expected.log_prob(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(p.stddev, expected.stddev)
    assert torch.equal(p.mean, mean)
    assert torch.equal(p.mode, mean)
    draws = p.sample(20000, generator=seeds.generator(2))
    torch.testing.assert_close(draws.std(0), expected.stddev, rtol=0.05, atol=0.0)


def test_gaussian_mask_of_one_row_serves_many_draws() -> None:
    p = Gaussian(_numbers(3, 2, 4), torch.tensor(0.3, dtype=DOUBLE))
    x, mask = _numbers(2, 4, seed="x"), torch.tensor([True, False, True, False])
    expected = oracle.Normal(p.mean, math.exp(0.3)).log_prob(x)[..., [0, 2]].sum(-1)
    torch.testing.assert_close(p.log_prob(x, mask=mask), expected)


def test_gaussian_variances_are_what_was_asked() -> None:
    for variance in ("shared", "feature", "fixed"):
        family = GaussianLikelihood((3,), variance=variance, stddev=0.25)
        torch.testing.assert_close(family(torch.zeros(1, 3)).stddev, torch.full((3,), 0.25))
        assert len(list(family.parameters())) == (variance != "fixed")
    assert GaussianLikelihood((3,), variance="feature").stddev.shape == (3,)
    assert GaussianLikelihood((3,), variance="shared").stddev.shape == ()
    network = GaussianLikelihood((3,), variance="network")
    x = _numbers(500, 3) * torch.tensor([0.1, 1.0, 5.0])
    torch.testing.assert_close(network(network.initial_parameters(x)).stddev, x.std(0, correction=0))
    for variance in ("shared", "feature"):
        family = GaussianLikelihood((3,), variance=variance).double()
        family.initialize(x)
        spread = (x - x.mean(0)).square().mean(0)
        torch.testing.assert_close(family.stddev.detach(), (spread if variance == "feature" else spread.mean()).sqrt())


def test_gaussian_floor_holds_and_still_has_a_gradient() -> None:
    family = GaussianLikelihood((3,), variance="network", min_stddev=0.01)
    raw = torch.full((2, 3), -8.0).requires_grad_()
    stddev = family(raw).stddev
    assert (stddev > 0.01).all()
    (gradient,) = torch.autograd.grad(stddev.log().sum(), raw)
    assert (gradient[1] > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variance": "shred"}, "Did you mean 'shared'"),
        ({"stddev": 0.0, "variance": "fixed"}, r"stddev must be a float in \(0, inf\)"),
        ({"stddev": 0.001}, r"stddev must be a float in \(0.001, inf\)"),
        ({"min_stddev": 0.0}, r"min_stddev must be a float in \(0, inf\)"),
    ],
)
def test_gaussian_refuses(options, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        GaussianLikelihood((3,), **options)


def test_categorical_against_torch() -> None:
    logits = 2 * _numbers(7, 5, 4)
    index = torch.randint(0, 5, (7, 4), generator=seeds.generator(3))
    expected = oracle.Independent(oracle.Categorical(logits=logits.movedim(1, -1)), 1)
    p = Categorical(logits)
    torch.testing.assert_close(p.log_prob(index / 4.0), expected.log_prob(index))
    torch.testing.assert_close(p.probabilities.movedim(1, -1), expected.base_dist.probs)
    assert torch.equal(p.mode, logits.argmax(1) / 4.0)
    torch.testing.assert_close(p.mean, (expected.base_dist.probs * torch.arange(5)).sum(-1) / 4)
    draws = (p.sample(20000, generator=seeds.generator(4)) * 4).round()
    frequencies = torch.stack([(draws == k).double().mean(0) for k in range(5)], -1)
    torch.testing.assert_close(frequencies, expected.base_dist.probs, atol=0.02, rtol=0.0)


def test_categorical_starts_at_the_frequencies() -> None:
    family = CategoricalLikelihood((2,), n_categories=3)
    x = torch.tensor([[0.0, 0.5], [0.0, 1.0], [0.5, 0.5]])
    expected = torch.tensor([[3.0, 1.0], [2.0, 3.0], [1.0, 2.0]]) / 6
    torch.testing.assert_close(family(family.initial_parameters(x)).probabilities, expected)


def _logistic_cdf(y: torch.Tensor, p: DiscretizedLogisticMixture) -> torch.Tensor:
    """By torch.distributions: the distribution function of the mixture, event dimension last."""
    weights = oracle.Categorical(logits=p.logits.movedim(-2, -1))
    location, scale = p.locations.movedim(-2, -1), p.log_scales.exp().movedim(-2, -1)
    base = oracle.TransformedDistribution(
        oracle.Uniform(torch.zeros_like(location), torch.ones_like(location), validate_args=False),
        [oracle.SigmoidTransform().inv, oracle.AffineTransform(location, scale)],
        validate_args=False,
    )
    return oracle.MixtureSameFamily(weights, base, validate_args=False).cdf(y)


@pytest.mark.parametrize("n_components", [1, 3])
def test_discretized_logistic_against_torch(n_components) -> None:
    n_levels = 16
    p = DiscretizedLogisticMixture(
        0.7 * _numbers(5, n_components, 4),
        _numbers(5, n_components, 4, seed="s") - 1.5,
        _numbers(5, n_components, 4, seed="w"),
        n_levels=n_levels,
    )
    total = torch.zeros(5, 4, dtype=DOUBLE)
    mean = torch.zeros(5, 4, dtype=DOUBLE)
    h = 1 / (n_levels - 1)
    masses = []
    for k in range(n_levels):
        y = torch.full((5, 4), 2 * k / (n_levels - 1) - 1, dtype=DOUBLE)
        upper = _logistic_cdf(y + h, p) if k < n_levels - 1 else torch.ones_like(y)
        lower = _logistic_cdf(y - h, p) if k > 0 else torch.zeros_like(y)
        value = torch.full((5, 4), k / (n_levels - 1), dtype=DOUBLE)
        alone = [p.log_prob(value, mask=torch.arange(4) == feature) for feature in range(4)]
        mass = torch.stack(alone, -1).exp()
        torch.testing.assert_close(mass, upper - lower)
        torch.testing.assert_close(p.log_prob(value), mass.log().sum(-1))
        total += mass
        mean += mass * value
        masses.append(mass)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0.0, atol=1e-12)
    torch.testing.assert_close(p.mean, mean, rtol=0.0, atol=h / 4)
    draws = (p.sample(20000, generator=seeds.generator(5)) * (n_levels - 1)).round()
    frequencies = torch.stack([(draws == k).double().mean(0) for k in range(n_levels)])
    torch.testing.assert_close(frequencies, torch.stack(masses), atol=0.02, rtol=0.0)
    if n_components == 1:
        assert torch.equal(p.mode, torch.stack(masses).argmax(0).to(DOUBLE) / (n_levels - 1))


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("name", ["bernoulli", "categorical", "discretized_logistic"])
def test_levels_sum_to_one(name, dtype) -> None:
    """Also for outputs far outside of the usual range."""
    family, n = {
        "bernoulli": (BernoulliLikelihood((64,)), 2),
        "categorical": (CategoricalLikelihood((64,), n_categories=7), 7),
        "discretized_logistic": (DiscretizedLogisticLikelihood((64,)), 256),
    }[name]
    p = family((8 * _numbers(family.n_parameters, 64)).to(dtype))
    values = torch.linspace(0, 1, n, dtype=dtype)
    masses = torch.stack([p.log_prob(values.unsqueeze(-1), mask=torch.arange(64) == i).exp() for i in range(64)])
    torch.testing.assert_close(
        masses.sum(-1), torch.ones(64, dtype=dtype), rtol=0.0, atol=2e-5 if dtype is torch.float32 else 1e-12
    )


def test_discretized_logistic_keeps_digits_in_the_tails() -> None:
    """Where both distribution functions round to one: log mass is -(y - h - m) / s + log(1 - exp(-2 h / s))."""
    h, s = 1 / 255, 0.005
    p = DiscretizedLogisticMixture(torch.full((1, 1), -0.9), torch.full((1, 1), math.log(s)), n_levels=256)
    x = torch.tensor([200 / 255])
    expected = -(2 * 200 / 255 - 1 - h + 0.9) / s + math.log(-math.expm1(-2 * h / s))
    assert expected < -200
    assert p.log_prob(x).item() == pytest.approx(expected, rel=1e-5)


def test_discretized_logistic_keeps_digits_where_it_is_wide() -> None:
    """A scale of hundreds of ranges: the density of a logistic distribution at its middle, 1 / 4 s, times the step."""
    p = DiscretizedLogisticMixture(torch.zeros(1, 1), torch.full((1, 1), 7.0), n_levels=256)
    expected = math.log(2 / 255) - 7.0 - math.log(4.0)
    assert p.log_prob(torch.tensor([127 / 255])).item() == pytest.approx(expected, abs=1e-5)


def test_discretized_logistic_mode_of_a_mixture() -> None:
    p = DiscretizedLogisticMixture(
        torch.tensor([[-0.6], [0.2]]), torch.tensor([[-4.0], [-4.0]]), torch.tensor([[0.0], [1.0]]), n_levels=11
    )
    torch.testing.assert_close(p.mode, torch.tensor([0.6]))
    torch.testing.assert_close(
        DiscretizedLogisticMixture(torch.tensor([[3.0]]), torch.tensor([[0.0]]), n_levels=11).mode, torch.tensor([1.0])
    )


def test_discretized_logistic_components_start_apart() -> None:
    family = DiscretizedLogisticLikelihood((2,), n_components=3)
    locations = family(family.initial_parameters(torch.rand(50, 2, generator=seeds.generator(6)))).locations
    assert (locations.diff(dim=0) > 0.1).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CategoricalLikelihood((3,), n_categories=1), "n_categories must be an integer of at least 2"),
        (lambda: DiscretizedLogisticLikelihood((3,), n_components=0), "n_components must be an integer of at least 1"),
        (lambda: DiscretizedLogisticLikelihood((3,), n_levels=1), "n_levels must be an integer of at least 2"),
    ],
)
def test_refused_options(build, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build()


@pytest.mark.parametrize("variance", ["shared", "feature", "fixed", "network"])
def test_bounded_means_are_sigmoids_and_start_at_the_data(variance: Any) -> None:
    family = GaussianLikelihood((3,), variance=variance, bounded=True)
    plain = GaussianLikelihood((3,), variance=variance)
    parameters = 5.0 * torch.randn(4, family.n_parameters, 3)
    linked = torch.cat((torch.sigmoid(parameters[:, :1]), parameters[:, 1:]), 1)
    x = torch.rand(50, 3) * torch.tensor([1.0, 0.2, 0.0])
    torch.testing.assert_close(family(parameters).log_prob(x[:4]), plain(linked).log_prob(x[:4]))
    start = family(family.initial_parameters(x)).mean
    torch.testing.assert_close(start.detach(), x.mean(0), atol=2e-3, rtol=0)
