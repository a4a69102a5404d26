from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import MixedTable, mixed_tables
from latentkit.evaluation.mixed_table import check_tables, code_categories
from tests.evaluation.mixed_rows import KINDS, rows, table

COLUMNS = {"age": [31.5, None, 40.0], "job": ["clerk", None, ""], "code": [2, 1, 2], "is_new": [True, False, True]}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"])
def test_frames_of_every_library_become_the_same_codes(make) -> None:
    first, second = mixed_tables(
        make(COLUMNS),
        make({"age": [1.0], "job": ["baker"], "code": [7], "is_new": [False]}),
        categorical=["job", "code"],
    )
    np.testing.assert_array_equal(first.values, [[31.5, 2, 1, 1], [np.nan, np.nan, 0, 0], [40, 0, 1, 1]])
    np.testing.assert_array_equal(second.values, [[1, 1, 2, 0]])
    assert first.names == ("age", "job", "code", "is_new")
    assert first.is_categorical.tolist() == [False, True, True, False]
    assert first.categories == second.categories == {"job": ("", "baker", "clerk"), "code": ("1", "2", "7")}


def test_whole_numbers_have_one_name_in_columns_of_any_type() -> None:
    whole, with_holes = mixed_tables(
        pd.DataFrame({"code": [1, 2]}), pd.DataFrame({"code": [2, np.nan]}), categorical=["code"]
    )
    assert whole.values.ravel().tolist() == [0, 1]
    assert with_holes.categories == {"code": ("1", "2")}
    np.testing.assert_array_equal(with_holes.values.ravel(), [1, np.nan])


def test_rows_and_columns_are_taken_by_mask_and_by_seed() -> None:
    given = rows(50, 0)
    assert given.drawn(20, 1).n == 20
    np.testing.assert_array_equal(given.drawn(20, 1).values, given.drawn(20, 1).values)
    assert not np.array_equal(given.drawn(20, 1).values, given.drawn(20, 2).values)
    assert given.drawn(99, 1).n == 50
    assert given.without(KINDS).names == ("age", "pay")
    np.testing.assert_array_equal(given.without(KINDS).values, given.values[:, :2])


def test_missing_is_the_last_code() -> None:
    (first, second), n_codes = code_categories(np.array([1.0, np.nan]), np.array([np.nan]))
    assert (first.tolist(), second.tolist(), n_codes) == ([1, 2], [2], 3)
    (nothing,), n_codes = code_categories(np.array([np.nan]))
    assert (nothing.tolist(), n_codes) == ([0], 1)


def test_wrong_tables_are_named() -> None:
    with pytest.raises(InvalidParameterError, match=r"values of shape \(3,\)"):
        MixedTable(values=np.zeros(3), is_categorical=[False], names=["a"])
    with pytest.raises(InvalidParameterError, match="a name for each column"):
        MixedTable(values=np.zeros((3, 2)), is_categorical=[False, False], names=["a"])
    with pytest.raises(InvalidParameterError, match="names of columns must differ; got a, a"):
        MixedTable(values=np.zeros((3, 2)), is_categorical=[False, False], names=["a", "a"])
    with pytest.raises(InvalidParameterError, match="column 'age' holds infinity"):
        table([[np.inf, 1.0]], KINDS[:2])
    for code in (-1.0, 0.5):
        with pytest.raises(InvalidParameterError, match="column 'age' is categorical, so its cells must be codes"):
            table([[code]], [True])
    with pytest.raises(InvalidParameterError, match="no column 'ago'; the columns are: age, pay, job, town"):
        rows(5, 0).column("ago")
    with pytest.raises(InvalidParameterError, match="synthetic must be a MixedTable; got ndarray"):
        check_tables(real=rows(5, 0), synthetic=np.zeros((5, 4)))
    with pytest.raises(InvalidParameterError, match="synthetic must have at least 6 rows; got 5"):
        check_tables(6, real=rows(6, 0), synthetic=rows(5, 0))
    with pytest.raises(InvalidParameterError, match=r"real and synthetic must have the same columns.*age \(category\)"):
        check_tables(real=table([[1.0]], [True]), synthetic=table([[1.0]], [False]))


def test_wrong_frames_are_named() -> None:
    frame = pd.DataFrame(COLUMNS)
    with pytest.raises(InvalidParameterError, match="column 'job' holds String; name it in categorical"):
        mixed_tables(frame, categorical=[])
    with pytest.raises(InvalidParameterError, match="each table must have the column 'job'; one has: age"):
        mixed_tables(frame, frame[["age"]], categorical=["job"])
    with pytest.raises(InvalidParameterError, match="each table must have the column 'jobs'"):
        mixed_tables(frame, categorical=["job", "jobs"])
