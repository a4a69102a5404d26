from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import closest_records, copied_cells, table_privacy_figures
from latentkit.evaluation.table_privacy import record_distances
from tests.evaluation.mixed_rows import KINDS, renamed, rows, table


def brute_force(x, y, reference):
    """Distances as they are defined, cell by cell; the values must occur in the reference."""
    total = np.zeros((len(x), len(y)))
    for place, kind in enumerate(KINDS):
        known = reference[:, place][~np.isnan(reference[:, place])]
        rank = dict(zip(known, (rankdata(known) - 0.5) / len(known), strict=True))
        for i, a in enumerate(x[:, place]):
            for j, b in enumerate(y[:, place]):
                if np.isnan(a) or np.isnan(b):
                    total[i, j] += np.isnan(a) != np.isnan(b)
                else:
                    total[i, j] += a != b if kind else abs(rank[a] - rank[b])
    return total


def test_figures_are_those_of_brute_force() -> None:
    train, held_out = rows(40, 0), rows(40, 1)
    held_out.values[0] = train.values[0]
    both = np.concatenate((train.values, held_out.values))
    # values of other rows, cell by cell, so that each has a rank
    rng = np.random.default_rng(0)
    mixed = np.column_stack([rng.choice(column, 68) for column in both.T])
    new = table(np.concatenate((mixed, both[[0, 7]])))
    result = closest_records(train, held_out, new)
    near, far = (brute_force(new.values, real.values, both) for real in (train, held_out))
    ties = np.isclose(near.min(1), far.min(1), atol=1e-5)
    wins = np.where(ties, 0.5, near.min(1) < far.min(1))
    assert ties.any()
    assert result.nearer_to_training == pytest.approx(wins.mean(), abs=1e-9)
    assert result.median_to_training == pytest.approx(np.median(near.min(1)), abs=1e-5)
    assert result.median_to_held_out == pytest.approx(np.median(far.min(1)), abs=1e-5)
    scores = -np.round(np.concatenate((near.min(0), far.min(0))), 5)
    assert result.membership_auc == pytest.approx(roc_auc_score([1] * 40 + [0] * 40, scores), abs=2e-3)
    assert (result.n_train, result.n_synthetic) == (40, 70)
    assert "40 training and as many held-out rows, 70 synthetic rows" in result.computed_with


def test_tiles_leave_no_row_out() -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.random((n, 3)).astype(np.float32)) for n in (150, 9000))
    to_b, places, to_a = record_distances(a, b)
    grid = torch.cdist(a, b, p=1.0)
    np.testing.assert_allclose(to_b, grid.min(1).values, atol=1e-5)
    np.testing.assert_array_equal(places, grid.min(1).indices)
    np.testing.assert_allclose(to_a, grid.min(0).values, atol=1e-5)


def test_exchangeable_rows_have_a_half_and_the_standard_error_of_it() -> None:
    """Over splits of the same rows, too, though the synthetic rows share their neighbours."""
    new, pool = rows(300, 5), rows(400, 6)
    shares, attacks = [], []
    for seed in range(60):
        order = np.random.default_rng(seed).permutation(400)
        result = closest_records(pool.take(order[:200]), pool.take(order[200:]), new)
        shares.append((result.nearer_to_training, result.standard_error))
        attacks.append((result.membership_auc, result.membership_standard_error))
    for found in (np.array(shares), np.array(attacks)):
        spread = found[:, 0].std()
        assert found[:, 0].mean() == pytest.approx(0.5, abs=3.5 * spread / np.sqrt(60))
        assert found[:, 1].mean() / spread == pytest.approx(1.0, abs=0.35)
    naive = 0.5 / np.sqrt(300)
    assert np.array(shares)[:, 1].mean() > 1.1 * naive


def test_copies_are_found_and_bad_rows_are_no_leak() -> None:
    train, held_out = rows(400, 0), rows(500, 1)
    copies = closest_records(train, held_out, train)
    assert copies.nearer_to_training > 0.9
    assert copies.membership_auc > 0.9
    assert copies.n_train == 400
    half = closest_records(train, held_out, table(np.concatenate((train.values[:200], rows(200, 2).values))))
    assert 0.6 < half.nearer_to_training < 0.85
    swapped = closest_records(held_out, train, train)
    assert swapped.nearer_to_training < 0.1
    far = closest_records(train, held_out, rows(400, 3, shift=5.0))
    assert abs(far.nearer_to_training - 0.5) < 4 * far.standard_error + 0.05


