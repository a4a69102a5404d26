"""What latent dimensions tell about labels and columns."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import latent_information, quantile_bins


def planted(n: int = 800, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Codes of three dimensions, of which the second carries the first of two factors; the other factor is noise."""
    random = np.random.default_rng(seed)
    factors = random.integers(0, 4, (n, 2))
    codes = random.normal(size=(n, 3))
    codes[:, 1] = factors[:, 0] + 0.1 * random.normal(size=n)
    return codes, factors


def test_a_planted_factor_is_found_by_the_dimension_that_carries_it() -> None:
    found = latent_information(*planted())
    assert found.is_above_floor[:, 0].tolist() == [False, True, False]
    assert found.told[:, 1].max() < 0.03
    assert found.told[1, 0] == pytest.approx(np.log(4), abs=0.25)


def test_information_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    codes, factors = planted(200)
    found = latent_information(codes, factors, n_bins=5)
    for dim in range(3):
        bins = quantile_bins(codes[:, dim], 5)
        for k in range(2):
            assert found.information[dim, k] == pytest.approx(mutual_info_score(factors[:, k], bins), abs=1e-5)


def test_what_is_independent_is_seldom_above_the_floor() -> None:
    above = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        found = latent_information(random.normal(size=(150, 8)), random.integers(0, 5, (150, 1)), seed=seed)
        above += bool(found.is_above_floor.any())
    assert above <= 4


def test_the_floor_follows_the_number_of_rows() -> None:
    few, many = (latent_information(*planted(n)).floor[1] for n in (100, 3000))
    assert few > 3 * many


def test_equal_seeds_give_equal_floors() -> None:
    a, b = (latent_information(*planted(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.floor, b.floor)


def test_bins_hold_equally_many_values_and_missing_is_one_of_its_own() -> None:
    values = np.concatenate([np.exp(np.random.default_rng(0).normal(size=1000)), [np.nan] * 10])
    counts = np.bincount(quantile_bins(values, 8))
    assert len(counts) == 9
    assert counts[-1] == 10
    assert np.ptp(counts[:8]) <= 1
    assert quantile_bins(np.array([5.0, 5.0, 5.0]), 4).tolist() == [0, 0, 0]
    assert set(quantile_bins(np.array([0.0] * 90 + [1.0] * 10), 4).tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros((19, 2)), np.zeros((19, 1), int), "at least 20 rows"),
        (np.zeros((20, 2)), np.zeros((21, 1), int), "the same 20 rows"),
        (np.zeros((20, 2)), np.zeros(20, int), "the same 20 rows"),
        (np.zeros((20, 2)), np.zeros((20, 1)), "must be integers"),
        (np.full((20, 2), np.nan), np.zeros((20, 1), int), "must be finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(codes: np.ndarray, factors: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        latent_information(codes, factors)
