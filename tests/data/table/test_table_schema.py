"""Tables of mixed kinds there and back: containers, kinds, missing cells, conditions, and what is refused."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from latentkit.core.errors import DamagedRunError, DataError, InvalidParameterError, SchemaMismatchError
from latentkit.data import TableSchema, learn_schema, learn_table_schema, schema_from_description
from latentkit.data.table.recognition import KINDS

N = 300
RNG = np.random.default_rng(0)


def people(n=N):
    sex = RNG.choice(["f", "m"], n).astype(object)
    sex[::7] = None
    return pd.DataFrame(
        {
            "age": RNG.integers(18, 90, n),
            "income": np.where(RNG.random(n) < 0.2, np.nan, RNG.gamma(2, 1000, n).round(2)),
            "sex": sex,
            "town": pd.Categorical(RNG.choice(["Ulm", "Bonn", "Köln"], n), ["Ulm", "Köln", "Bonn", "Trier"]),
            "size": pd.Categorical(RNG.choice(["S", "M", "L"], n), ["S", "M", "L"], ordered=True),
            "member": RNG.random(n) < 0.5,
            "visits": pd.array([None if x > 8 else x for x in RNG.poisson(5, n)], "Int16"),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 900, n), "D"),
            "country": ["DE"] * n,
            "id": np.arange(n) + 1000,
            "remark": [f"said {i} things about {i % 7} topics" for i in range(n)],
            "nothing": np.full(n, np.nan),
            "score": RNG.normal(size=n).astype(np.float32),
        }
    )


FRAME = people()
LEFT_OUT = ["id", "remark"]


def as_library(library):
    if library == "pandas":
        return FRAME
    if library == "polars":
        return pl.from_pandas(FRAME)
    return pa.Table.from_pandas(FRAME, preserve_index=False)


def plain(frame):
    frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    return frame.drop(columns=LEFT_OUT)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_frame_comes_back_with_its_types(library):
    data = as_library(library)
    schema = learn_table_schema(data)
    back = schema.decode(schema.encode(data))
    assert type(back) is type(data)
    if library == "polars":
        assert back.schema == data.schema
    elif library == "pandas":
        assert list(back.dtypes) == list(data.dtypes)
    else:
        assert back.column_names == data.column_names
    left, right = plain(back), plain(data)
    numbers = ["age", "income", "visits", "score"]
    pd.testing.assert_frame_equal(
        left.drop(columns=numbers),
        right.drop(columns=numbers),
        check_dtype=False,
        check_categorical=library == "pandas",
    )
    for name in numbers:
        a, b = left[name].to_numpy("float64", na_value=np.nan), right[name].to_numpy("float64", na_value=np.nan)
        np.testing.assert_allclose(a, b, atol=0.02 if name == "income" else 1e-4)


def test_kinds_are_recognised_with_their_reasons():
    schema = learn_table_schema(FRAME)
    kinds = {column.name: column.kind for column in schema.columns}
    assert kinds == {
        "age": "count",
        "income": "positive",
        "sex": "categorical",
        "town": "categorical",
        "size": "ordinal",
        "member": "boolean",
        "visits": "ordinal",
        "since": "date",
        "country": "constant",
        "id": "identifier",
        "remark": "text",
        "nothing": "missing",
        "score": "real",
    }
    text = dict(schema.summary())
    assert text["sex"] == "categorical: 2 categories, 14.3% missing; 3 codes"
    assert text["country"] == "constant: always 'DE'; left out"
    notes = " ".join(schema.notes)
    for expected in ("'id' holds identifiers", "'remark' is free text", "'nothing' is missing in every row"):
        assert expected in notes
    assert schema.kind == "table"
    assert schema.event_shape == (len(schema.sizes),) == (9,)
    assert schema.user_shape == (13,)


def test_missing_cells_are_a_code_and_holes_where_they_are_observed():
    schema = learn_table_schema(FRAME)
    place = schema.locate("sex")[0]
    missing = torch.tensor(FRAME["sex"].isna().tolist())
    u = schema.encode(FRAME)
    assert (u[missing, place].floor() == schema.codes.missing_codes[place]).all()
    assert (u[~missing, place].floor() < schema.codes.missing_codes[place]).all()
    assert schema.sizes[place] == schema.codes.missing_codes[place] + 1 == 3
    u, observed = schema.encode_observed(FRAME)
    torch.testing.assert_close(observed[:, place], ~missing)
    assert u[missing, place].isnan().all()
    assert not u[~missing, place].isnan().any()
    assert schema.codes.missing_codes[schema.locate("age")[0]] is None


def test_a_hole_in_a_column_that_had_none_is_not_a_number():
    schema = learn_table_schema(FRAME)
    other = FRAME.assign(member=pd.array([None, *FRAME["member"][1:]], "boolean"))
    u = schema.encode(other)[:, schema.locate("member")[0]]
    assert u.isnan().tolist() == [True] + [False] * (N - 1)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_descriptions_are_exact(library):
    schema = learn_table_schema(as_library(library))
    again = schema_from_description(json.loads(json.dumps(schema.describe())))
    assert again == schema
    assert isinstance(again, TableSchema)
    assert schema.encode(as_library(library)).nan_to_num(-1).equal(again.encode(as_library(library)).nan_to_num(-1))
    damaged = {**schema.describe(), "columns": [{"name": "age"}]}
    with pytest.raises(DamagedRunError, match="schema is damaged"):
        schema_from_description(damaged)


def test_columns_are_found_by_name_and_others_refused():
    schema = learn_table_schema(FRAME)
    torch.testing.assert_close(schema.encode(FRAME[FRAME.columns[::-1]]), schema.encode(FRAME), equal_nan=True)
    with pytest.raises(SchemaMismatchError, match="1 of the 13 columns.*missing, the first is 'age'.*mean 'agee'"):
        schema.encode(FRAME.rename(columns={"age": "agee"}))
    with pytest.raises(SchemaMismatchError, match="1 columns are not known to the model, the first is 'new'"):
        schema.encode(FRAME.assign(new=1))


def test_unseen_categories_are_counted_or_refused():
    schema = learn_table_schema(FRAME)
    other = FRAME.assign(sex=["x", "d", "x", *FRAME["sex"][3:]])
    with pytest.warns(UserWarning, match="taken as unknown: column 'sex' in 3 rows, the first is 'x'"):
        u = schema.encode(other)
    assert u[:3, schema.locate("sex")[0]].isnan().all()
    with pytest.raises(
        DataError, match=r"row 0 \(counted from 0\), column 3 \('sex'\) is 'x', a category that.*'m', 'f'|'f', 'm'"
    ):
        schema.encode(other, unseen="error")


def test_infinity_and_words_among_numbers_name_the_place():
    with pytest.raises(DataError, match=r"row 2 \(counted from 0\), column 1 \('a'\) is infinite"):
        learn_table_schema(pd.DataFrame({"a": [1.0, 2.5, np.inf], "b": list("xyz")}))
    schema = learn_table_schema(FRAME)
    with pytest.raises(DataError, match=r"row 1 .*column 13 \('score'\) is infinite"):
        schema.encode(FRAME.assign(score=np.r_[0, -np.inf, np.zeros(N - 2)]))
    with pytest.raises(DataError, match=r"row 0 .*column 1 \('age'\) is 'old', but the column is count"):
        schema.encode(FRAME.assign(age=["old", *map(str, FRAME["age"][1:])]))


def test_kinds_can_be_chosen():
    frame = pd.DataFrame({"code": RNG.integers(1, 4, N), "grade": RNG.choice(["good", "bad"], N), "x": RNG.random(N)})
    schema = learn_table_schema(frame, kinds={"code": "categorical", "grade": ("bad", "good"), "x": "real"})
    assert [column.kind for column in schema.columns] == ["categorical", "ordinal", "real"]
    back = schema.decode(schema.encode(frame))
    assert back["code"].equals(frame["code"])
    assert schema.allowed("grade", ("good", None))[1].codes.tolist() == [False, True]
    for kinds, message in [
        ({"cod": "real"}, "kinds names column 'cod'.*mean 'code'"),
        ({"x": "reel"}, r"kinds\['x'\] must be one of: real.*mean 'real'"),
        ({"grade": "ordinal"}, "needs the order of the categories"),
        ({"x": ()}, "must be a kind or its categories"),
    ]:
        with pytest.raises(InvalidParameterError, match=message):
            learn_table_schema(frame, kinds=kinds)
    for kinds, message in [
        ({"grade": "count"}, r"column 2 \('grade'\) is '(good|bad)', which does not fit"),
        ({"grade": ("good", "best")}, "is 'bad', which is not among the categories"),
        ({"code": "boolean"}, "said to be boolean, but has 3 different values"),
    ]:
        with pytest.raises(DataError, match=message):
            learn_table_schema(frame, kinds=kinds)


def test_sentinel_codes_are_missing_only_when_asked():
    frame = pd.DataFrame({"x": [-999.0, *RNG.normal(size=N - 1)]})
    assert learn_table_schema(frame).codes.missing_codes == (None,)
    schema = learn_table_schema(frame, na_values=-999)
    assert schema.codes.missing_codes == (schema.sizes[0] - 1,)
    assert schema.decode(schema.encode(frame))["x"][0] == -999


def test_codes_of_what_is_missing_match_however_they_are_written():
    texts = pa.array(["-999", " -999.00", "-999,0", "-9990", "-999.5", "unknown", "5"] * 5)
    table = pa.table({"x": texts})
    schema = learn_table_schema(table, kinds={"x": "categorical"}, na_values=[-999.0, "unknown", np.nan])
    missing = schema.missing(table)[:7, 0]
    assert missing.tolist() == [True, True, True, False, False, True, False]
    prices = pa.array([Decimal("-1.00"), Decimal("2.50")] * 20)
    schema = learn_table_schema(pa.table({"x": prices, "y": range(40)}), na_values="-1")
    assert schema.columns[0].missing.share == 0.5


def test_numbers_as_text_are_numbers_and_come_back_as_text():
    frame = pd.DataFrame({"x": [f"{value:.2f}" for value in RNG.normal(size=N)], "y": range(N)}, dtype=object)
    schema = learn_table_schema(frame, kinds={"y": "count"})
    assert schema.columns[0].kind == "real"
    assert "numbers written as text" in " ".join(schema.notes)
    assert schema.decode(schema.encode(frame))["x"].tolist() == frame["x"].tolist()


def test_very_many_categories_are_two_model_columns():
    names = [f"user {i}" for i in range(5000)]
    frame = pl.DataFrame({"user": names + names[:2500], "x": np.arange(7500) % 7})
    schema = learn_table_schema(frame)
    assert schema.sizes == (71, 71, 7)
    assert schema.locate("user") == (0, 1)
    assert schema.locate("x") == (2,)
    back = schema.decode(schema.encode(frame))
    assert back["user"].equals(frame["user"])
    first, second = (part.codes.argmax() for part in schema.allowed("user", "user 4321").values())
    assert schema.decode(torch.tensor([[first + 0.5, second + 0.5, 0.5]]))["user"][0] == "user 4321"
    assert int(schema.encode(frame)[0, 0]) < 36  # those that stand there twice come first


def test_new_rows_get_new_identifiers_and_the_constant():
    schema = learn_table_schema(FRAME)
    made = schema.decode(schema.encode(FRAME))
    assert made["id"].is_unique
    assert not set(made["id"]) & set(FRAME["id"])
    assert set(made["country"]) == {"DE"}
    assert made["remark"].isna().all()


def test_arrays_of_objects_and_of_numbers():
    rows = [[1.5, "a"], [2.5, "b"], [None, "a"]] * 20
    schema = learn_table_schema(rows)
    back = schema.decode(schema.encode(rows))
    assert back.shape == (60, 2)
    assert back[0].tolist() == [1.5, "a"]
    assert back[2, 0] is None
    array = np.where(RNG.random((N, 3)) < 0.1, np.nan, RNG.normal(size=(N, 3)))
    schema = learn_schema(array, kind="table")
    assert isinstance(schema, TableSchema)
    np.testing.assert_allclose(schema.decode(schema.encode(array)), array, atol=1e-5)
    with pytest.raises(SchemaMismatchError, match="rows and columns; this array has shape"):
        learn_table_schema(np.zeros((3, 3, 3)))


def test_conditions_leave_codes_and_places():
    schema = learn_table_schema(FRAME)
    everything = schema.encode(FRAME)
    for name, condition, holds in [
        ("sex", "f", FRAME["sex"] == "f"),
        ("sex", {"f", None}, FRAME["sex"] != "m"),
        ("sex", None, FRAME["sex"].isna()),
        ("town", {"Ulm", "Bonn"}, FRAME["town"] != "Köln"),
        ("size", ("M", None), FRAME["size"] != "S"),
        ("member", True, FRAME["member"]),
        ("age", (30, 40), FRAME["age"].between(30, 40)),
        ("age", (None, 40), FRAME["age"] <= 40),
        (
            "since",
            (dt.datetime(2020, 5, 1), dt.datetime(2021, 1, 1)),
            FRAME["since"].between("2020-05-01", "2021-01-01"),
        ),
        ("since", ("2020-05-01", "2021-01-01"), FRAME["since"].between("2020-05-01", "2021-01-01")),
    ]:
        for index, allowed in schema.allowed(name, condition).items():
            u = everything[:, index].double().numpy()
            code = np.floor(u).astype(int)
            inside = (
                allowed.codes[code] & (u - code >= allowed.low[code] - 1e-4) & (u - code <= allowed.high[code] + 1e-4)
            )
            np.testing.assert_array_equal(inside, holds.to_numpy(bool), err_msg=f"{name} {condition}")
            assert allowed.codes.shape == (schema.sizes[index],)


@pytest.mark.parametrize(
    ("name", "condition", "message"),
    [
        ("agee", 3, "no column 'agee'.*mean 'age'"),
        ("sex", "g", "has no category 'g'"),
        ("town", "Boon", "no category 'Boon'.*mean 'Bonn'"),
        ("sex", ("f", "m"), "without order"),
        ("age", "old", "is count.*'old' cannot be read"),
        ("age", (200, 300), "goes from 1[0-9] to [89][0-9]; nothing in it fits"),
        ("age", (1, 2, 3), "is a pair"),
        ("age", None, "was never missing"),
        ("id", 3, "is left out"),
        ("size", ("L", "S"), "is empty: the order is 'S', 'M', 'L'"),
    ],
)
def test_impossible_conditions_say_why(name, condition, message):
    with pytest.raises(InvalidParameterError, match=message):
        learn_table_schema(FRAME).allowed(name, condition)


def test_draws_are_combined_in_the_space_of_values():
    frame = pd.DataFrame({"x": np.r_[0, np.arange(N - 1)], "c": np.resize(list("aab"), N)})
    schema = learn_table_schema(frame, kinds={"x": "real"})
    rows = [schema.encode(frame.iloc[[i, i]]) for i in (10, 20, 33)]
    combined = schema.combine(torch.stack(rows))
    np.testing.assert_allclose(combined.data["x"], np.mean([frame["x"][i] for i in (10, 20, 33)]), atol=1)
    assert combined.data["c"].tolist() == ["a", "a"] if frame["c"][10] == "a" else True
    np.testing.assert_allclose(combined.spread[:, 0], np.std([frame["x"][i] for i in (10, 20, 33)]), atol=1)
    counts = pd.Series([frame["c"][i] for i in (10, 20, 33)]).value_counts()
    assert combined.data["c"][0] == counts.index[0]
    np.testing.assert_allclose(combined.spread[:, 1], counts.iloc[0] / 3)
    with pytest.raises(SchemaMismatchError, match=r"draws of shape \(draws, n, 2\)"):
        schema.combine(rows[0])


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_filling_changes_missing_cells_alone(library):
    data = as_library(library)
    schema = learn_table_schema(data)
    u, observed = schema.encode_observed(data)
    completed = torch.where(observed, u, torch.tensor(0.5))
    back = plain(schema.fill(data, completed))
    before = plain(data)
    for name in before.columns.drop("nothing"):
        assert not back[name].isna().any()
        seen = before[name].notna()
        assert back[name][seen].tolist() == before[name][seen].tolist()


def test_shapes_and_rows_that_do_not_fit():
    schema = learn_table_schema(FRAME)
    with pytest.raises(SchemaMismatchError, match=r"codes of shape \(\*batch, 9\)"):
        schema.decode(torch.zeros(3, 2))
    with pytest.raises(SchemaMismatchError, match="the table has 300 rows, the codes have 2"):
        schema.fill(FRAME, torch.zeros(2, 9))
    with pytest.raises(DataError, match="at least 2 examples"):
        learn_table_schema(FRAME.iloc[:1])
    with pytest.raises(DataError, match="0 rows"):
        schema.encode(FRAME.iloc[:0])
    with pytest.raises(DataError, match="no column to learn from"):
        learn_table_schema(pd.DataFrame({"a": [1, 1, 1], "b": ["x", "x", "x"]}))
    with pytest.raises(DataError, match="several types: row 0 .* is 1, row 1 is 'x'"):
        learn_table_schema(pd.DataFrame({"a": [1, "x"]}, dtype=object))
    with pytest.raises(InvalidParameterError, match="say kind=.table."):
        learn_schema(np.zeros((3, 2)), na_values="-1")


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[ms]", "datetime64[us, UTC]", "timedelta64[ns]"])
def test_instants_are_exact_to_the_second(dtype):
    seconds = RNG.integers(0, 2_000_000_000, 400)
    frame = pd.DataFrame({"t": pd.Series(seconds * 10**9).astype(dtype.replace("ms", "ns").replace("us", "ns"))})
    frame["t"] = frame["t"].astype(dtype)
    schema = learn_table_schema(frame)
    column = schema.columns[0]
    assert column.coding.step == 1.0
    written = pd.Series(column.cells.write(seconds.astype(float)).to_pandas()).astype(dtype)
    assert (written == frame["t"]).all()
    back = schema.decode(schema.encode(frame, dtype=torch.float64))
    assert list(back.dtypes) == list(frame.dtypes)
    assert (back["t"] == frame["t"]).all()


def test_days_of_arrow_and_times_of_the_day():
    table = pa.table(
        {
            "day": pa.array(RNG.integers(0, 20_000, N).astype("datetime64[D]")),
            "time": pa.array(RNG.integers(0, 86_400, N).astype(np.int32), pa.int32()).cast(pa.time32("s")),
        }
    )
    schema = learn_table_schema(table)
    assert [column.coding.step for column in schema.columns] == [86_400.0, 1.0]
    assert schema.decode(schema.encode(table, dtype=torch.float64)).equals(table)


def test_numbers_beyond_the_data_are_not_taken_for_missing():
    schema = learn_table_schema(pd.DataFrame({"x": [np.nan, *np.linspace(0, 10, N)]}))
    (size,), (missing,) = schema.sizes, schema.codes.missing_codes
    u = schema.encode(pd.DataFrame({"x": [10.5, 1e6, -3.0, np.nan]}))[:, 0]
    assert (u[:2] >= size).all()
    assert u[2] < 0
    assert u[3].floor() == missing == size - 1
    back = schema.decode(schema.encode(pd.DataFrame({"x": [10.5, 20.0, -3.0]}), dtype=torch.float64))
    assert back["x"][0] == pytest.approx(10.5)
    assert back["x"][1] == pytest.approx(20.0)


def test_numbers_are_those_of_the_user_and_codes_mean_the_same_everywhere() -> None:
    table = pa.table(
        {
            "age": [31, 45, None, 62] * 10,
            "job": pa.array(["b", "a", "a", None] * 10),
            "day": [dt.date(1970, 1, 2)] * 20 + [dt.date(1970, 1, 1)] * 20,
            "one": [1] * 40,
        }
    )
    schema = learn_table_schema(table)
    found = schema.numbers(table)
    assert found.names == ("age", "job", "day")
    assert found.is_categorical.tolist() == [False, True, False]
    assert found.categories == {"job": ("a", "b", "not seen before")}
    np.testing.assert_array_equal(found.values[:4, 0], [31, 45, np.nan, 62])
    np.testing.assert_array_equal(found.values[:4, 1], [1, 0, 0, np.nan])
    assert set(found.values[:, 2]) == {0.0, 86_400.0}
    other = pa.table({"one": [1, 1], "job": ["c", "b"], "day": [dt.date(1970, 1, 3), None], "age": [7, 45]})
    np.testing.assert_array_equal(schema.numbers(other).values, [[7, 2, 172_800], [45, 1, np.nan]])
    for bad, message in (("old", "row 1 .*column 1 \\('age'\\) is 'old', but the column is"), ("inf", "is infinite")):
        with pytest.raises(DataError, match=message):
            schema.numbers(other.set_column(3, "age", pa.array(["7", bad])))


@pytest.mark.parametrize("values", [["b", "a"], [4, 2], [1.5, 2.5], ["10", "7"]], ids=str)
def test_the_type_of_categories_makes_categories(values: list[object]) -> None:
    frame = pd.DataFrame({"c": pd.Series([*values, None, values[0]] * 10, dtype="category"), "n": np.arange(40.0) % 7})
    schema = learn_table_schema(frame)
    assert schema.columns[0].kind == "categorical"
    pd.testing.assert_frame_equal(schema.decode(schema.encode(frame)), frame)
    assert schema.allowed("c", values[1])[0].codes.sum() == 1


_ASKED_OF = {
    "integer": RNG.integers(-50, 50, 60),
    "real": RNG.normal(size=60),
    "boolean": RNG.random(60) < 0.5,
    "categorical": RNG.choice(["a", "b", "c"], 60),
    "date": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 90, 60), "D"),
    "duration": pd.to_timedelta(RNG.integers(0, 90, 60), "D"),
    "numerals": [f"{value:.2f}" for value in RNG.normal(size=60)],
    "day": [f"202001{value:02d}" for value in RNG.integers(1, 29, 60)],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", _ASKED_OF)
def test_a_kind_that_is_asked_for_is_given_or_refused(name, kind):
    frame = pd.DataFrame({"x": _ASKED_OF[name], "y": RNG.normal(size=60)})
    try:
        schema = learn_table_schema(frame, kinds={"x": kind})
    except (DataError, InvalidParameterError) as error:
        assert "'x'" in str(error)  # noqa: PT017 (the other outcome is tested below)
        return
    assert schema.columns[0].kind == kind
    new = schema.decode(schema.encode(frame))
    assert len(new) == 60
    if kind not in ("identifier", "text", "missing"):
        assert new["x"].dtype == frame["x"].dtype


def test_dates_of_eight_digits_are_dates_when_asked_for():
    frame = pd.DataFrame({"x": _ASKED_OF["day"]})
    assert learn_table_schema(frame).columns[0].kind != "date"
    schema = learn_table_schema(frame, kinds={"x": "date"})
    assert schema.decode(schema.encode(frame))["x"].tolist() == frame["x"].tolist()
    with pytest.raises(DataError, match=r"kinds\['x'\]='date' does not fit column 'x', which holds numbers"):
        learn_table_schema(frame.astype(int), kinds={"x": "date"})


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2]] * 40),
        pa.array([{"a": 1}] * 40),
        pa.array([b"x"] * 40),
        pa.array(["x", "y"] * 20, pa.string_view()),
    ],
    ids=lambda column: str(column.type),
)
def test_types_that_are_not_learnt_are_told_and_empty_in_new_rows(column):
    table = pa.table({"odd": column, "x": np.arange(40) % 7})
    schema = learn_table_schema(table)
    new = schema.decode(schema.encode(table))
    if pa.types.is_string_view(column.type):
        assert new["odd"].to_pylist() == column.to_pylist()
        return
    assert "holds values of type" in schema.notes[0]
    assert new["odd"].null_count == 40
    assert schema.fill(table, schema.encode(table))["odd"].to_pylist() == column.to_pylist()


@pytest.mark.parametrize(
    "values", [pd.period_range("2020-01", periods=40, freq="M"), pd.interval_range(0, 40)], ids=["period", "interval"]
)
def test_types_of_pandas_that_are_not_learnt(values):
    frame = pd.DataFrame({"odd": values, "x": np.arange(40) % 7})
    schema = learn_table_schema(frame)
    assert schema.decode(schema.encode(frame))["odd"].isna().all()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.ones(40) + 1j, "complex128"),
        (pd.arrays.SparseArray([0, 1] * 20), "Sparse"),
        ([1, "x"] * 20, "several types"),
    ],
    ids=["complex", "sparse", "mixed"],
)
def test_columns_that_cannot_be_read_are_named(values, kind):
    with pytest.raises(DataError, match=f"column 'odd' holds values of .*{kind}"):
        learn_table_schema(pd.DataFrame({"odd": values, "x": range(40)}))


def test_ordered_categories_are_completed_with_their_median():
    frame = pd.DataFrame({"size": RNG.choice(["S", "M", "L", "XL"], N), "sex": RNG.choice(["f", "m"], N)})
    schema = learn_table_schema(frame, kinds={"size": ["S", "M", "L", "XL"]})
    draws = torch.tensor([[[0.5, 0.5]], [[0.5, 0.5]], [[1.5, 0.5]], [[2.5, 1.5]], [[3.5, 1.5]]], dtype=torch.float64)
    combined = schema.combine(draws)
    assert combined.data["size"].tolist() == ["M"], "S is the most frequent, M the middle"
    assert combined.spread.tolist() == [[0.2, 0.6]]


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda i: f"P{i:05d}", r"P\d{5}"),
        (lambda i: f"{'AB'[i % 2]}-{i:03d}/20", r"[AB]-\d{3}/20"),
        (lambda i: 1000 + i, r"\d{4}"),
        (lambda i: str(uuid.UUID(hashlib.md5(b"%d" % i).hexdigest())), r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        (lambda i: hashlib.md5(str(i).encode()).hexdigest().upper(), "[0-9A-F]{32}"),
        (lambda i: f"user{i}@example.{'com' if i % 2 else 'org'}", r"(who-\d{6}|user\d+@example.(com|org))"),
    ],
    ids=["counted", "several beginnings", "integers", "uuid", "digest", "mail"],
)
def test_new_identifiers_are_of_the_same_form_and_never_old_ones(make, form):
    frame = pd.DataFrame({"who": [make(i) for i in range(80)], "x": np.arange(80) % 7})
    schema = learn_table_schema(frame)
    assert schema.columns[0].kind == "identifier"
    new = schema.decode(torch.rand(500, 1, generator=torch.Generator().manual_seed(0)) * 7)["who"]
    assert new.is_unique
    assert not set(new) & set(frame["who"])
    assert all(re.fullmatch(form, str(name)) for name in new)
    again = schema_from_description(json.loads(json.dumps(schema.describe())))
    assert again == schema
    saw_new = learn_table_schema(pd.DataFrame({"who": new, "x": np.arange(500) % 7}))
    assert not set(saw_new.decode(torch.rand(500, 1))["who"]) & set(new)


def test_rows_are_compared_as_numbers() -> None:
    n = 60
    frame = pd.DataFrame(
        {
            "kind": ["cat", "dog", None] * (n // 3),
            "weight": np.linspace(1, 9, n),
            "name": [f"row {index}" for index in range(n)],
        }
    )
    schema = learn_table_schema(frame, kinds={"name": "categorical"})
    u = schema.encode(frame)
    draws = torch.stack([u, u.flip(0)])
    kind, weight, name = schema.features(draws, widest=2)
    assert kind[:2].tolist() == [[0.5, 0.0], [0.0, 1.0]], "half of the draws of the first row miss it"
    np.testing.assert_allclose(weight[:, 0], np.full(n, 5.0), atol=0.2)
    assert name.shape == (n, 0), "too many categories"
    assert schema.features(draws)[2].shape == (n, n)
    places, weights, _ = schema.middle(draws)
    np.testing.assert_allclose(weights, weight[:, 0], rtol=1e-5)
    assert np.array_equal(places, schema.middle(draws.flip(0))[0], equal_nan=True)
