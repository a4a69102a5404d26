"""The hypersphere: Bessel functions, draws and divergences against scipy and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import (
    SphericalPosterior,
    StandardNormal,
    UniformSphere,
    VonMisesFisher,
    kl_divergence,
    posteriors,
)
from latentkit.distributions.spherical import LOG_CONCENTRATION_BOUND, bessel_ratio, log_bessel, log_sphere_area

DOUBLE = torch.float64
DIMS = [2, 3, 4, 5, 16, 64]
dims = pytest.mark.parametrize("dim", DIMS)


def _concentrations(dim: int, n: int = 50) -> torch.Tensor:
    """Over the whole range that networks can reach."""
    return dim * torch.linspace(-LOG_CONCENTRATION_BOUND, LOG_CONCENTRATION_BOUND, n, dtype=DOUBLE).exp()


def _axis(dim: int) -> torch.Tensor:
    return torch.eye(dim, dtype=DOUBLE)[0]


@dims
def test_bessel_functions_against_scipy(dim) -> None:
    order, k = dim / 2 - 1, _concentrations(dim)
    expected = torch.from_numpy(special.ive(order, k.numpy()))
    torch.testing.assert_close(log_bessel(order, k), expected.log(), rtol=1e-8, atol=1e-8)
    ratio = torch.from_numpy(special.ive(order + 1, k.numpy())) / expected
    torch.testing.assert_close(bessel_ratio(order, k), ratio, rtol=1e-11, atol=0.0)


@dims
def test_derivatives_of_bessel_functions(dim) -> None:
    order, k = dim / 2 - 1, _concentrations(dim, 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda k: (log_bessel(order, k), bessel_ratio(order, k)), (k,), atol=1e-6)


@dims
def test_single_precision_loses_nothing_inside(dim) -> None:
    raw = torch.tensor([-100.0, -3.0, 0.0, 3.0, 100.0])
    parameters = torch.cat((_axis(dim).float().expand(5, dim), raw[:, None]), dim=1)
    low, high = (VonMisesFisher.from_parameters(values) for values in (parameters, parameters.double()))
    p = UniformSphere(dim)
    assert kl_divergence(low, p).dtype is torch.float32
    torch.testing.assert_close(kl_divergence(low, p), kl_divergence(high, p).float(), rtol=1e-5, atol=1e-5)
    z = high.sample(100, generator=seeds.generator(0))
    torch.testing.assert_close(low.log_prob(z.float()), high.log_prob(z).float(), rtol=1e-4, atol=2e-3)


@dims
@pytest.mark.parametrize("power", [-6.9, -2.0, 0.0, 2.0, 6.9])
def test_density_and_moments_by_quadrature(dim, power) -> None:
    """Integrals over the sphere are those over the angle to the direction, times the area of what lies across."""
    k = dim * math.exp(power)
    q = VonMisesFisher(_axis(dim), torch.tensor(k, dtype=DOUBLE))
    spread = 20 / math.sqrt(k)
    angle = np.linspace(0, min(math.pi, spread + (math.pi if k < 10 * dim else math.atan(math.sqrt(dim / k)))), 200_001)
    z = torch.from_numpy(np.cos(angle))[:, None] * _axis(dim)
    z[:, 1] = torch.from_numpy(np.sin(angle))
    area = math.exp(log_sphere_area(dim - 1)) if dim > 2 else 2.0
    density = q.log_prob(z).exp().numpy() * np.sin(angle) ** (dim - 2) * area

    def expectation(values: np.ndarray) -> float:
        return float(integrate.simpson(values * density, x=angle))

    assert abs(expectation(np.ones_like(angle)) - 1) < 1e-6
    mean = expectation(np.cos(angle))
    assert abs(mean - q.mean[0]) < 1e-6
    assert q.mean[1:].abs().max() == 0
    variance = expectation((np.cos(angle) - mean) ** 2)
    torch.testing.assert_close(q.stddev[0] ** 2, torch.tensor(variance, dtype=DOUBLE), rtol=1e-4, atol=1e-9)
    across = expectation(np.sin(angle) ** 2) / (dim - 1)
    torch.testing.assert_close(q.stddev[1] ** 2, torch.tensor(across, dtype=DOUBLE), rtol=1e-4, atol=1e-9)
    entropy = -expectation(q.log_prob(z).numpy())
    assert abs(entropy - q.entropy()) < 1e-5
    assert abs(kl_divergence(q, UniformSphere(dim)) - (log_sphere_area(dim) - entropy)) < 1e-5


@dims
def test_draws_are_unit_vectors_with_the_density_of_the_angle(dim) -> None:
    """The cosine of n draws against its distribution function, by the statistic of Kolmogorov and Smirnov."""
    n = 20000
    for k in _concentrations(dim, 5).tolist():
        q = VonMisesFisher(_axis(dim), torch.tensor(k, dtype=DOUBLE))
        z = q.sample(n, generator=seeds.generator(0, "draws"))
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(n, dtype=DOUBLE))
        angle = torch.linspace(0, min(math.pi, 3 * math.atan(math.sqrt(dim / k)) + 12 / math.sqrt(k)), 20_001)
        log_density = k * (angle.double().cos() - 1) + (dim - 2) * angle.double().sin().clamp_min(1e-300).log()
        mass = integrate.cumulative_simpson((log_density - log_density.max()).exp().numpy(), x=angle, initial=0)
        drawn = torch.atan2(z[:, 1:].norm(dim=-1), z[:, 0]).sort().values
        reached = np.interp(drawn, angle, mass / mass[-1])
        assert np.abs(reached - (np.arange(n) + 0.5) / n).max() < 2.0 / math.sqrt(n)
        # what lies across has no preferred direction
        across = z[:, 1:] / z[:, 1:].norm(dim=-1, keepdim=True)
        assert across.mean(0).norm() < 5 / math.sqrt(n)


@pytest.mark.parametrize("dim", [pytest.param(dim, marks=pytest.mark.slow if dim > 16 else []) for dim in DIMS])
def test_gradients_of_draws(dim) -> None:
    random = seeds.generator(0, "gradients")
    noise = torch.randn(2, 3, dim, generator=random, dtype=DOUBLE)
    direction = torch.randn(3, dim, generator=random, dtype=DOUBLE).requires_grad_()
    log_k = _concentrations(dim, 3).log().requires_grad_()

    def draw(direction: torch.Tensor, log_k: torch.Tensor) -> torch.Tensor:
        return VonMisesFisher(direction / direction.norm(dim=-1, keepdim=True), log_k.exp()).rsample(2, noise=noise)

    assert torch.autograd.gradcheck(draw, (direction, log_k), eps=1e-5, atol=1e-4)


@dims
def test_extreme_noise_stays_on_the_sphere(dim) -> None:
    for k in _concentrations(dim, 5).tolist():
        q = VonMisesFisher(_axis(dim).float(), torch.tensor(k).requires_grad_())
        noise = torch.stack([sign * 6.7 * _axis(dim).float() + 1e-3 for sign in (1.0, -1.0)])
        z = q.rsample(2, noise=noise)
        (gradient,) = torch.autograd.grad(z.sum(), q.concentration)
        assert gradient.isfinite()
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(2), rtol=1e-5, atol=0.0)
        assert z[0, 0] >= z[1, 0]


def test_a_row_draws_the_same_in_any_batch() -> None:
    parameters = torch.randn(6, 5, generator=seeds.generator(0))
    noise = torch.randn(3, 6, 4, generator=seeds.generator(1))
    whole = SphericalPosterior(4)(parameters).rsample(3, noise=noise)
    part = SphericalPosterior(4)(parameters[2:4]).rsample(3, noise=noise[:, 2:4])
    torch.testing.assert_close(whole[:, 2:4], part)


def test_an_output_of_zeros_is_the_first_axis_and_can_be_learnt_from() -> None:
    parameters = torch.zeros(2, 4, requires_grad=True)
    q = SphericalPosterior(3)(parameters)
    torch.testing.assert_close(q.direction, torch.tensor([[1.0, 0.0, 0.0]]).expand(2, 3))
    torch.testing.assert_close(q.concentration, torch.full((2,), 3.0))
    (gradient,) = torch.autograd.grad(q.log_prob(torch.tensor([0.0, 1.0, 0.0])).sum(), parameters)
    assert gradient.isfinite().all()
    assert (gradient != 0).any()


def test_concentrations_stay_within_their_bounds() -> None:
    for raw, bound in ((1e6, math.exp(7)), (-1e6, math.exp(-7))):
        q = SphericalPosterior(5)(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, raw]))
        torch.testing.assert_close(q.concentration, torch.tensor(5 * bound), rtol=1e-5, atol=0.0)
        assert kl_divergence(q, UniformSphere(5)).isfinite()


def test_the_flat_limit_is_uniform() -> None:
    q = VonMisesFisher(_axis(3), torch.tensor(1e-3, dtype=DOUBLE))
    z = UniformSphere(3, like=q.direction).sample(50, generator=seeds.generator(0))
    torch.testing.assert_close(q.log_prob(z), UniformSphere(3).log_prob(z), atol=2e-3, rtol=0.0)
    assert 0 <= kl_divergence(q, UniformSphere(3)) < 1e-6


def test_uniform_sphere() -> None:
    p = UniformSphere(3)
    z = p.sample(20000, generator=seeds.generator(0))
    torch.testing.assert_close(p.log_prob(z), torch.full((20000,), -math.log(4 * math.pi)))
    assert z.mean(0).norm() < 5 / math.sqrt(20000)
    torch.testing.assert_close(z.std(0), p.stddev, rtol=0.02, atol=0.0)
    # a Gaussian's direction is uniform: its length carries the rest of its density
    x = StandardNormal(3).sample(4, generator=seeds.generator(1))
    radius = x.norm(dim=-1)
    chi = math.log(2) / 2 - math.log(math.gamma(1.5)) - math.log(2) + 2 * radius.log() - radius.square() / 2
    torch.testing.assert_close(StandardNormal(3).log_prob(x), p.log_prob(x / radius[:, None]) + chi - 2 * radius.log())


def test_one_dimension_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="latent_dim must be an integer of at least 2; got 1.*two points"):
        posteriors["spherical"](1)
