"""Rows of mixed kinds: every law against all the rows that there are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import likelihoods
from latentkit.distributions.likelihood.columns import ORDERED, ColumnsLikelihood, Region, median

SIZES = (3, 2, 4)
NAN = math.nan
ROWS = torch.tensor(list(itertools.product(*(range(size) for size in SIZES)))) + 0.5


class Context(nn.Module):
    """The smallest decoder that looks at known cells: one matrix of each pair of codes."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        starts = [0, *itertools.accumulate(size + 1 for size in SIZES)]
        self.starts = starts[:-1]
        self.weight = nn.Parameter(torch.randn(starts[-1], width, generator=seeds.generator(0, "weight")))
        self.head = nn.Parameter(torch.randn(sum(SIZES), width, generator=seeds.generator(0, "head")))
        self.ends = tuple(itertools.accumulate(SIZES))

    def _cell(self, x: Tensor, column: int) -> Tensor:
        codes = torch.where(x.isnan(), SIZES[column], x.nan_to_num(0.0).floor().long())
        return self.weight[self.starts[column] + codes]

    def begin(self, h: Tensor) -> Walk:
        return Walk(self, h)

    def logits(self, h: Tensor, x: Tensor) -> Tensor:
        walk = self.begin(h)
        for column in range(3):
            walk.add(x[:, column], column)
        return torch.cat([walk.logits(column) for column in range(3)], -1)


class Walk:
    def __init__(self, context: Context, h: Tensor) -> None:
        self.context = context
        self.state = h + sum(context._cell(h.new_full((1,), NAN), column) for column in range(3))

    def add(self, x: Tensor, column: int) -> None:
        self.state = self.state + self.context._cell(x, column) - self.context._cell(x.new_full((1,), NAN), column)

    def logits(self, column: int) -> Tensor:
        end = self.context.ends[column]
        return functional.linear(self.state.tanh(), self.context.head[end - SIZES[column] : end])


def _family(*, looks: bool = True, **options: object) -> ColumnsLikelihood:
    family = ColumnsLikelihood((3,), cardinalities=SIZES, **options)  # type: ignore[arg-type]
    if looks:
        family.look_at(Context())
    return family.eval()


def _parameters(family: ColumnsLikelihood, *batch: int) -> Tensor:
    width = 5 if family._context else sum(SIZES)
    return torch.randn(*batch, 1, width, generator=seeds.generator(3, "parameters"))


def _every_row(family: ColumnsLikelihood) -> Tensor:
    """The probability of every row there is, given one z."""
    p = family(_parameters(family, 1).expand(len(ROWS), -1, -1))
    return p.log_prob(ROWS).exp().detach()


@pytest.mark.parametrize("looks", [True, False])
def test_probabilities_sum_to_one_and_draws_follow_them(looks: bool) -> None:
    family = _family(looks=looks)
    expected = _every_row(family)
    torch.testing.assert_close(expected.sum(), torch.tensor(1.0))
    n = 40_000
    draws = family(_parameters(family, 1)).sample(n, generator=seeds.generator(4))[:, 0]
    codes = draws.floor().long()
    found = torch.bincount((codes[:, 0] * 2 + codes[:, 1]) * 4 + codes[:, 2], minlength=len(ROWS)) / n
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / n).sqrt() + 1e-9).all()
    positions = draws - codes
    assert positions.min() >= 0
    assert positions.max() < 1
    assert (positions.mean(0) - 0.5).abs().max() < 0.01


def test_columns_are_drawn_from_the_fewest_codes_to_the_most() -> None:
    assert _family().order == (1, 0, 2)
    assert _family().rank.tolist() == [1, 0, 2]


def test_parts_of_columns_add_up_and_shapes_broadcast() -> None:
    family = _family()
    p = family(_parameters(family, 4, 5))
    parts = p.log_prob_columns(ROWS[:5])
    assert parts.shape == (4, 5, 3)
    torch.testing.assert_close(parts.sum(-1), p.log_prob(ROWS[:5]))
    for value in (p.mean, p.mode, p.sample()):
        assert value.shape == (4, 5, 3)
        assert not value.requires_grad or value is not p.sample()
    assert p.sample(2).shape == (2, 4, 5, 3)


def test_what_is_unknown_is_neither_counted_nor_looked_at() -> None:
    family = _family()
    p = family(_parameters(family, 1))
    row, mask = ROWS[17:18], torch.tensor([[True, False, True]])
    holes = row.masked_fill(~mask, NAN)
    torch.testing.assert_close(p.log_prob(row, mask), p.log_prob(holes))
    assert p.log_prob_columns(holes)[0, 1] == 0
    torch.testing.assert_close(p.log_prob(row.masked_fill(~mask, 99.0), mask), p.log_prob(holes))
    assert (p.log_prob(row, torch.zeros_like(mask)) == 0).all()


