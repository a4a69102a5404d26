"""The prior given a condition: which part of it a condition has, where it lies, and what it draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import GaussianMixturePrior, StandardNormalPrior
from latentkit.models import ConditionalPrior, GivenConditions, LinearMeans, VaeSpecification, WithPrior
from latentkit.tasks import sample_latents, tempered

# columns: there is a condition; two classes; a number
CAT, DOG, NONE = [1.0, 1.0, 0.0, 2.0], [1.0, 0.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]


def normal(stddev: float) -> GaussianMixturePrior:
    return GaussianMixturePrior(torch.ones(1), torch.zeros(1, 2), stddev * torch.eye(2).unsqueeze(0))


def prior() -> ConditionalPrior:
    """Cats lie at (10 + number, 0) with a spread of 1/2; others at (0, 5), pooled with a spread of 2."""
    coefficients = torch.zeros(2, 4, 2)
    coefficients[0, 0, 0], coefficients[0, 3, 0], coefficients[1, 0, 1] = 10.0, 1.0, 5.0
    means = LinearMeans(torch.tensor([[1.0, 1.0, 0.0, 0.0]]), coefficients)
    return ConditionalPrior(means, [normal(0.5)], normal(2.0), StandardNormalPrior(2))


def conditions(*rows: list[float]) -> Tensor:
    return torch.tensor(rows)


def test_a_condition_has_the_mean_and_the_spread_of_its_combination() -> None:
    given = prior().given(conditions(CAT, DOG, NONE))
    torch.testing.assert_close(given.mean, torch.tensor([[12.0, 0.0], [0.0, 5.0], [0.0, 0.0]]))
    torch.testing.assert_close(given.stddev, torch.tensor([[0.5, 0.5], [2.0, 2.0], [1.0, 1.0]]))
    assert prior().given(conditions(CAT)).mean.shape == (2,)


def test_a_row_of_zeros_among_the_combinations_is_no_condition_s() -> None:
    means = LinearMeans(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]), torch.zeros(3, 3, 1))
    assert means.places(torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])).tolist() == [2, 1, 2]


def test_the_density_of_each_row_is_that_under_its_own_condition() -> None:
    z = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
    together = prior().given(conditions(CAT, DOG, NONE)).log_prob(z)
    assert together.shape == (5, 3)
    for place, row in enumerate((CAT, DOG, NONE)):
        alone = prior().given(conditions(row))
        torch.testing.assert_close(together[:, place], alone.log_prob(z[:, place]))
        oracle = torch.distributions.Normal(alone.mean, alone.stddev).log_prob(z[:, place]).sum(-1)
        torch.testing.assert_close(together[:, place], oracle)


def test_what_a_row_draws_depends_on_its_own_condition_alone() -> None:
    def draw(*rows: list[float]) -> Tensor:
        return sample_latents(prior().given(conditions(*rows)), 300, generator=torch.Generator().manual_seed(1))

    mixed, cats, dogs = draw(*[CAT, DOG, NONE] * 100), draw(CAT), draw(DOG)
    torch.testing.assert_close(mixed[::3], cats[::3])
    torch.testing.assert_close(mixed[1::3], dogs[1::3])
    assert (cats.mean(0) - torch.tensor([12.0, 0.0])).abs().max() < 5 * 0.5 / math.sqrt(300)
    assert torch.equal(mixed, draw(*[CAT, DOG, NONE] * 100))
    assert not torch.equal(mixed, sample_latents(prior().given(conditions(*[CAT, DOG, NONE] * 100)), 300))


def test_draws_are_as_many_as_conditions() -> None:
    given = prior().given(conditions(CAT, DOG))
    assert given.sample().shape == (2, 2)
    assert prior().given(conditions(CAT)).sample().shape == (2,)
    assert prior().given(conditions(CAT)).sample(3).shape == (3, 2)
    with pytest.raises(InvalidParameterError, match="given 2 conditions are as many; got n=3"):
        given.sample(3)


def test_temperature_scales_around_the_mean_of_the_condition() -> None:
    given = prior().given(conditions(CAT, DOG))
    still = tempered(given, 0.0)
    assert isinstance(still, GivenConditions)
    torch.testing.assert_close(still.sample(), given.mean)


def test_a_model_under_it_is_given_the_condition_too() -> None:
    layers = {"network": "mlp", "widths": [4]}
    model = VaeSpecification(event_shape=(3,), latent_dim=2, encoder=layers, decoder=layers, condition_dim=4).build()
    under = WithPrior(model, prior())
    torch.testing.assert_close(under.prior().mean, torch.zeros(2))
    torch.testing.assert_close(under.given(conditions(CAT)).prior().mean, torch.tensor([12.0, 0.0]))
    plain = WithPrior(model, StandardNormalPrior(2))
    torch.testing.assert_close(plain.given(conditions(CAT)).prior().mean, torch.zeros(2))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"combinations \+ 1, columns, latent"):
        LinearMeans(torch.zeros(2, 3), torch.zeros(2, 3, 1))
    with pytest.raises(InvalidParameterError, match="one prior for each combination of classes; got 0 for 1"):
        ConditionalPrior(prior().means, [], normal(1.0), normal(1.0))
