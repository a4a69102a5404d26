"""Rows that are near, against all distances; equal rows, gradients, places in a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from latentkit.core.seeds import generator
from latentkit.tasks.detection.near import RowIndex


def drawn(*shape: int, name: str = "x") -> Tensor:
    return torch.randn(shape, generator=generator(0, name))


def distances(x: Tensor, rows: Tensor, own: Tensor) -> np.ndarray:
    found = cdist(x.double().numpy(), rows.double().numpy())
    found[own >= 0, own[own >= 0]] = np.inf
    return found


@pytest.mark.parametrize("n", [2, 16, 37, 100, 1000])
@pytest.mark.parametrize("k", [1, 5])
def test_near_rows_are_those_of_all_distances(n: int, k: int) -> None:
    k = min(k, n - 1)
    rows = drawn(n, 4)
    x = torch.cat([drawn(300, 4, name="new"), rows[:2]])
    own = torch.cat([torch.full((300,), -1), torch.arange(2)])
    index = RowIndex(rows)
    everything = distances(x, rows, own)
    found, places = index.nearest(x, own, k)
    assert np.array_equal(places.numpy(), np.argsort(everything, 1)[:, :k])
    np.testing.assert_allclose(found.numpy(), np.sort(everything, 1)[:, :k], rtol=1e-5)
    mean = index.mean_distance(x, own, k)
    np.testing.assert_allclose(mean.numpy(), np.sort(everything, 1)[:, :k].mean(1), rtol=1e-4, atol=1e-3)
    density = index.log_density(x, own)
    np.testing.assert_allclose(density.numpy(), np.log(np.exp(-0.5 * everything**2).sum(1)), rtol=1e-4, atol=1e-4)
    assert len(index) == n


def test_each_member_has_rows_of_its_own() -> None:
    rows, x, own = drawn(3, 50, 4), drawn(3, 9, 4, name="new"), torch.arange(9)
    index = RowIndex(rows)
    for m in range(3):
        expected = np.sort(distances(x[m], rows[m], own), 1)[:, :5].mean(1)
        np.testing.assert_allclose(index.mean_distance(x, own, 5)[m].numpy(), expected, rtol=1e-4)
        alone = RowIndex(rows[m]).log_density(x[m], own)
        torch.testing.assert_close(index.log_density(x, own)[m], alone)


def test_gradients_are_those_of_the_distances() -> None:
    rows, own = drawn(30, 4), torch.tensor([3, -1, -1])
    x = drawn(3, 4, name="new").requires_grad_()
    index = RowIndex(rows)
    mean = index.mean_distance(x, own, 5)
    torch.testing.assert_close(mean.detach(), index.mean_distance(x.detach(), own, 5))
    for found, expected in (
        (mean, lambda d: d.topk(5, largest=False).values.mean(-1)),
        (index.log_density(x, own), lambda d: (-0.5 * d.square()).logsumexp(-1)),
    ):
        gaps = (x[:, None] - rows).square().sum(-1).sqrt()
        gaps = gaps.masked_fill(torch.nn.functional.one_hot(own.clamp_min(0), 30).bool() & (own >= 0)[:, None], 1e9)
        (ours,) = torch.autograd.grad(found.sum(), x)
        (theirs,) = torch.autograd.grad(expected(gaps).sum(), x)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("n", "width"), [(3, 4), (7, 9), (13, 64), (37, 5), (48, 1), (101, 33)])
@torch.no_grad()
def test_the_place_in_a_batch_does_not_matter_bit_for_bit(n: int, width: int) -> None:
    index, x, own = RowIndex(drawn(n, width)), drawn(41, width, name="new"), torch.full((41,), -1)
    order = torch.randperm(41, generator=generator(0, "order"))
    assert torch.equal(index.nearest(x[order], own, 3)[0], index.nearest(x, own, 3)[0][order])
    assert torch.equal(index.mean_distance(x[order], own, 3), index.mean_distance(x, own, 3)[order])
    assert torch.equal(index.log_density(x[order], own), index.log_density(x, own)[order])


def test_what_is_unknown_is_no_distance() -> None:
    """Those over the known numbers, as if they spoke for all; among more rows than are looked up at once."""
    rows, x, own = drawn(900, 4), drawn(150, 4, name="new"), torch.full((150,), -1)
    known = (torch.arange(150)[:, None] % 5 != torch.arange(4)).float()
    found, _ = RowIndex(rows).nearest(x * known, own, 5, known)
    for row in (0, 1, 4, 149):
        here = known[row] > 0
        expected = np.sort(distances(x[row : row + 1, here], rows[:, here], own[:1]), 1)[0, :5]
        np.testing.assert_allclose(found[row].numpy(), expected * (4 / here.sum().item()) ** 0.5, rtol=1e-5)


def test_a_lonely_row_is_compared_with_itself() -> None:
    rows = drawn(1, 4)
    found, places = RowIndex(rows).nearest(rows, torch.tensor([0]), 1)
    assert places.tolist() == [[0]]
    assert float(found) < 1e-9