def test_the_estimate_of_training_is_that_of_the_orders_it_draws() -> None:
    """Its mean, over parts of a row, against every part of that row, one by one."""
    family = _family()
    context = family._context[0]
    h, row = _parameters(family, 1)[:, 0], ROWS[13:14]

    def masses(known: tuple[int, ...]) -> Tensor:
        x = row.clone()
        x[:, [column for column in range(3) if column not in known]] = NAN
        logits = context.logits(h, x).split(SIZES, -1)
        return torch.stack(
            [part.log_softmax(-1)[0, int(row[0, column])] for column, part in enumerate(logits)]
        ).detach()

    at_random = torch.zeros(3)
    for n_known in range(3):
        parts = list(itertools.combinations(range(3), n_known))
        for known in parts:
            free = [column for column in range(3) if column not in known]
            at_random[free] += masses(known)[free] * 3 / (3 - n_known) / len(parts) / 3
    ordered = torch.zeros(3)
    for n_known in range(3):
        free, following = list(family.order[n_known:]), family.order[n_known]
        found = masses(family.order[:n_known])
        ordered[free] += 0.5 * found[free] * 3 / (3 - n_known) / 3
        ordered[following] += 0.5 * found[following]
    expected = (1 - ORDERED) * at_random + ORDERED * ordered
    n = 60_000
    with torch.random.fork_rng():
        torch.manual_seed(0)
        p = family.train()(_parameters(family, 1).expand(n, -1, -1))
        draws = p.log_prob_columns(row.expand(n, -1)).detach()
    assert ((draws.mean(0) - expected).abs() <= 5 * draws.std(0) / n**0.5).all()


def test_completions_follow_the_rows_that_fit() -> None:
    """Given two cells, the third is drawn from what the family says of it; the known cells stay as they are."""
    family = _family()
    p = family(_parameters(family, 1).expand(20_000, -1, -1))
    for column in range(3):
        row = ROWS[17].clone()
        row[column] = NAN
        draws = p.complete(row.expand(20_000, -1), generator=seeds.generator(5))
        found = torch.bincount(draws[:, column].floor().long(), minlength=SIZES[column]) / 20_000
        expected = p.probabilities(row.expand(20_000, -1))[column][0]
        assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / 20_000).sqrt()).all()
        kept = [other for other in range(3) if other != column]
        assert torch.equal(draws[:, kept], row[kept].expand(20_000, -1))


def test_missing_is_a_code_that_a_completion_can_do_without() -> None:
    family = _family(missing_codes=(None, None, 3))
    p = family(_parameters(family, 1).expand(5_000, -1, -1))
    holes = torch.full((5_000, 3), NAN)
    drawn = p.complete(holes, generator=seeds.generator(6))
    filled = p.complete(holes, generator=seeds.generator(6), missing=False)
    assert (drawn[:, 2] >= 3).any()
    assert not (filled[:, 2] >= 3).any()
    assert (filled[:, 2] >= 2).any()


@pytest.mark.parametrize("looks", [True, False])
def test_draws_within_regions_are_weighted_as_the_rows_that_lie_there(looks: bool) -> None:
    """The regions are of the first columns of the order, of which the chain gives the joint probability."""
    family = _family(looks=looks)
    n = 40_000
    regions = {
        1: Region(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 1.0])),
        0: Region(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 0.25])),
    }
    rows, log_mass = family(_parameters(family, 1).expand(n, -1, -1)).within(regions, generator=seeds.generator(8))
    assert rows[:, 2].isnan().all()
    left = torch.tensor([1.0, 0.0, 0.25])[:, None] * torch.tensor([0.5, 1.0])
    joint = _every_row(family).reshape(SIZES).sum(2) * left
    weights = log_mass.exp()
    assert abs(weights.mean() - joint.sum()) <= 5 * weights.std() / n**0.5 + 1e-6
    codes = rows[:, :2].long()
    for first, second in itertools.product(range(3), range(2)):
        found = weights * (codes == torch.tensor([first, second])).all(1)
        assert abs(found.mean() - joint[first, second]) <= 5 * found.std() / n**0.5 + 1e-6
    assert ((rows[:, 0] < 1) | ((rows[:, 0] >= 2) & (rows[:, 0] <= 2.25))).all()
    assert (rows[:, 1] >= 0.5).all()


@pytest.mark.parametrize("looks", [True, False])
def test_regions_may_follow_from_the_cells_before(looks: bool) -> None:
    """The code of the second column is not above that of the first: weighted, the rows are those that lie there."""
    family = _family(looks=looks)
    n = 40_000

    def not_above(rows: Tensor) -> Region:
        allowed = torch.arange(3) <= rows[:, 1].floor().unsqueeze(1)
        return Region(torch.zeros(n, 3), allowed.float())

    everywhere = Region(torch.zeros(2), torch.ones(2))
    p = family(_parameters(family, 1).expand(n, -1, -1))
    rows, log_mass = p.within({1: everywhere, 0: not_above}, generator=seeds.generator(8))
    first, second = rows[:, 0].long(), rows[:, 1].long()
    assert (first <= second).all()
    joint = _every_row(family).reshape(SIZES).sum(2)
    weights = log_mass.exp()
    for codes in ((0, 0), (0, 1), (1, 1)):
        found = weights * ((first == codes[0]) & (second == codes[1]))
        assert abs(found.mean() - joint[codes]) <= 5 * found.std() / n**0.5 + 1e-6


