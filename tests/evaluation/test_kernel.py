from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import kernel_distance


def normal(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(x: Tensor, y: Tensor) -> float:
    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    within = [sum(k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j) for s in (x, y)]
    across = sum(k(a, b) for a in x for b in y)
    m, n = len(x), len(y)
    return within[0] / (m * (m - 1)) + within[1] / (n * (n - 1)) - 2 * across / (m * n)


def test_subsets_average_the_definition() -> None:
    x, y = normal(1, 3, 0).expand(8, 3), normal(7, 3, 1)
    # the rows of x are all alike and the subsets of y are pairs: every split of y into 4, 3 rows has its own value
    result = kernel_distance(x, y[:4], n_subsets=2)
    pairings = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    possible = [sum(by_hand(x[:4], y[list(pair)]) for pair in pairing) / 2 for pairing in pairings]
    assert min(abs(result.value - value) for value in possible) < 1e-12


def test_it_is_unbiased_and_the_error_is_honest() -> None:
    results = [kernel_distance(normal(80, 4, 2 * i), normal(60, 4, 2 * i + 1)) for i in range(150)]
    values = torch.tensor([result.value for result in results], dtype=torch.float64)
    claimed = torch.tensor([result.standard_error for result in results], dtype=torch.float64)
    assert abs(float(values.mean())) < 3 * float(values.std()) / math.sqrt(150)
    assert float(claimed.square().mean().sqrt() / values.std()) == pytest.approx(1.0, abs=0.2)
    assert (values < 0).any()


def test_closed_form_of_two_normals() -> None:
    # d = 1: E k(x, x') - 2 E k(x, y) + E k(y, y') = 3 s^2 + 3 s^4 + s^6 with y shifted by s
    # sums of 3 m m' + 3 E[x^2] E[x'^2] + E[x^3] E[x'^3] over the moments of N(0, 1) and N(s, 1)
    s = 0.7
    moments = [(0.0, 1.0, 0.0), (s, 1 + s**2, s**3 + 3 * s)]
    kernel = [[1 + 3 * a[0] * b[0] + 3 * a[1] * b[1] + a[2] * b[2] for a in moments] for b in moments]
    expected = kernel[0][0] + kernel[1][1] - 2 * kernel[0][1]
    result = kernel_distance(normal(20_000, 1, 0), normal(20_000, 1, 1) + s)
    assert abs(result.value - expected) < 4 * result.standard_error
    assert result.standard_error < 0.1 * expected


def test_subsets_are_small_and_the_seed_decides_them() -> None:
    x, y = normal(2500, 2, 0), normal(40, 2, 1)
    assert kernel_distance(x, y).n_subsets == 10
    assert kernel_distance(x[:9], y).n_subsets == 4
    assert kernel_distance(x.repeat(5, 1), x).n_subsets == 13
    assert kernel_distance(x, y, seed=1) == kernel_distance(x, y, seed=1)
    assert kernel_distance(x, y, seed=1).value != kernel_distance(x, y, seed=2).value
    assert kernel_distance(x, y).computed_with == (
        "cubic polynomial kernel, 10 disjoint subsets, 2,500 real and 40 generated rows"
    )


def test_wrong_input_is_named() -> None:
    x = normal(10, 2, 0)
    with pytest.raises(InvalidParameterError, match="at least 4 rows"):
        kernel_distance(x[:3], x)
    with pytest.raises(InvalidParameterError, match="n_subsets must be an integer of at least 2"):
        kernel_distance(x, x, n_subsets=1)
    with pytest.raises(InvalidParameterError, match="n_subsets can be at most 4 for sets of 10 and 8 rows; got 5"):
        kernel_distance(x, x[:8], n_subsets=5)
