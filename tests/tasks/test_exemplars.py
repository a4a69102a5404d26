"""Examples that stand for the data, and examples that these do not speak for."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.tasks import find_exemplars


def clusters(n: int = 40) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.cat([torch.randn(n, 2, generator=random), 8.0 + torch.randn(n, 2, generator=random)])


def discrepancy(z: torch.Tensor, rows: list[int], bandwidth: float) -> float:
    """MMD^2 as it is defined."""
    kernel = torch.exp(-0.5 * torch.cdist(z, z).square() / bandwidth**2).double()
    return float(kernel.mean() - 2 * kernel[:, rows].mean() + kernel[rows][:, rows].mean())


def test_prototypes_of_two_clusters_come_one_from_each() -> None:
    found = find_exemplars(clusters(), n_prototypes=2, n_criticisms=0)
    assert {row // 40 for row in found.prototypes} == {0, 1}
    assert found.criticisms == ()


def test_the_discrepancy_is_that_of_its_definition() -> None:
    z = clusters(12).double()
    found = find_exemplars(z, n_prototypes=5, n_criticisms=0, bandwidth=2.0)
    for size in range(1, 6):
        expected = discrepancy(z, list(found.prototypes[:size]), 2.0)
        assert found.discrepancy[size - 1] == pytest.approx(expected, abs=1e-9)


def test_each_prototype_is_the_best_that_is_left() -> None:
    z = clusters(6).double()
    found = find_exemplars(z, n_prototypes=2, n_criticisms=0, bandwidth=2.0)
    first = found.prototypes[0]
    values = {row: discrepancy(z, [first, row], 2.0) for row in range(12) if row != first}
    assert found.prototypes[1] == min(values, key=lambda row: values[row])


def test_an_outlier_is_a_criticism() -> None:
    z = torch.cat([clusters(), torch.tensor([[30.0, -30.0]])])
    found = find_exemplars(z, n_prototypes=4, n_criticisms=3)
    assert 80 in found.criticisms
    assert not set(found.prototypes) & set(found.criticisms)


def test_criticisms_are_the_best_of_all_where_they_can_be_counted() -> None:
    z = torch.randn(9, 1, generator=torch.Generator().manual_seed(1)).double()
    found = find_exemplars(z, n_prototypes=1, n_criticisms=2, bandwidth=0.5)
    kernel = torch.exp(-0.5 * torch.cdist(z, z).square() / 0.25)
    surprise = (kernel.mean(1) - kernel[:, list(found.prototypes)].mean(1)).abs()

    def value(rows: tuple[int, ...]) -> float:
        return float(surprise[list(rows)].sum() + torch.logdet(kernel[list(rows)][:, list(rows)]))

    left = [row for row in range(9) if row not in found.prototypes]
    first = max(left, key=lambda row: float(surprise[row]))
    best = max((pair for pair in combinations(left, 2) if first in pair), key=value)
    assert set(found.criticisms) == set(best)


def test_equal_rows_have_prototypes_all_the_same() -> None:
    found = find_exemplars(torch.zeros(6, 2), n_prototypes=2, n_criticisms=2)
    assert len({*found.prototypes, *found.criticisms}) == 4


@pytest.mark.parametrize(
    ("z", "options", "message"),
    [
        (torch.zeros(3, 2), {"n_prototypes": 3, "n_criticisms": 1}, "Ask for fewer"),
        (torch.zeros(3), {}, "rows of latent vectors"),
        (torch.full((30, 2), torch.nan), {}, "must be finite"),
        (torch.zeros(30, 2), {"bandwidth": 0.0}, "bandwidth must be"),
        (torch.zeros(30, 2), {"n_prototypes": 0}, "n_prototypes must be"),
    ],
)
def test_what_cannot_be_chosen_is_refused(z: torch.Tensor, options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        find_exemplars(z, **options)  # type: ignore[arg-type]
