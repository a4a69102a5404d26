"""Drift: found where it was put, and no more often than promised where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import measure_drift
from tests.evaluation.mixed_rows import rows, table


def test_false_alarms_are_as_rare_as_promised() -> None:
    alarms = [
        measure_drift(rows(120, seed), rows(90, 1000 + seed), false_alarm_rate=0.1).has_drifted for seed in range(300)
    ]
    assert np.mean(alarms) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 300)
    assert np.mean(alarms) > 0.02, "tests that never alarm find nothing"


@pytest.mark.parametrize("name", ["age", "pay", "job", "town"])
def test_the_column_that_has_changed_is_named(name) -> None:
    old, new = rows(400, 0), rows(300, 1)
    place = new.place(name)
    values = new.values.copy()
    values[:, place] = values[:, place] + 1 if new.is_categorical[place] else 1.5 * values[:, place]
    drift = measure_drift(old, table(values), false_alarm_rate=0.01)
    assert drift.has_drifted
    assert [column.name for column in drift.columns if column.has_drifted] == [name]
    assert drift.columns[0].name == name


def test_what_is_missing_is_a_drift_of_its_own() -> None:
    drift = measure_drift(rows(400, 0, missing=0.1), rows(400, 1, missing=0.4), false_alarm_rate=0.01)
    drifted = {column.name: column for column in drift.columns if column.has_drifted}
    assert set(drifted) == {"pay", "town"}
    assert drifted["pay"].missing == pytest.approx(0.3, abs=0.07)


def test_columns_that_no_longer_go_together_show_in_the_scores() -> None:
    old, new = rows(400, 0), rows(400, 1)
    rng = np.random.default_rng(2)
    apart = table(np.column_stack([rng.permutation(column) for column in new.values.T]))
    assert not measure_drift(old, apart).has_drifted
    scores = rng.normal(size=400), rng.normal(size=400) + 1
    drift = measure_drift(old, apart, scores=scores)
    assert drift.has_drifted
    assert drift.score_has_drifted
    assert drift.score_p_value == pytest.approx(ks_2samp(*scores).pvalue)
    same = measure_drift(old, new, scores=(scores[0], rng.normal(size=400)))
    assert (same.has_drifted, same.score_has_drifted) == (False, False)


def test_figures_by_hand() -> None:
    old = table([[0, 0]] * 30 + [[1, 1]] * 10, [False, True])
    new = table([[0, 0]] * 10 + [[2, 1]] * 25 + [[2, 2]], [False, True])
    number, kind = sorted(measure_drift(old, new).columns, key=lambda column: column.name)
    assert number.difference == pytest.approx(26 / 36)
    assert kind.difference == pytest.approx(0.5 * (abs(30 / 40 - 10 / 36) + abs(10 / 40 - 25 / 36) + 1 / 36))
    counts = [[30, 10, 0], [10, 25, 1]]
    assert kind.p_value == pytest.approx(2 * chi2_contingency(counts).pvalue)
    assert number.p_value == pytest.approx(2 * ks_2samp(old.values[:, 0], new.values[:, 0]).pvalue)


def test_empty_columns_do_not_differ() -> None:
    empty = table(np.full((5, 2), np.nan), [False, True])
    assert [column.p_value for column in measure_drift(empty, empty).columns] == [1.0, 1.0]
    full = table(np.ones((40, 2)), [False, True])
    assert measure_drift(table(np.full((40, 2), np.nan), [False, True]), full).has_drifted


def test_what_does_not_fit_is_refused() -> None:
    old = rows(9, 0)
    with pytest.raises(InvalidParameterError, match=r"shape \(9,\) and \(9,\); got \(9,\) and \(8,\)"):
        measure_drift(old, old, scores=(np.zeros(9), np.zeros(8)))
    with pytest.raises(InvalidParameterError, match="false_alarm_rate must be"):
        measure_drift(old, old, false_alarm_rate=0)
    with pytest.raises(InvalidParameterError, match="batch must have at least 2 rows"):
        measure_drift(old, old.take([0]))
