from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from latentkit.evaluation import column_shapes
from latentkit.evaluation.column_shapes import total_variation
from tests.evaluation.mixed_rows import renamed, rows, shuffled, table

NUMBER = [False]


def numbers(values) -> object:
    return table(np.asarray(values, float)[:, None], NUMBER)


def test_numbers_have_the_distance_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for scale in (1, 5):
        a, b = np.round(scale * rng.normal(size=300)), np.round(scale * rng.normal(0.3, 1.2, size=200))
        assert column_shapes(numbers(a), numbers(b)).distances["age"] == pytest.approx(ks_2samp(a, b).statistic)


def test_large_codes_cost_no_memory() -> None:
    a, b = np.array([0, 10**15, 10**15]), np.array([0, 0, 7])
    assert total_variation(a, b) == pytest.approx(2 / 3)


def test_categories_have_half_the_sum_of_differences() -> None:
    real = table([[0.0], [0.0], [1.0], [np.nan]], [True])
    synthetic = table([[0.0], [7.0], [np.nan], [np.nan]], [True])
    assert column_shapes(real, synthetic).distances == {"age": 0.5}


@pytest.mark.parametrize(
    ("real", "synthetic", "distance"),
    [
        ([1, 2, 3, np.nan], [1, 2, 3, 3], 0.25),
        ([np.nan, np.nan, 3, 4], [1, 2, 3, 4], 0.5),
        ([np.nan, np.nan], [1, 2], 1.0),
        ([np.nan, np.nan], [np.nan, np.nan], 0.0),
        # the lower half is missing: seen from above nothing else changed, seen from below all
        ([1, 2, 3, 4], [np.nan, np.nan, 3, 4], 0.5),
        ([1, 2, 3, 4], [np.nan, 1, 1, 1], 0.75),
    ],
)
def test_missing_numbers_count(real, synthetic, distance) -> None:
    assert column_shapes(numbers(real), numbers(synthetic)).distances["age"] == distance
    assert column_shapes(numbers(synthetic), numbers(real)).distances["age"] == distance


cells = st.lists(st.one_of(st.integers(0, 4).map(float), st.just(float("nan"))), min_size=1, max_size=12)


@given(cells, cells, st.booleans())
def test_a_distance_lies_between_that_of_missing_cells_and_total_variation(a, b, kind) -> None:
    one, other = (table(np.array(x)[:, None], [kind]) for x in (a, b))
    distance = column_shapes(one, other).distances["age"]
    assert distance == column_shapes(other, one).distances["age"]
    shares = [np.isnan(x).mean() for x in (a, b)]
    variation = column_shapes(*(table(x.values, [True]) for x in (one, other))).distances["age"]
    assert abs(shares[0] - shares[1]) - 1e-12 <= distance <= variation + 1e-12
    assert column_shapes(one, one).distances["age"] == 0.0


def test_order_and_names_of_categories_do_not_matter() -> None:
    real, synthetic = rows(200, 0), rows(150, 1, shift=0.5)
    result = column_shapes(real, synthetic)
    assert column_shapes(real, shuffled(synthetic)) == result
    assert column_shapes(renamed(real), renamed(synthetic)) == result
    assert result.error_percent == pytest.approx(100 * np.mean(list(result.distances.values())))
    assert result.score == pytest.approx(1 - np.mean(list(result.distances.values())))
    assert result.computed_with == (
        "Kolmogorov-Smirnov and total variation distances of 4 columns, 200 real and 150 synthetic rows"
    )
    assert column_shapes(real, shuffled(real)).error_percent == 0.0
