from __future__ import annotations

import pytest
import torch

from latentkit.evaluation import neighbours
from latentkit.evaluation.neighbours import kth_neighbour_distances, squared_distance_blocks


@pytest.mark.parametrize("block", [1, 60, 10**6])
def test_distances_are_those_of_cdist(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 5, generator=source, dtype=torch.float64) for n in (17, 29))
    exact = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    blocks = list(squared_distance_blocks(a, b))
    torch.testing.assert_close(torch.cat([part for _, part in blocks]).sqrt(), exact)
    assert [rows.start for rows, _ in blocks] == list(range(0, 17, max(1, block // 29)))
    torch.testing.assert_close(kth_neighbour_distances(a, b, k=4).sqrt(), exact.sort(1).values[:, 3])
    own = torch.cdist(a, a, compute_mode="donot_use_mm_for_euclid_dist").sort(1).values[:, 2]
    torch.testing.assert_close(kth_neighbour_distances(a, a, k=2, skip_self=True).sqrt(), own)


def test_integers_are_exact_and_nothing_is_negative() -> None:
    rows = torch.randint(0, 256, (50, 784), generator=torch.Generator().manual_seed(0)).double()
    (_, block), *_ = squared_distance_blocks(rows, rows)
    assert torch.equal(block.diagonal(), torch.zeros(50).double())
    shifted = torch.full((3, 4), 1e8, dtype=torch.float64) + torch.rand(3, 4, dtype=torch.float64)
    assert all(float(part.min()) >= 0 for _, part in squared_distance_blocks(shifted, shifted))