def test_units_order_and_names_do_not_matter() -> None:
    train, held_out, new = rows(100, 0), rows(100, 1), rows(80, 2)
    result = closest_records(train, held_out, new)

    def stretched(given):
        return table(np.column_stack((given.values[:, 0] * 1e6, given.values[:, 1:])))

    assert closest_records(*map(renamed, (train, held_out, new))) == result
    assert closest_records(*map(stretched, (train, held_out, new))).nearer_to_training == pytest.approx(
        result.nearer_to_training, abs=0.02
    )
    other = closest_records(train, held_out, new.take(np.arange(80)[::-1]))
    assert other.nearer_to_training == pytest.approx(result.nearer_to_training)
    assert closest_records(train, held_out, new, max_rows=50).n_synthetic == 50


def test_a_column_without_a_single_value_is_no_obstacle() -> None:
    empty = table(np.column_stack((np.full(10, np.nan), np.arange(10.0))), [False, False])
    assert closest_records(empty, empty, empty).nearer_to_training == 0.5
    filled = table(np.column_stack((np.arange(10.0), np.arange(10.0))), [False, False])
    assert closest_records(empty, empty, filled).median_to_training == 1.0


def test_repeated_rows_and_values_by_hand() -> None:
    kinds = [False, True, False]
    train = table([[0.1, 0, 7], [0.2, 1, 7], [np.nan, 1, 7], [0.4, 0, np.nan]], kinds)
    held_out = table([[0.1, 0, 7], [0.9, 1, 7]], kinds)
    new = table([[0.2, 1, 7], [np.nan, 1, 7], [-0.0, 0, np.nan], [0.4, 2, 7]], kinds)
    result = copied_cells(train, held_out, new)
    assert (result.rows, result.rows_floor) == (0.5, 0.5)
    # in both columns of numbers at least a tenth of the cells are distinct
    assert result.values == {"age": pytest.approx(2 / 3), "job": 1.0}
    assert result.values_floor == {"age": 0.5, "job": 1.0}
    assert (result.coarse_rows, result.coarse_rows_floor) == (0.75, 1.0)
    assert (
        "4 training rows, 2 held-out rows, 4 synthetic rows; columns of many values: age, job" in result.computed_with
    )
    zero = table([[0.0]], [False])
    assert copied_cells(zero, zero, table([[-0.0]], [False])).rows == 1.0


def test_rows_that_were_seen_are_repeated_no_more_often_than_others_of_a_small_table() -> None:
    every = np.array([[a, b, c] for a in range(6) for b in range(6) for c in range(6)], float)
    order = np.random.default_rng(0).permutation(len(every))
    train, held_out = table(every[order[:144]], [True] * 3), table(every[order[144:]], [True] * 3)
    fair = table(np.tile(every, (3, 1)), [True] * 3)
    assert copied_cells(train, held_out, fair).preference == 1.0
    assert copied_cells(train, held_out, fair).rows == pytest.approx(144 / 216)
    unfair = table(np.concatenate([fair.values, train.values, train.values, train.values]), [True] * 3)
    assert copied_cells(train, held_out, unfair).preference == 2.0
    shown = {figure.name: figure for figure in table_privacy_figures(train, held_out, unfair)}
    figure = shown["repeats of a training row over those of a held-out row"]
    assert (figure.value, figure.floor, figure.better) == (2.0, 1.0, "nearer to the floor")
    assert math.isnan(copied_cells(train, held_out, train).preference), "no held-out row is repeated"


def test_wrong_input_is_named() -> None:
    given = rows(9, 0)
    with pytest.raises(InvalidParameterError, match="max_rows must be an integer of at least 2"):
        closest_records(given, given, given, max_rows=1)
    with pytest.raises(InvalidParameterError, match="held_out must have at least 2 rows"):
        closest_records(given, given.take([0]), given)
    with pytest.raises(InvalidParameterError, match="train and synthetic must have the same columns"):
        copied_cells(given, given, given.without(KINDS))
