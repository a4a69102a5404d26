from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import two_sample_auc
from latentkit.evaluation.two_sample import area_under_curve
from tests.evaluation.mixed_rows import rows, table


def test_area_is_the_share_of_ordered_pairs_and_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 6, 30).astype(float) + 1, rng.integers(0, 6, 20).astype(float)
    pairs = [(p > n) + 0.5 * (p == n) for p, n in itertools.product(positive, negative)]
    area, error = area_under_curve(positive, negative)
    assert area == pytest.approx(np.mean(pairs))
    assert area == pytest.approx(roc_auc_score([1] * 30 + [0] * 20, [*positive, *negative]))
    grid = np.array(pairs).reshape(30, 20)
    variance = grid.mean(1).var(ddof=1) / 30 + grid.mean(0).var(ddof=1) / 20
    assert error == pytest.approx(math.sqrt(variance))


def test_standard_error_is_the_spread_over_draws() -> None:
    rng = np.random.default_rng(0)
    results = np.array([area_under_curve(rng.normal(1, 1, 50), rng.normal(0, 1, 70)) for _ in range(500)])
    assert results[:, 0].mean() == pytest.approx(norm.cdf(1 / math.sqrt(2)), abs=0.01)
    assert results[:, 1].mean() / results[:, 0].std() == pytest.approx(1.0, abs=0.1)
    assert area_under_curve(np.array([1.0]), np.array([0.0, 2.0])) == (0.5, math.inf)


@pytest.mark.parametrize("classifier", ["linear", "boosting"])
def test_sets_of_one_distribution_cannot_be_told_apart(classifier) -> None:
    rng = np.random.default_rng(0)
    result = two_sample_auc(rng.normal(size=(400, 3)), rng.normal(size=(300, 3)), classifier=classifier)
    low, high = result.interval
    assert low < 0.5 < high
    assert 0.01 < result.standard_error < 0.04
    assert result.computed_with == f"{classifier} classifier, 5-fold cross-validation, 400 real and 300 generated rows"


def test_a_shift_is_told_as_well_as_it_can_be() -> None:
    rng = np.random.default_rng(0)
    result = two_sample_auc(rng.normal(size=(800, 1)), rng.normal(size=(800, 1)) + 1, classifier="linear")
    low, high = result.interval
    assert low < norm.cdf(1 / math.sqrt(2)) < high


def test_boosting_sees_dependence_that_a_line_does_not() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(500, 1)) @ np.ones((1, 2)) + 0.3 * rng.normal(size=(500, 2))
    mixed = np.column_stack((real[:, 0], rng.permutation(real[:, 1])))
    assert two_sample_auc(real, mixed, classifier="linear").auc < 0.57
    assert two_sample_auc(real, mixed).auc > 0.7
    apart = two_sample_auc(real, mixed + 100)
    assert apart.interval == (1.0, 1.0)


def test_the_seed_decides_the_folds() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 0.5
    assert two_sample_auc(a, b, seed=1) == two_sample_auc(a, b, seed=1)
    assert two_sample_auc(a, b, seed=1) != two_sample_auc(a, b, seed=2)


def test_wrong_input_is_named() -> None:
    rows = np.zeros((10, 2))
    with pytest.raises(InvalidParameterError, match="classifier must be one of: boosting, linear"):
        two_sample_auc(rows, rows, classifier="boost")
    with pytest.raises(InvalidParameterError, match="n_folds must be an integer of at least 2"):
        two_sample_auc(rows, rows, n_folds=1)
    with pytest.raises(InvalidParameterError, match="generated must be .* at least 5 rows"):
        two_sample_auc(rows, rows[:4])


@pytest.mark.parametrize("classifier", ["linear", "boosting"])
def test_mixed_tables_are_told_apart_by_categories_and_by_holes(classifier) -> None:
    real, fresh = rows(400, 0), rows(400, 1)
    same = two_sample_auc(real, fresh, classifier=classifier)
    assert same.interval[0] < 0.5 < same.interval[1]
    # codes 0 and 2 against 1 and 3: no order of the codes tells them apart
    rng = np.random.default_rng(0)
    even, odd = (table(2.0 * rng.integers(0, 2, (400, 1)) + k, [True]) for k in (0, 1))
    assert two_sample_auc(even, odd, classifier=classifier).auc == pytest.approx(1.0)
    whole = rows(400, 1, missing=0.0)
    assert two_sample_auc(real, whole, classifier=classifier).auc > 0.55


def test_the_codes_of_a_table_have_no_order() -> None:
    rng = np.random.default_rng(0)
    codes = rng.permutation(60)
    real, synthetic = (table(codes[30 * k + rng.integers(0, 30, (600, 1))], [True]) for k in (0, 1))
    as_category = two_sample_auc(real, synthetic, classifier="linear")
    as_number = two_sample_auc(real.values, synthetic.values, classifier="linear")
    assert as_category.auc > 0.99
    assert as_number.auc < 0.7


def test_arrays_and_tables_do_not_mix() -> None:
    given = rows(20, 0, missing=0.0)
    with pytest.raises(InvalidParameterError, match="both be mixed tables, or both be arrays"):
        two_sample_auc(given, given.values)
    with pytest.raises(InvalidParameterError, match="generated must have at least 5 rows"):
        two_sample_auc(given, rows(4, 0))