def test_cells_that_are_set_stand_unless_they_are_missing() -> None:
    family = _family(missing_codes=(None, None, 3))
    n = 4000
    value = torch.full((n,), 1.25)
    value[: n // 2] = NAN
    region = Region(torch.zeros(4), torch.ones(4), value)
    rows, log_mass = family(_parameters(family, 1).expand(n, -1, -1)).within({2: region}, generator=seeds.generator(8))
    missing = rows[:, 2] >= 3
    assert 0.02 < missing.float().mean() < 0.98
    assert (rows[n // 2 :, 2][~missing[n // 2 :]] == 1.25).all()
    assert rows[: n // 2, 2][~missing[: n // 2]].unique().numel() > 100
    assert log_mass.abs().max() < 1e-5


def test_draws_of_a_row_are_the_same_in_any_batch() -> None:
    family = _family()
    parameters, keys, order = _parameters(family, 2, 6), torch.arange(6), torch.tensor([3, 1, 4])
    whole = family(parameters).sample(generator=seeds.RowGenerator(keys))
    part = family(parameters[:, order]).sample(generator=seeds.RowGenerator(keys[order]))
    assert torch.equal(whole[:, order], part)


def test_the_centre_is_the_median_of_numbers_and_the_mode_of_categories() -> None:
    family = _family(looks=False, is_ordered=(True, False, True))
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 5.0]]).log()
    p = family(logits.unsqueeze(-2))
    torch.testing.assert_close(p.mean, torch.tensor([[0.999, 1.5, 3.2]]))
    torch.testing.assert_close(p.mode, torch.tensor([[0.5, 1.5, 3.5]]))
    torch.testing.assert_close(median(torch.zeros(2, 5)), torch.full((2,), 2.5))


def test_numbers_beyond_their_column_are_outliers() -> None:
    family = _family(looks=False)
    p = family(_parameters(family, 1))
    end, beyond = torch.tensor([[2.5, 0.5, 3.9]]), torch.tensor([[2.5, 0.5, 14.0]])
    torch.testing.assert_close(p.log_prob(end) - p.log_prob(beyond), torch.tensor([10.0]))
    torch.testing.assert_close(
        p.log_prob(beyond),
        p.log_prob(torch.tensor([[2.5, 0.5, -10.0]]))
        + (p.log_prob(torch.tensor([[2.5, 0.5, 3.5]])) - p.log_prob(torch.tensor([[2.5, 0.5, 0.5]]))),
    )


def test_what_lies_beyond_is_a_large_number_and_not_missing() -> None:
    family = _family(looks=False, missing_codes=(None, None, 3))
    p = family(_parameters(family, 1))
    largest, beyond = torch.tensor([[2.5, 0.5, 2.9]]), torch.tensor([[2.5, 0.5, 4.0]])
    torch.testing.assert_close(p.log_prob(largest), p.log_prob(beyond))


def test_training_starts_at_the_frequencies() -> None:
    family = _family(looks=False)
    x = torch.cat([ROWS, ROWS[:8], torch.full((2, 3), NAN)])
    probabilities = family(family.initial_parameters(x).unsqueeze(0)).probabilities(x[:1])
    counts = torch.bincount(x[:-2, 0].long(), minlength=3) + 1.0
    torch.testing.assert_close(probabilities[0][0], counts / counts.sum())


def test_precision_and_gradients() -> None:
    family = _family(looks=False)
    low = _parameters(family, 5).bfloat16()
    assert family(low).log_prob(ROWS[:5]).dtype is torch.float32
    high = _parameters(family, 5).double().requires_grad_()
    assert family(high).log_prob(ROWS[:5].double()).dtype is torch.float64
    assert family(high).sample().dtype is torch.float64
    holes = ROWS[:5].double().masked_fill(torch.eye(5, 3).bool(), NAN)
    (gradient,) = torch.autograd.grad(family(high).log_prob(holes).sum(), high)
    assert gradient.isfinite().all()


def test_errors() -> None:
    with pytest.raises(InvalidParameterError, match="one entry for each of the 3 columns; got 2"):
        likelihoods["columns"]((3,), cardinalities=(2, 3))
    with pytest.raises(InvalidParameterError, match="Fit on a table"):
        likelihoods["columns"]((3,))
    with pytest.raises(InvalidParameterError, match=r"cardinalities\[1\] must be an integer of at least 1"):
        likelihoods["columns"]((2,), cardinalities=(2, 0))
