"""The prior over codes: normalised, causal, and the same place by place as all at once."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.seeds import generator
from latentkit.models import CodeDistribution, CodePrior
from latentkit.nn.quantizers import EmaQuantizer
from latentkit.tasks import sample_latents

GRIDS = [(4,), (2, 2), (2, 3), (2, 2, 2)]


def make(grid: tuple[int, ...] = (2, 2), n_codes: int = 3, condition_dim: int = 2) -> CodePrior:
    """A prior far from its start, so that everything that it sees counts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = CodePrior(grid, n_codes, code_dim=2, condition_dim=condition_dim, width=8, n_layers=2, n_heads=2)
        for parameter in prior.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
        prior.vectors[:-1].normal_()
    return prior.double().eval()


def everything(n_places: int, n_codes: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(n_codes), repeat=n_places)))


@pytest.mark.parametrize("grid", [(4,), (2, 2), (3, 1)])
@pytest.mark.parametrize("condition", [None, torch.tensor([[1.0, -1.0]])])
def test_probabilities_of_all_grids_add_up_to_one(grid: tuple[int, ...], condition: Tensor | None) -> None:
    prior = make(grid)
    codes = everything(math.prod(grid), 3)
    total = prior.log_prob(codes, condition).exp().sum()
    assert float(total.detach()) == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_code_is_seen_by_those_after_it_alone(grid: tuple[int, ...]) -> None:
    prior, n = make(grid), math.prod(grid)
    codes = torch.zeros(1, n, dtype=torch.int64)
    logits = prior.logits(codes)
    for place in range(n):
        changed = codes.clone()
        changed[0, place] = 2
        moved = (prior.logits(changed) - logits).abs().sum(-1)[0] > 1e-9
        assert not moved[: place + 1].any()
        assert moved[place + 1 :].all()


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("condition", [None, torch.tensor([[0.5, 2.0]]), torch.tensor([[0.5, 2.0], [-1.0, 0.0]])])
def test_the_most_probable_codes_are_those_without_memory(grid: tuple[int, ...], condition: Tensor | None) -> None:
    prior, n = make(grid), math.prod(grid)
    codes = torch.zeros(2, n, dtype=torch.int64)
    for place in range(n):
        codes[:, place] = prior.logits(codes, condition)[:, place].argmax(-1)
    assert torch.equal(prior.sample(2, condition, temperature=0.0), codes)


def test_draws_follow_the_probabilities() -> None:
    prior, condition = make((3,), n_codes=2), torch.tensor([[0.5, 2.0]])
    draws = prior.sample(4000, condition, generator=generator(0))
    expected = prior.log_prob(everything(3, 2), condition).exp().detach()
    found = torch.bincount(draws @ torch.tensor([4, 2, 1]), minlength=8) / 4000
    torch.testing.assert_close(found.double(), expected, atol=0.03, rtol=0.0)


def test_temperature_divides_the_logits() -> None:
    prior = make((1,), n_codes=4)
    found = torch.bincount(prior.sample(4000, temperature=2.0, generator=generator(0))[:, 0], minlength=4) / 4000
    expected = torch.softmax(prior.logits(torch.zeros(1, 1, dtype=torch.int64))[0, 0] / 2.0, -1).detach()
    torch.testing.assert_close(found.double(), expected, atol=0.03, rtol=0.0)


