"""Cells of tables, against a table of which every probability is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator
from latentkit.distributions import Region
from latentkit.models import VaeSpecification, VariationalAutoencoder
from latentkit.tasks import cells, draw_cells, expect_cells, sample_within, score_cells

SIZES = [2, 3]
NETWORK = {"network": "columns", "widths": [8], "cardinalities": SIZES, "missing_codes": [None, 2]}


@pytest.fixture(scope="module")
def model() -> VariationalAutoencoder:
    """Two columns: x1 follows x0 nine times of ten, whatever z is; the last code of x1 is "missing"."""
    made = VaeSpecification(
        event_shape=(2,),
        latent_dim=2,
        encoder=NETWORK,
        decoder=NETWORK,
        likelihood="columns",
        likelihood_options={"cardinalities": SIZES, "missing_codes": [None, 2], "is_ordered": [False, False]},
    ).build()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x0 = torch.randint(0, 2, (4000,))
        x1 = torch.where(torch.rand(4000) < 0.9, x0, 1 - x0)
        x1 = torch.where(torch.rand(4000) < 0.2, 2, x1)
        x = torch.stack([x0, x1], 1) + 0.5
        optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
        for step in range(400):
            rows = x[torch.randint(0, 4000, (256,))]
            q = made.encode(rows)
            kl = 0.5 * (q.mean.square() + q.log_var.exp() - 1 - q.log_var).sum(1)
            loss = (kl - made.decode(q.rsample()).log_prob(rows)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for group in optimizer.param_groups:
                group["lr"] = 0.02 * (1 - step / 400)
    return made.eval()


def _row(*cells: float) -> Tensor:
    return torch.tensor([cells])


def test_unknown_cells_are_drawn_given_the_known_ones(model) -> None:
    x = torch.cat([_row(0.5, math.nan), _row(1.5, math.nan), _row(0.5, 1.5)])
    draws = draw_cells(model, x, n_draws=1500, seed=1)
    assert draws.shape == (1500, 3, 2)
    assert torch.equal(draws[:, 2], x[2].expand(1500, 2))
    assert torch.equal(draws[:, :, 0], x[:, 0].expand(1500, 3))
    assert draws[:, :2, 1].max() < 2, "missing is not drawn"
    follows = (draws[:, :2, 1].floor() == x[:2, 0].floor()).float().mean(0)
    assert (follows - 0.9).abs().max() < 0.05


def test_quantiles_are_those_of_the_probabilities(model) -> None:
    x = torch.cat([_row(0.5, math.nan), _row(1.5, math.nan), _row(1.5, 0.5)])
    points = expect_cells(model, x, n_points=100)
    assert points.shape == (100, 3, 2)
    assert torch.equal(points[:, 2], x[2].expand(100, 2))
    follows = (points[:, :2, 1].floor() == x[:2, 0].floor()).float().mean(0)
    assert (follows - 0.9).abs().max() < 0.05
    assert (points[:, 0, 1].diff() > 0).all()


def test_what_a_row_gets_does_not_depend_on_its_batch(model) -> None:
    x = torch.cat([_row(0.5, math.nan), _row(math.nan, 1.5), _row(math.nan, math.nan), _row(0.5, 1.5)])
    order = torch.tensor([2, 0])
    for task in (draw_cells, expect_cells):
        torch.testing.assert_close(
            task(model, x, n_draws=3, seed=2)[:, order], task(model, x[order], n_draws=3, seed=2)
        )
    assert not torch.equal(draw_cells(model, x, seed=2), draw_cells(model, x, seed=3))


def test_rows_within_regions_are_those_that_fit(model) -> None:
    regions = {1: Region(torch.tensor([0.0, 0.25, 0.0]), torch.tensor([0.0, 0.75, 0.0]))}
    rows, probability = sample_within(model, model.prior(), 3000, regions, generator=generator(0, "a"))
    assert rows.shape == (3000, 2)
    assert ((rows[:, 1] >= 1.25) & (rows[:, 1] <= 1.75)).all()
    assert abs((rows[:, 0] >= 1).float().mean() - 0.9) < 0.05
    assert abs(probability - 0.4 * 0.5) < 0.03
    again, _ = sample_within(model, model.prior(), 3000, regions, generator=generator(0, "a"))
    assert torch.equal(rows, again)


def test_no_candidate_is_chosen_twice_while_there_are_enough(model) -> None:
    everywhere = {0: Region(torch.zeros(2), torch.ones(2))}
    rows, probability = sample_within(model, model.prior(), 2000, everywhere, generator=generator(0))
    assert len(rows[:, 0].unique()) > 1985, "but for the few positions that single precision takes for the same"
    assert abs(probability - 1) < 1e-5


def test_many_rows_are_drawn_in_blocks(model, monkeypatch) -> None:
    monkeypatch.setattr(cells, "_BLOCK", 1000)
    regions = {1: Region(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))}
    rows, probability = sample_within(model, model.prior(), 2500, regions, generator=generator(0))
    assert rows.shape == (2500, 2)
    assert len(rows[:, 1].unique()) > 2490
    assert abs((rows[:, 0] >= 1).float().mean() - 0.9) < 0.05
    assert abs(probability - 0.4) < 0.05


def test_what_cannot_be_is_refused(model) -> None:
    nothing = {0: Region(torch.zeros(2), torch.zeros(2))}
    with pytest.raises(InvalidParameterError, match="no row that the model knows fits what is asked: its probability"):
        sample_within(model, model.prior(), 3, nothing, generator=generator(0))


def test_cells_are_scored_given_the_others(model) -> None:
    x = torch.cat([_row(0.5, 0.5), _row(0.5, 1.5), _row(1.5, math.nan)])
    scores = score_cells(model, x)
    assert scores.shape == (1, 3, 2)
    assert scores[0, 2, 1].isnan()
    expected = torch.tensor([0.8 * 0.9, 0.8 * 0.1]).log()
    assert (scores[0, :2, 1] - expected).abs().max() < 0.3
    assert scores[0, 1, 0] < scores[0, 0, 0] - 1.0
    torch.testing.assert_close(score_cells(model, x[1:2])[0, 0], scores[0, 1])
