"""Priors fitted given conditions, against latent vectors whose law given the condition is known."""

from __future__ import annotations

import itertools
from typing import Any, final

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import StandardNormalPrior
from latentkit.models import ConditionalPrior
from latentkit.tasks import FitBudget, Latents, ex_post_priors, sample_latents
from latentkit.tasks.ex_post import (
    Conditions,
    conditional_sections,
    fit_conditional_prior,
    restore_conditional_prior,
)
from latentkit.tasks.ex_post.conditional import rows_enough
from latentkit.training.progress import Silent

OPTIONS: dict[str, dict[str, Any]] = {
    "mixture": {},
    "flow": {"n_steps": 400, "n_layers": 4, "width": 32},
    "flow_matching": {"n_steps": 400, "width": 32, "n_ode_steps": 8},
    "second_stage": {"n_steps": 400, "width": 32, "n_layers": 1},
}
everyone = pytest.mark.parametrize("name", ex_post_priors)
#: Where the classes lie, how a number moves them, and the covariance around that.
CENTRES = torch.tensor([[6.0, 0.0], [-6.0, 3.0]])
SLOPES = torch.tensor([[2.0, 0.0], [0.0, -2.0]])
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 1.0]])
#: Columns: there is a condition; two classes; a number.
OF_CLASSES = torch.tensor([False, True, True, False])


def encoded(classes: Tensor, numbers: Tensor) -> Tensor:
    return torch.cat((torch.ones(len(classes), 1), torch.eye(2)[classes], numbers.unsqueeze(1)), dim=1)


def linear(n: int = 2000) -> tuple[Latents, Conditions]:
    """Points z = centre of the class + its slope times the number + noise with one covariance."""
    random = torch.Generator().manual_seed(0)
    classes, numbers = torch.arange(n) % 2, torch.randn(n, generator=random)
    noise = torch.randn(n, 2, generator=random) @ torch.linalg.cholesky(COVARIANCE).mT
    means = CENTRES[classes] + SLOPES[classes] * numbers.unsqueeze(1) + noise
    return Latents(means=means), Conditions(columns=encoded(classes, numbers), of_classes=OF_CLASSES)


