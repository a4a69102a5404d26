from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import density_coverage, neighbours, precision_recall


def normal(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(real: Tensor, generated: Tensor, k: int) -> tuple[float, float, float, float]:
    """The four figures by loops over pairs."""

    def radius(rows: Tensor, i: int) -> float:
        return sorted(float((rows[i] - other).norm()) for j, other in enumerate(rows) if j != i)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    radii = [radius(generated, j) for j in range(len(generated))]
    distance = np.array([[float((x - y).norm()) for x in real] for y in generated])
    in_real = distance <= np.array(real_radii)
    in_generated = distance <= np.array(radii)[:, None]
    return in_real.any(1).mean(), in_generated.any(0).mean(), in_real.sum(1).mean() / k, in_real.any(0).mean()


@pytest.mark.parametrize("k", [1, 3])
def test_figures_agree_with_loops_over_pairs_in_blocks_of_any_size(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = normal(30, 3, 0), normal(23, 3, 1) * 1.3 + 0.4
    expected = by_hand(real, generated, k)
    for block in (1, 100, 10**6):
        monkeypatch.setattr(neighbours, "_BLOCK", block)
        first, second = (
            precision_recall(real, generated, n_neighbours=k),
            density_coverage(real, generated, n_neighbours=k),
        )
        found = (first.precision, first.recall, second.density, second.coverage)
        assert found == pytest.approx(expected, abs=1e-12)


def test_two_sets_of_one_distribution_have_the_known_expectations() -> None:
    result = density_coverage(normal(1500, 4, 0), normal(1000, 4, 1))
    assert result.density == pytest.approx(1.0, abs=0.06)
    assert result.coverage == pytest.approx(result.expected_coverage, abs=0.02)
    equal = density_coverage(normal(400, 4, 0), normal(400, 4, 1))
    assert equal.expected_coverage == pytest.approx(1 - 2**-5, abs=0.003)


def test_copies_lie_within_and_a_lost_mode_costs_recall_alone() -> None:
    real = torch.cat((normal(100, 2, 0), normal(100, 2, 1) + 50.0))
    copies = precision_recall(real, real)
    assert (copies.precision, copies.recall) == (1.0, 1.0)
    assert density_coverage(real, real).coverage == 1.0
    half = precision_recall(real, normal(200, 2, 2))
    assert half.precision > 0.85
    assert half.recall < 0.55
    assert density_coverage(real, normal(200, 2, 2)).coverage == pytest.approx(0.5, abs=0.05)
    far = precision_recall(real, real + 500.0)
    assert (far.precision, far.recall) == (0.0, 0.0)


def test_an_outlier_spoils_precision_but_not_density() -> None:
    real = torch.cat((normal(200, 2, 0), torch.tensor([[40.0, 40.0]])))
    off = normal(200, 2, 1) * 0.5 + 15.0  # between the rows and the outlier, where no real row is
    assert precision_recall(real, off).precision > 0.9
    assert density_coverage(real, off).density < 0.3
    assert density_coverage(real, off).coverage < 0.01


def test_arrays_and_tensors_of_any_dtype_give_the_same() -> None:
    real, generated = (normal(40, 2, seed).float() for seed in (0, 1))
    assert precision_recall(real, generated) == precision_recall(real.numpy(), generated.numpy())
    binary = (real > 0).to(torch.uint8)
    assert precision_recall(binary, binary.bool()).precision == 1.0


def test_what_it_was_computed_with_is_said() -> None:
    rows = normal(1200, 2, 0)
    for result in (precision_recall(rows, rows[:40]), density_coverage(rows, rows[:40], n_neighbours=3)):
        assert result.computed_with == "3 nearest neighbours, 1,200 real and 40 generated rows"


@pytest.mark.parametrize("metric", [precision_recall, density_coverage])
def test_wrong_input_is_named(metric) -> None:
    rows = normal(10, 2, 0)
    with pytest.raises(InvalidParameterError, match=r"real must be an array of shape \(n, features\) with at least 6"):
        metric(rows[:5], rows, n_neighbours=5)
    with pytest.raises(InvalidParameterError, match="generated must be .* got shape"):
        metric(rows, rows[:, 0])
    with pytest.raises(InvalidParameterError, match="real and generated must be equally wide"):
        metric(rows, rows[:, :1])
    with pytest.raises(InvalidParameterError, match="n_neighbours must be an integer of at least 1"):
        metric(rows, rows, n_neighbours=0)
    with pytest.raises(InvalidParameterError, match="generated must be finite"):
        metric(rows, rows * torch.nan)
    with pytest.raises(InvalidParameterError, match="real must be a tensor or an array of numbers; got list"):
        metric([[1.0]], rows)
    with pytest.raises(InvalidParameterError, match="got an array of <U1"):
        metric(np.array([["a"]]), rows)


def test_the_expected_coverage_and_the_edge_of_a_ball_in_closed_form() -> None:
    real = torch.tensor([[0.0], [1.0]]).double()
    result = density_coverage(real, torch.tensor([[2.0], [-1.0]]).double(), n_neighbours=1)
    assert (result.density, result.coverage) == (1.0, 1.0)  # on the edge is inside
    assert result.expected_coverage == pytest.approx(2 / 3)  # of three others, the nearest is generated
    outside = torch.tensor([[2.01], [-1.01]]).double()
    assert density_coverage(real, outside, n_neighbours=1).density == 0.0
    assert precision_recall(real, outside, n_neighbours=1).precision == 0.0
