from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats.contingency import association, crosstab

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import pair_associations, pair_trends
from latentkit.evaluation.pair_trends import cramers_v
from tests.evaluation.mixed_rows import renamed, rows, shuffled, table

RULES = ("equal_width", "own_width", "associated")


def test_two_categories_have_half_the_sum_of_differences_of_their_cells() -> None:
    real = table([[0, 0], [0, 1], [1, 1], [np.nan, 1]], [True, True])
    synthetic = table([[0, 0], [0, 0], [1, 1], [2, 1]], [True, True])
    # cells 00 01 11 -1 21: real 1 1 1 1 0, synthetic 2 0 1 0 1
    assert pair_trends(real, synthetic).differences[0, 1] == (1 + 1 + 0 + 1 + 1) / 4 / 2


def test_two_numbers_have_half_the_difference_of_their_correlations() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 2)), rng.normal(size=(60, 2)) @ [[1, 1], [0, 1]]
    expected = abs(np.corrcoef(a.T)[0, 1] - np.corrcoef(b.T)[0, 1]) / 2
    assert pair_trends(table(a, [False] * 2), table(b, [False] * 2)).differences[0, 1] == pytest.approx(expected)
    a = np.concatenate((a, [[np.nan, 9.0], [9.0, np.nan]]))
    assert pair_trends(table(a, [False] * 2), table(b, [False] * 2)).differences[0, 1] == pytest.approx(expected)


def test_bins_are_those_of_the_real_range_or_of_each_table() -> None:
    kinds = [False, True]
    real = table([[0, 0], [10, 0], [4, 1], [4, 1], [np.nan, 1]], kinds)
    synthetic = table([[-5, 0], [50, 0], [4.5, 1], [4.5, 1], [np.nan, 1]], kinds)
    # outside the real range: the outer bins
    assert pair_trends(real, synthetic).differences[0, 1] == 0.0
    # over its own range, 4.5 stands in the second bin of the synthetic rows, not in the fifth
    assert pair_trends(real, synthetic, rule="own_width").differences[0, 1] == 0.4
    # the largest value has a bin to itself
    ends = [table([[0, 0], [10, 0], [x, 1]], kinds) for x in (9.9, 10)]
    assert pair_trends(*ends).differences[0, 1] == 0.0
    assert pair_trends(*ends, rule="own_width").differences[0, 1] == pytest.approx(1 / 3)


def test_only_pairs_that_hang_together_count_if_asked() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.normal(size=300)
    job = rng.integers(0, 3, 300)
    values = np.column_stack((a, a + 0.5 * b, b, job, job, rng.integers(0, 3, 300)))
    real = table(values, [False] * 3 + [True] * 3, tuple("abcdef"))
    synthetic = table(rng.permuted(values, axis=0), real.is_categorical, real.names)
    result = pair_trends(real, synthetic, rule="associated")
    kept = [(i, j) for i, j in itertools.combinations(range(6), 2) if not math.isnan(result.differences[i, j])]
    assert kept == [(0, 1), (3, 4)]
    assert result.n_pairs == 2
    assert result.error_percent == pytest.approx(100 * np.mean([result.differences[pair] for pair in kept]))
    assert "2 of 15 pairs, 300 real and 300 synthetic rows" in result.computed_with
    none = pair_trends(synthetic, real, rule="associated")
    assert none.n_pairs == 0
    assert math.isnan(none.error_percent)


@pytest.mark.parametrize("rule", RULES)
def test_order_and_names_of_categories_do_not_matter(rule) -> None:
    real, synthetic = rows(300, 0), rows(250, 1, shift=0.4)
    result = pair_trends(real, synthetic, rule=rule)
    assert result.error_percent > 1
    again = pair_trends(real, synthetic.take(np.random.default_rng(0).permutation(250)), rule=rule)
    np.testing.assert_allclose(again.differences, result.differences, atol=1e-12)
    again = pair_trends(renamed(real), renamed(synthetic), rule=rule)
    np.testing.assert_allclose(again.differences, result.differences, atol=1e-12)
    np.testing.assert_array_equal(result.differences, result.differences.T)
    assert np.isnan(np.diag(result.differences)).all()
    assert pair_trends(real, real, rule=rule).error_percent == 0.0
    assert pair_trends(real, shuffled(real), rule=rule).error_percent > 2
    assert result.score == pytest.approx(1 - result.error_percent / 100)
    assert f"rule {rule}" in result.computed_with


def test_the_rule_over_all_pairs_is_symmetric_in_one_range() -> None:
    real, synthetic = rows(300, 0), shuffled(rows(300, 0))
    one, other = pair_trends(real, synthetic), pair_trends(synthetic, real)
    np.testing.assert_allclose(one.differences, other.differences)


def test_columns_without_spread_correlate_with_nothing() -> None:
    line = table([[0.1, 1.0], [0.2, 2.0], [0.3, 3.0]], [False] * 2)
    flat = table([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]], [False] * 2)
    holes = table([[np.nan, 1.0], [0.1, np.nan], [np.nan, np.nan]], [False] * 2)
    huge = table(line.values * [1e200, 1e-200], [False] * 2)
    assert pair_trends(line, flat).error_percent == pytest.approx(50.0)
    assert pair_trends(flat, holes).error_percent == 0.0
    assert pair_trends(line, huge).error_percent == pytest.approx(0.0, abs=1e-9)
    with_category = table([[np.nan, 1.0], [np.nan, 0.0]], [False, True])
    assert pair_trends(with_category, with_category, rule="own_width").error_percent == 0.0


def test_the_association_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 5, 200) * 3
    b = (a // 3 + rng.integers(0, 3, 200)) % 4
    expected = association(crosstab(a, b).count, method="cramer")
    assert cramers_v(a, b) == pytest.approx(expected)
    assert cramers_v(a, np.zeros_like(a)) == 0.0


def test_associations_are_symmetric_and_see_what_correlation_does_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    given = table(np.column_stack((x, x**2, rng.integers(0, 4, 5000), x > 0)))
    result = pair_associations(given)
    np.testing.assert_array_equal(result, result.T)
    assert np.diag(result).tolist() == [1.0] * 4
    assert result[0, 1] > 0.5
    assert result[0, 3] == pytest.approx(1.0, abs=0.03)
    assert result[2].max() == 1.0
    assert np.delete(result[2], 2).max() < 0.06
    holes = given.values.copy()
    holes[x > 0, 2] = np.nan
    assert pair_associations(table(holes))[2, 3] == 1.0
    spikes = given.values.copy()
    spikes[:, 1] = np.where(x < 1.3, 0.0, 1000 * x)
    assert pair_associations(table(spikes))[0, 1] == pytest.approx(1.0, abs=0.05)
    spikes[:, 1] *= -1
    assert pair_associations(table(spikes))[0, 1] == pytest.approx(1.0, abs=0.05)
    few = pair_associations(given.take(np.arange(50)), like=given)
    assert few.shape == (4, 4)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(InvalidParameterError, match="rule must be one of: equal_width, own_width, associated"):
        pair_trends(rows(9, 0), rows(9, 1), rule="equal")
