from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import frechet_distance


def reference(a: np.ndarray, b: np.ndarray) -> float:
    covariance_a, covariance_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariance_a @ covariance_b)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariance_a + covariance_b - 2 * root.real))


@pytest.mark.parametrize("n", [50, 400])
def test_distance_agrees_with_the_matrix_square_root(n: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6))
    b = rng.normal(size=(n + 7, 6)) @ rng.normal(size=(6, 6)) + 0.3
    assert frechet_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(reference(a, b), rel=1e-6)


def test_distance_is_symmetric_and_zero_on_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(30, 8, generator=generator), torch.randn(20, 8, generator=generator) * 2
    assert frechet_distance(a, a) < 1e-12
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a, b) > 1


def test_fewer_rows_than_features() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 40, generator=generator), torch.randn(4, 40, generator=generator)
    value = frechet_distance(a, b)
    # the nuclear norm of the centred cross product, from the definition in the small space
    first, second = (a - a.mean(0)).double() / 2, (b - b.mean(0)).double() / 3**0.5
    overlap = torch.linalg.matrix_norm(first @ second.mT, ord="nuc")
    mean = (a.mean(0) - b.mean(0)).double().square().sum()
    assert value == pytest.approx(float(mean + first.square().sum() + second.square().sum() - 2 * overlap), rel=1e-5)


def test_wrong_input_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="equally wide"):
        frechet_distance(torch.zeros(3, 2), torch.zeros(3, 3))
    with pytest.raises(InvalidParameterError, match="at least 2 rows"):
        frechet_distance(torch.zeros(1, 2), torch.zeros(3, 2))
    with pytest.raises(InvalidParameterError, match="finite"):
        frechet_distance(torch.full((3, 2), torch.nan), torch.zeros(3, 2))
