"""Priors that networks learn of latent vectors: their densities, draws and moments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import distributions as oracle
from torch import nn

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.distributions import StandardNormal
from latentkit.models import FlowMatched, LatentFlow, LearntPrior, OverClasses, Rescaled, SecondStage, VelocityField
from latentkit.tasks import tempered

DOUBLE = torch.float64
CLASS = torch.tensor([[0.0, 1.0]], dtype=DOUBLE)


def numbers(*shape: int, seed: str = "numbers") -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE)


def shaken(make: Callable[[], nn.Module], scale: float = 0.15) -> nn.Module:
    """A network in double precision, away from its start."""
    with seeds.isolated_rng(0):
        network = make().double()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.add_(scale * numbers(*parameter.shape, seed=str(index)))
    return network


def field(condition_dim: int = 2, n_steps: int = 32) -> VelocityField:
    network = shaken(lambda: VelocityField(2, condition_dim=condition_dim, width=8, n_steps=n_steps), 0.2)
    assert isinstance(network, VelocityField)
    return network


#: From the columns of a condition to a network.
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "flow": lambda columns: shaken(lambda: LatentFlow(2, condition_dim=columns, n_layers=3, width=8)),
    "spline": lambda columns: shaken(
        lambda: LatentFlow(2, condition_dim=columns, n_layers=3, width=8, transform="spline")
    ),
    "second_stage": lambda columns: shaken(lambda: SecondStage(2, condition_dim=columns, width=8)),
    "flow_matching": field,
}
#: Those of which draws and numbers have a density; a field is integrated, which takes seconds.
with_a_density = pytest.mark.parametrize(
    "name", ["flow", "spline", pytest.param("flow_matching", marks=pytest.mark.slow)]
)


def grid(side: float = 9.0, n: int = 241) -> tuple[torch.Tensor, float]:
    """Points of the plane and the area around each."""
    line = torch.linspace(-side, side, n, dtype=DOUBLE)
    return torch.cartesian_prod(line, line), (2 * side / (n - 1)) ** 2


def test_the_divergence_is_the_trace_of_the_jacobian() -> None:
    network, z = field(), numbers(5, 2)
    for t in (0.0, 0.3, 1.0):
        time = torch.full((1, 1), t, dtype=DOUBLE)
        velocity, divergence = network.with_divergence(z, time, CLASS)
        torch.testing.assert_close(velocity, network(z, time, CLASS))
        at = partial(network, t=time, condition=CLASS)
        jacobians = [torch.autograd.functional.jacobian(at, row[None]) for row in z]
        torch.testing.assert_close(divergence, torch.stack([j[0, :, 0].diagonal().sum() for j in jacobians]))


def test_flow_matching_starts_as_the_standard_normal() -> None:
    p, z = FlowMatched(VelocityField(3, width=8).double()), numbers(4, 7, 3)
    torch.testing.assert_close(p.log_prob(z), StandardNormal(3).log_prob(z), atol=2e-3, rtol=0)
    noise = torch.randn(5, 3, generator=seeds.generator(1), dtype=DOUBLE)
    torch.testing.assert_close(p.sample(5, generator=seeds.generator(1)), noise, atol=2e-3, rtol=0)


@with_a_density
def test_a_density_integrates_to_one_and_is_that_of_the_draws(name: str) -> None:
    p = NETWORKS[name](2).distribution(CLASS)
    points, area = grid()
    with torch.no_grad():
        mass = p.log_prob(points).exp() * area
    assert float(mass.sum()) == pytest.approx(1.0, abs=2e-3)
    mean = (mass[:, None] * points).sum(0)
    stddev = ((mass[:, None] * (points - mean).square()).sum(0)).sqrt()
    draws = p.sample(20_000, generator=seeds.generator(0))
    assert ((draws.mean(0) - mean).abs() < 5 * stddev / 20_000**0.5).all()
    torch.testing.assert_close(draws.std(0), stddev, rtol=0.03, atol=0)
    torch.testing.assert_close(p.mean, mean, rtol=0, atol=0.12)
    torch.testing.assert_close(p.stddev, stddev, rtol=0.08, atol=0)


@pytest.mark.slow
def test_smaller_steps_come_closer_to_the_density() -> None:
    z = field().distribution(CLASS).sample(50, generator=seeds.generator(0))
    rough, usual, fine = (field(n_steps=n).distribution(CLASS).log_prob(z).detach() for n in (8, 32, 400))
    assert (usual - fine).abs().max() < 0.02
    # of the second order: a quarter of the length of a step is a sixteenth of the error
    assert (rough - fine).abs().max() > 8 * (usual - fine).abs().max()


@with_a_density
def test_all_classes_are_the_mixture_of_each(name: str) -> None:
    prior = LearntPrior(NETWORKS[name](2), 2, n_classes=2).double()
    prior.log_weights.copy_(torch.tensor([0.25, 0.75]).log())
    prior.centre.copy_(torch.tensor([1.0, -2.0]))
    prior.scale.copy_(torch.tensor([3.0, 0.5]))
    z = 2 * numbers(4, 3, 2)
    each = [prior.of_class(index)().log_prob(z).exp() for index in range(2)]
    torch.testing.assert_close(prior().log_prob(z).exp(), 0.25 * each[0] + 0.75 * each[1])
    draws = prior().sample(20_000, generator=seeds.generator(0))
    means = [prior.of_class(index)().sample(20_000, generator=seeds.generator(1)).mean(0) for index in range(2)]
    torch.testing.assert_close(draws.mean(0), 0.25 * means[0] + 0.75 * means[1], atol=0.08, rtol=0)
    assert prior().sample().shape == (2,)
    assert prior().mean.shape == prior().stddev.shape == (2,)


def test_rescaled_against_torch() -> None:
    centre, scale = numbers(3), numbers(3, seed="scale").exp()
    p = Rescaled(StandardNormal(3, like=centre), centre, scale)
    expected = oracle.Independent(oracle.Normal(centre, scale), 1)
    z = numbers(4, 7, 3, seed="z")
    torch.testing.assert_close(p.log_prob(z), expected.log_prob(z))
    torch.testing.assert_close(p.mean, centre)
    torch.testing.assert_close(p.stddev, scale)
    torch.testing.assert_close(p.sample(40_000, generator=seeds.generator(0)).std(0), scale, rtol=0.02, atol=0)


@pytest.mark.parametrize("condition", [None, CLASS])
def test_the_moments_of_a_second_stage_are_those_of_its_draws(condition: torch.Tensor | None) -> None:
    network = shaken(lambda: SecondStage(2, condition_dim=0 if condition is None else 2, width=8), 0.2)
    assert isinstance(network, SecondStage)
    p = network.distribution(condition)
    draws = p.sample(40_000, generator=seeds.generator(0))
    torch.testing.assert_close(p.mean, draws.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(p.stddev, draws.std(0), rtol=0.08, atol=0)
    with pytest.raises(UnsupportedOperationError, match="no density in closed form.* Use prior='model', or fit with"):
        p.log_prob(draws)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_classes", [0, 2])
def test_a_temperature_scales_the_noise(name: str, n_classes: int) -> None:
    prior = LearntPrior(NETWORKS[name](n_classes), 2, n_classes=n_classes).double()
    p = prior()
    frozen = tempered(p, 0.0).sample(50, generator=seeds.generator(0))
    assert len(frozen.round(decimals=6).unique(dim=0)) == max(1, n_classes), "one point for each class"
    usual = p.sample(500, generator=seeds.generator(0))
    torch.testing.assert_close(tempered(p, 1.0).sample(500, generator=seeds.generator(0)), usual)
    assert (tempered(p, 0.3).sample(500, generator=seeds.generator(0)).var(0) < usual.var(0)).all()


def test_a_prior_goes_with_the_device_and_precision_of_its_module() -> None:
    prior = LearntPrior(VelocityField(2, width=4), 2).to(torch.float64)
    assert prior().sample(3).dtype == torch.float64
    assert isinstance(LearntPrior(LatentFlow(2, condition_dim=2, width=4), 2, n_classes=2)().base, OverClasses)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VelocityField(0), "latent_dim must be"),
        (lambda: VelocityField(2, width=0), "width must be"),
        (lambda: VelocityField(2, n_steps=0), "n_steps must be"),
        (lambda: LatentFlow(2, n_layers=0), "n_layers must be"),
        (lambda: SecondStage(2, n_layers=0), "n_layers must be"),
        (lambda: LearntPrior(nn.Identity(), 0), "latent_dim must be"),
    ],
)
def test_wrong_options_are_named(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        make()