def test_each_row_has_its_condition_and_zeros_are_none() -> None:
    prior = make((2, 2))
    codes = everything(4, 3)[[5, 40, 70]]
    conditions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    together = prior.log_prob(codes, conditions)
    for row in range(3):
        alone = prior.log_prob(codes[row : row + 1], conditions[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)
    torch.testing.assert_close(together[2:], prior.log_prob(codes[2:]))
    assert (together[:2] - prior.log_prob(codes[:2])).abs().min() > 1e-3


def test_many_draws_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, conditions = make((2, 2)), 5 * torch.randn(5, 2, generator=generator(0))
    whole = prior.sample(5, conditions, temperature=0.0)
    assert len(whole[:2].unique(dim=0)) < len(whole.unique(dim=0))
    monkeypatch.setattr("latentkit.models.codes.ROWS", 2)
    assert torch.equal(prior.sample(5, conditions, temperature=0.0), whole)
    assert torch.equal(prior.sample(5, generator=generator(1)), prior.sample(5, generator=generator(1)))


def test_the_distribution_is_over_code_vectors() -> None:
    prior, quantizer = make((2, 2)), EmaQuantizer(2, n_codes=3).double()
    distribution = CodeDistribution(quantizer, 4, prior=prior)
    z = distribution.sample(6, generator=generator(0))
    assert z.shape == (6, 8)
    codes = quantizer.nearest(z.reshape(6, 4, 2))
    assert torch.equal(codes, prior.sample(6, generator=generator(0)))
    torch.testing.assert_close(distribution.log_prob(z), prior.log_prob(codes))
    torch.testing.assert_close(distribution.log_prob(z.reshape(2, 3, 8)), prior.log_prob(codes).reshape(2, 3))
    assert distribution.sample(generator=generator(0)).shape == (8,)
    greedy = sample_latents(distribution, 2, temperature=0.0)
    assert torch.equal(greedy, quantizer.vectors(prior.sample(2, temperature=0.0)).flatten(1))


def test_without_a_prior_codes_are_uniform() -> None:
    distribution = CodeDistribution(EmaQuantizer(2, n_codes=3), 4)
    z = distribution.sample(500, generator=generator(0))
    torch.testing.assert_close(distribution.log_prob(z), torch.full((500,), -4 * math.log(3.0)))
    assert z.shape == (500, 8)
    assert len(z[:, :2].unique(dim=0)) == 3


def test_it_starts_with_the_frequencies_and_vectors_of_the_codes() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = CodePrior((2, 2), 3, code_dim=2, width=8, n_heads=2).eval()
    codes = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]).repeat(500, 1)
    vectors = torch.tensor([[1.0, 4.0], [2.0, 4.0], [3.0, 4.0]])
    prior.start(codes, vectors)
    assert prior.usage.tolist() == [2500, 1500, 0]
    step = 1.5**0.5
    torch.testing.assert_close(prior.vectors, torch.tensor([[-step, 0.0], [0.0, 0.0], [step, 0.0], [0.0, 0.0]]))
    for weight in (prior.output.weight, prior.onto.weight):
        torch.nn.init.zeros_(weight)
    found = torch.softmax(prior.logits(codes[:1]), -1)[0, 0].detach()
    torch.testing.assert_close(found, torch.tensor([2501.0, 1501.0, 1.0]) / 4003)


def test_what_is_known_of_a_code_holds_for_those_of_like_vectors() -> None:
    """Without embeddings of symbols, two codes of one vector are seen alike and are alike probable."""
    prior = make((2, 2))
    with torch.no_grad():
        prior.vectors[1] = prior.vectors[0]
        for table in (prior.before.weight, prior.above.weight, prior.output.weight, prior.output.bias):
            table.zero_()
    logits = prior.logits(torch.tensor([[0, 0, 2, 1], [1, 1, 2, 0]]))
    torch.testing.assert_close(logits[0], logits[1])
    torch.testing.assert_close(logits[..., 0], logits[..., 1])
    assert (logits[..., 0] - logits[..., 2]).abs().min() > 1e-6


def test_what_cannot_be_says_why() -> None:
    with pytest.raises(InvalidParameterError, match=r"width must be a multiple of n_heads=4; got 10. Use 12"):
        CodePrior((2, 2), 3, code_dim=2, width=10)
    with pytest.raises(InvalidParameterError, match="n_codes must be an integer of at least 2"):
        CodePrior((2, 2), 1, code_dim=2)
    with pytest.raises(UnsupportedOperationError, match="codes are symbols, which have no mean"):
        _ = CodeDistribution(EmaQuantizer(2), 4).mean
    with pytest.raises(InvalidParameterError, match="temperature must be a float"):
        CodeDistribution(EmaQuantizer(2), 4).tempered(-1.0)
