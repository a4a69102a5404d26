"""Figures of synthetic tables beside their floors: every registered metric gets the same examination."""

from __future__ import annotations

import itertools
import math

import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import column_shapes, measure_table, table_metrics, table_privacy_figures
from tests.evaluation.mixed_rows import rows, shuffled
from tests.evaluation.test_reports import is_worse

PRIVACY = [
    "share nearer to training rows",
    "membership AUC",
    "share of repeated rows",
    "share of repeated rows, columns of many values apart",
    "share of repeated values",
]


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        pytest.param(name, floor, marks=pytest.mark.slow if name == "two-sample" else [])
        for name, floor in itertools.product(table_metrics, ("test", "bootstrap"))
    ],
)
def test_a_table_metric_ranks_bad_rows_below_good_ones(name, floor) -> None:
    given = {"train": rows(400, 0), "test": rows(400, 1), "metrics": [name], "floor": floor}
    good = measure_table(rows(400, 2), **given)
    bad = measure_table(rows(400, 3, shift=1.0), **given)
    assert [figure.name for figure in good[-5:]] == PRIVACY
    assert len(good) > 5
    for fine, poor in zip(good[:-5], bad[:-5], strict=True):
        assert is_worse(poor, fine.value)
        assert poor.floor == fine.floor
        assert "400 real and 400 " in poor.computed_with
        assert poor.floor_of == (
            "400 test rows in place of the synthetic ones"
            if floor == "test"
            else "400 training rows drawn with replacement"
        )
        assert all(map(math.isfinite, (fine.value, fine.floor)))
    assert measure_table(rows(400, 2), **given) == good


def test_shuffled_columns_have_perfect_shapes_and_bad_trends() -> None:
    train, test = rows(400, 0), rows(400, 1)
    shapes, *trends = measure_table(
        shuffled(train), train=train, test=test, metrics=["column-shapes", "pair-trends"], floor="test"
    )
    assert (shapes.name, shapes.value) == ("column shape error, %", 0.0)
    assert shapes.floor > 1.0
    assert [figure.name for figure in trends[:3]] == [
        f"pair trend error, %, rule {rule}" for rule in ("equal_width", "own_width", "associated")
    ]
    assert all(figure.value > 1.5 * figure.floor for figure in trends[:3])


def test_the_floor_is_that_of_test_rows_or_of_repeated_training_rows() -> None:
    train, other = rows(300, 0), rows(300, 1, shift=1.0)
    given = {"train": train, "test": other, "metrics": ["column-shapes"]}
    by_test, *_ = measure_table(train, floor="test", **given)
    by_bootstrap, *_ = measure_table(train, floor="bootstrap", **given)
    assert by_test.floor == pytest.approx(column_shapes(train, other).error_percent)
    assert 0.0 < by_bootstrap.floor < 8.0 < by_test.floor


def test_learners_stand_beside_what_real_rows_teach() -> None:
    train, test, new = rows(200, 0), rows(200, 1), rows(200, 2)
    given = {"train": train, "test": test, "metrics": [], "learners": ["linear"]}
    (figure, *_) = measure_table(new, target="job", **given)
    assert (figure.name, figure.better, figure.floor_of) == (
        "AUC trained on synthetic, linear",
        "higher",
        "trained on real rows",
    )
    assert figure.value == pytest.approx(figure.floor, abs=0.1)
    numbers = measure_table(new, target="pay", **given)
    assert [figure.better for figure in numbers[:2]] == ["higher", "lower"]
    assert len(measure_table(new, **given)) == 5


def test_copies_are_seen_beside_any_quality() -> None:
    train, test = rows(300, 0), rows(300, 1)
    copies = {figure.name: figure for figure in table_privacy_figures(train, test, train)}
    fresh = {figure.name: figure for figure in table_privacy_figures(train, test, rows(300, 2))}
    assert list(copies) == PRIVACY
    for name in PRIVACY:
        assert is_worse(copies[name], fresh[name].value) or "apart" in name  # jobs and towns alone: all rows repeat
        assert copies[name].floor == fresh[name].floor
        error = 4 * fresh[name].standard_error if fresh[name].standard_error else 0.05
        assert abs(fresh[name].value - fresh[name].floor) < error


def test_wrong_input_is_named() -> None:
    given = rows(20, 0)
    with pytest.raises(InvalidParameterError, match="floor must be one of: test, bootstrap"):
        measure_table(given, train=given, test=given, floor="train")
    with pytest.raises(InvalidParameterError, match="unknown table metric 'shapes'"):
        measure_table(given, train=given, test=given, metrics=["shapes"])
    with pytest.raises(InvalidParameterError, match="synthetic must have at least 10 rows"):
        measure_table(rows(5, 0), train=given, test=given)
    with pytest.raises(InvalidParameterError, match="max_rows must be an integer of at least 10"):
        measure_table(given, train=given, test=given, max_rows=5)
