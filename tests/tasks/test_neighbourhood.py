"""Near rows, against the same sums written out for one cell at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator
from latentkit.tasks import Neighbourhood

PLACES = [(0,), (1,), (2, 3)]


@pytest.fixture
def rows() -> tuple[Tensor, list[Tensor]]:
    """Thirty rows of a number, another that follows it, and a column of two codes, a few of them unknown."""
    random = generator(0, "rows")
    number = torch.randn(30, 1, generator=random)
    follower = 3 * number + 0.1 * torch.randn(30, 1, generator=random) + 5
    codes = torch.randint(0, 4, (30, 1), generator=random)
    cells = torch.cat([number, follower, codes + 0.5, 3 - codes + 0.5], 1)
    cells[3, 0] = cells[7, 1] = cells[9, 2] = cells[9, 3] = math.nan
    return cells, [number, follower, torch.nn.functional.one_hot(codes[:, 0], 4).float()]


def _by_hand(cells: Tensor, features: list[Tensor], column: int, query: list[np.ndarray], own: int = -1):
    """Rows near to one row, and their weights."""
    blocks = [np.asarray(block, float) for block in features]
    spread = [np.sqrt(block.var(0).sum()) for block in blocks]
    known = [i for i in range(len(cells)) if i != own and not any(math.isnan(cells[i, p]) for p in PLACES[column])]
    distances = np.zeros(len(known))
    for other, block in enumerate(blocks):
        if other == column:
            continue
        pairs = np.corrcoef(np.hstack([block, blocks[column]]).T)[: block.shape[1], block.shape[1] :]
        off = (block[known] - query[other]) / spread[other]
        distances += (0.05 + np.abs(pairs).max()) * (off**2).sum(1)
    nearest = np.argsort(distances)[:20]
    weights = 1 / (distances[nearest] + 0.03 * distances[nearest[-1]])
    return np.array(known)[nearest], weights / weights.sum()


def _with_shares(near: Neighbourhood, *shares: float) -> Neighbourhood:
    return Neighbourhood(
        near.cells, near.places, near.features, torch.tensor(shares), near.relevance, near._centres, near._scales
    )


def test_near_rows_take_the_place_of_their_share_of_the_points(rows) -> None:
    cells, features = rows
    near = _with_shares(Neighbourhood.of(cells, PLACES, features), 0.25, 0.0, 0.5)
    x = cells[:6].clone()
    x[:, 0] = math.nan
    x[0, 1] = math.nan
    x[4, 2:] = math.nan
    points = x.expand(1000, 6, 4).clone()
    points[:, :, 0] = torch.linspace(-10, 10, 1000)[:, None]
    points[:, 0, 1] = 7.0
    points[:, 4, 2:] = 0.25
    mixed = near.mixed(x, points, [block[:6] for block in features])
    for row in range(6):
        query = [np.asarray(block[row], float) for block in features]
        nearest, weights = _by_hand(cells, features, 0, query)
        assert float(mixed[:, row, 0].mean()) == pytest.approx(
            0.25 * float(weights @ cells[nearest, 0].numpy()), abs=0.01
        )
        assert (mixed[:, row, 0].abs() > 3).float().mean() == pytest.approx(0.75 * 0.7, abs=0.01)
    assert torch.equal(mixed[:, :, 1], points[:, :, 1]), "its share is 0"
    nearest, weights = _by_hand(cells, features, 2, [np.asarray(block[4], float) for block in features])
    drawn = mixed[500:, 4, 2:]
    assert torch.equal(drawn[:, 0] + drawn[:, 1], torch.full((500,), 4.0)), "the codes of a column stay together"
    for code in range(4):
        expected = float(weights[(cells[nearest, 2] == code + 0.5).numpy()].sum())
        assert float((drawn[:, 0] == code + 0.5).float().mean()) == pytest.approx(expected, abs=0.01)
    known = ~x.isnan()
    assert torch.equal(mixed[:, known], points[:, known])
    alone = near.mixed(x[4:5], points[:, 4:5], [block[4:5] for block in features])
    torch.testing.assert_close(alone, mixed[:, 4:5])


def test_shares_are_those_of_least_squares(rows) -> None:
    cells, features = rows
    random = generator(1, "predictions")
    hidden = torch.rand(30, 3, generator=random) < 0.5
    guesses = [block + 0.5 * torch.randn(block.shape, generator=random) for block in features]
    near = Neighbourhood.of(cells, PLACES, features)
    assert near.shares.tolist() == [0, 0, 0]
    learnt = near.learnt_from([(guesses, hidden)]).shares
    products = np.zeros((2, 3))
    for column, places in enumerate(PLACES):
        spread = float(features[column].var(0, correction=0).sum().sqrt())
        for row in range(30):
            if not hidden[row, column] or bool(cells[row, list(places)].isnan().any()):
                continue
            query = [np.asarray(block[row], float) for block in guesses]
            nearest, weights = _by_hand(cells, features, column, query, own=row)
            said = (weights @ features[column][nearest].numpy() - query[column]) / spread
            missed = (features[column][row].numpy() - query[column]) / spread
            products[:, column] += [missed @ said, said @ said]
    usual, common = products[1].mean(), products[0].sum() / products[1].sum()
    expected = (products[0] + common * usual) / (products[1] + usual)
    np.testing.assert_allclose(learnt, np.clip(expected, 0, 1), rtol=1e-3)


def test_who_knows_better_has_the_say(rows) -> None:
    cells, features = rows
    near = Neighbourhood.of(cells, PLACES, features)
    everything = torch.ones(30, 3, dtype=torch.bool)
    assert near.learnt_from([(features, everything)]).shares.tolist() == [0, 0, 0], "the model is always right"
    nothing = [features[0], features[1].mean().expand(30, 1), features[2]]
    only = everything & torch.tensor([False, True, False])
    assert float(near.learnt_from([(nothing, only)]).shares[1]) > 0.9, "the second column follows the first"


def test_columns_without_features_or_known_cells_are_left_to_the_model(rows) -> None:
    cells, features = rows
    cells[:, 1] = math.nan
    wide = [features[0], features[1], features[2][:, :0]]
    near = Neighbourhood.of(cells, PLACES, wide)
    hidden = torch.ones(30, 3, dtype=torch.bool)
    learnt = near.learnt_from([([0 * block for block in wide], hidden)])
    assert learnt.shares[2] == 0
    x = torch.full((2, 4), math.nan)
    points = torch.zeros(10, 2, 4)
    mixed = _with_shares(near, 1.0, 1.0, 0.0).mixed(x, points, [block[:2] for block in wide])
    assert not torch.equal(mixed[..., 0], points[..., 0])
    assert torch.equal(mixed[..., 1:], points[..., 1:])


def test_blocks_are_counted() -> None:
    with pytest.raises(InvalidParameterError, match="2 columns have 1 blocks"):
        Neighbourhood.of(torch.zeros(3, 2), [(0,), (1,)], [torch.zeros(3, 1)])