@final
class Listening(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def fit(
    name: str, latents: Latents, conditions: Conditions, *, reporter: Silent | None = None, **options: Any
) -> ConditionalPrior:
    family = ex_post_priors[name](**{**OPTIONS[name], **options})
    budget = FitBudget(seed=0, reporter=reporter or Silent())
    return fit_conditional_prior(family, latents, conditions, budget, whole=StandardNormalPrior(2))


@pytest.mark.parametrize(
    "name",
    [
        # what these two learn of a whole is among the quick tests of the families
        pytest.param(name, marks=pytest.mark.slow if name in ("flow", "second_stage") else [])
        for name in ex_post_priors
    ],
)
def test_draws_have_the_mean_and_the_covariance_of_their_condition(name: str) -> None:
    prior = fit(name, *linear())
    for index, number in itertools.product((0, 1), (-1.5, 1.0)):
        condition = encoded(torch.tensor([index]), torch.tensor([number]))
        draws = sample_latents(prior.given(condition), 4000, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(draws.mean(0), CENTRES[index] + SLOPES[index] * number, atol=0.35, rtol=0.0)
        torch.testing.assert_close(draws.mT.cov(), COVARIANCE, atol=0.35, rtol=0.0)


def test_the_density_is_that_of_the_condition() -> None:
    prior = fit("mixture", *linear(), n_components=1)
    z = torch.randn(7, 2, generator=torch.Generator().manual_seed(1))
    condition = encoded(torch.tensor([0]), torch.tensor([0.5]))
    oracle = torch.distributions.MultivariateNormal(CENTRES[0] + 0.5 * SLOPES[0], COVARIANCE)
    torch.testing.assert_close(prior.given(condition).log_prob(z + 6.0), oracle.log_prob(z + 6.0), atol=1.0, rtol=0.05)


def test_without_a_condition_it_is_the_prior_of_all() -> None:
    prior = fit("mixture", *linear(200))
    torch.testing.assert_close(prior.given(torch.zeros(1, 4)).mean, torch.zeros(2))
    torch.testing.assert_close(prior().mean, torch.zeros(2))


def test_numbers_alone_are_one_combination() -> None:
    random = torch.Generator().manual_seed(0)
    numbers = torch.randn(500, generator=random)
    means = torch.stack((3.0 * numbers, torch.randn(500, generator=random)), dim=1)
    columns = torch.stack((torch.ones(500), numbers), dim=1)
    prior = fit("mixture", Latents(means=means), Conditions(columns=columns, of_classes=torch.zeros(2).bool()))
    assert prior.means.n_combinations == 1
    given = prior.given(torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(given.mean, torch.tensor([6.0, 0.0]), atol=0.4, rtol=0.0)
    torch.testing.assert_close(given.stddev, torch.tensor([0.0, 1.0]), atol=0.1, rtol=0.0)


def test_rare_and_unseen_combinations_lie_where_their_attributes_say() -> None:
    """Two attributes, whose effects add up: of one combination there are few rows, of one there is none."""
    random = torch.Generator().manual_seed(0)
    counts = {(0, 0): 300, (0, 1): 300, (1, 0): 300, (1, 1): 0, (2, 0): 300, (2, 1): 5}
    pairs = torch.tensor([pair for pair, count in counts.items() for _ in range(count)])
    columns = torch.cat((torch.ones(len(pairs), 1), torch.eye(3)[pairs[:, 0]], torch.eye(2)[pairs[:, 1]]), dim=1)
    means = 4.0 * pairs.float() + 0.5 * torch.randn(len(pairs), 2, generator=random)
    of_classes = torch.tensor([False] + [True] * 5)
    prior = fit("mixture", Latents(means=means), Conditions(columns=columns, of_classes=of_classes))
    assert int((prior.means.combinations.sum(1) > 0).sum()) == 4
    for first, second in ((1, 1), (2, 1)):
        condition = torch.cat((torch.ones(1), torch.eye(3)[first], torch.eye(2)[second])).unsqueeze(0)
        given = prior.given(condition)
        torch.testing.assert_close(given.mean, torch.tensor([4.0 * first, 4.0 * second]), atol=0.3, rtol=0.0)
        torch.testing.assert_close(given.stddev, torch.full((2,), 0.5), atol=0.15, rtol=0.0)


def test_few_rows_are_fitted_together() -> None:
    latents, conditions = linear(rows_enough(2, 1) * 2 - 2)
    heard = Listening()
    prior = fit("mixture", latents, conditions, reporter=heard)
    assert "2 of 2 combinations of conditions have fewer than 20 examples" in heard.notes[0]
    assert prior.means.places(conditions.columns).tolist() == [1] * len(latents.means)
    one = prior.given(conditions.columns[:1])
    assert (one.mean - latents.means[0]).norm() < 6.0


@everyone
def test_what_was_stored_is_restored(name: str) -> None:
    latents, conditions = linear(200)
    options = {} if name == "mixture" else {"n_steps": 5}
    prior = fit(name, latents, conditions, **options)
    family = ex_post_priors[name](**{**OPTIONS[name], **options})
    sections = {key: module.state_dict() for key, module in conditional_sections(family, prior).items()}
    assert all(key.split(".")[0] == "condition" for key in sections)
    again = restore_conditional_prior(family, sections, whole=prior.whole)
    assert again is not None
    asked = torch.cat((conditions.columns[:6], torch.zeros(1, 4)))
    first, second = (p.given(asked).sample(generator=torch.Generator().manual_seed(3)) for p in (prior, again))
    assert torch.equal(first, second)
    assert restore_conditional_prior(family, {}, whole=prior.whole) is None


def test_shapes_that_do_not_fit_are_refused() -> None:
    latents, conditions = linear(20)
    with pytest.raises(InvalidParameterError, match="one condition for each latent vector; got 20 for 19"):
        fit("mixture", latents.of(torch.arange(19)), conditions)
    with pytest.raises(InvalidParameterError, match="a truth value for each column"):
        Conditions(columns=conditions.columns, of_classes=torch.zeros(3).bool())
