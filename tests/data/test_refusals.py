"""Every message about bad data: what, where, and what to do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

from latentkit.core.errors import (
    DamagedRunError,
    DataError,
    InvalidParameterError,
    RunVersionError,
    SchemaMismatchError,
)
from latentkit.data import learn_schema, schema_from_description

RNG = np.random.default_rng(0)


def rows(n=5, d=3):
    return RNG.normal(size=(n, d))


def test_nan_and_infinity_are_counted_and_placed():
    data = rows(9)
    data[4, 1], data[5, 0], data[7, 2] = np.nan, np.nan, -np.inf
    with pytest.raises(
        DataError, match=r"2 NaN \(missing values\) and 1 infinity \(inf\); the first is NaN at row 4, column 1"
    ):
        learn_schema(data)
    with pytest.raises(DataError, match=r"row 4, column 1 \('b'\).*SimpleImputer"):
        learn_schema(pd.DataFrame(data, columns=list("abc")), kind="rows")
    schema = learn_schema(rows())
    with pytest.raises(DataError, match="contain 1 infinity.*row 7, column 2"):
        schema.encode(np.where(np.isnan(data), 0, data))


def test_nan_late_in_large_data_is_placed():
    data = np.zeros((3000, 1000), np.float32)
    data[2999, 17] = np.nan
    data[0, 0] = 1
    with pytest.raises(DataError, match="contain 1 NaN.*row 2999, column 17"):
        learn_schema(data)


def test_nan_in_images():
    data = RNG.random((4, 5, 6))
    data[2, 3, 4] = np.nan
    with pytest.raises(DataError, match=r"NaN at image 2, element \[3, 4\]"):
        learn_schema(data)


def test_missing_values_of_a_frame():
    with pytest.raises(DataError, match=r"1 NaN \(missing values\).*row 1, column 0 \('a'\)"):
        learn_schema(pl.DataFrame({"a": [1, None, 3], "b": [1.0, 2.0, 3.0]}), kind="rows")


@pytest.mark.parametrize("data", [np.zeros((1, 4)), torch.zeros(1, 4), np.zeros((1, 4, 4), np.uint8)])
def test_one_example_is_too_few(data):
    with pytest.raises(DataError, match="at least 2 examples.*got 1 sample"):
        learn_schema(data)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5,), r"got shape \(5,\). Reshape your data"),
        ((), "Reshape your data"),
        ((2, 2, 2, 2, 2), "Give each example as a row, or as an image"),
        ((0, 4), r"0 sample\(s\) \(shape=\(0, 4\)\) while a minimum of 1 is required"),
        ((4, 0), r"0 feature\(s\) \(shape=\(4, 0\)\) while a minimum of 1 is required"),
        ((4, 9, 9, 9), "no axis of 1 to 4 channels. Say where.*channels='last'"),
    ],
)
def test_shapes_that_are_no_data(shape, message):
    with pytest.raises(DataError, match=message):
        learn_schema(np.zeros(shape))


def test_no_rows_to_encode():
    with pytest.raises(DataError, match=r"0 sample\(s\)"):
        learn_schema(rows()).encode(np.zeros((0, 3)))


def test_text_in_frames_names_column_row_and_value():
    frame = pd.DataFrame({"a": [1, 2], "b": ["3", "x"], "c": ["u", "v"]})
    message = r"column 1 \('b'\) holds text: row 1 \(counted from 0\) is 'x'. So do 1 other columns: 'c'.*labels='c'"
    with pytest.raises(DataError, match=message):
        learn_schema(frame, kind="rows")
    with pytest.raises(DataError, match=message):
        learn_schema(pl.from_pandas(frame), kind="rows")
    mixed = pd.DataFrame({"a": pd.Series([1, 2.5, "many"], dtype=object)})
    with pytest.raises(DataError, match=r"column 0 \('a'\) holds text: row 2 .* is 'many'"):
        learn_schema(mixed, kind="rows")


def test_numbers_written_as_text_and_dates_are_refused():
    with pytest.raises(DataError, match=r"column 0 \('a'\) holds numbers written as text: row 0 .* is '1'"):
        learn_schema(pl.DataFrame({"a": ["1", "2"]}), kind="rows")
    frame = pl.DataFrame({"a": [1, 2], "when": pd.to_datetime(["2020-01-01", "2021-01-01"])})
    with pytest.raises(DataError, match=r"column 1 \('when'\) holds values of type Datetime"):
        learn_schema(frame, kind="rows")


def test_text_and_other_things_in_arrays():
    with pytest.raises(DataError, match=r"row 1, column 0 \(counted from 0\) holds 'x'"):
        learn_schema(np.array([[1, 2], ["x", 4]], dtype=object))
    with pytest.raises(DataError, match="row 0, column 0 .* holds 'a cat'"):
        learn_schema([["a cat"], ["a dog"]])
    with pytest.raises(DataError, match="dtype is complex128. Complex data not supported"):
        learn_schema(np.zeros((3, 2), complex))
    with pytest.raises(DataError, match=r"sparse matrices are not supported. Give X.toarray\(\)"):
        learn_schema(scipy.sparse.eye(4).tocsr())
    with pytest.raises(DataError, match=r"example 0 has \(2, 2\), example 1 has \(3, 2\)"):
        learn_schema([np.zeros((2, 2)), np.zeros((3, 2))])
    with pytest.raises(DataError, match=r"lazy.*\.collect\(\)"):
        learn_schema(pl.LazyFrame({"a": [1, 2]}))
    with pytest.raises(DataError, match="several columns of one name"):
        learn_schema(pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]))
    with pytest.raises(DataError, match="the data frame has no columns"):
        learn_schema(pd.DataFrame(index=[0, 1]), kind="rows")


def test_objects_that_are_numbers_are_numbers():
    schema = learn_schema(np.array([[1, 2.5], [3, None]], dtype=object)[:, :1])
    assert schema.numbers.mean == (2.0,)


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (
            (5, 3),
            (5, 4),
            r"expected data of shape \(n, 3\), got \(5, 4\). X has 4 features.*expecting 3 features as input",
        ),
        ((5, 28, 28), (5, 30, 28), r"expected data of shape \(n, 28, 28\), got \(5, 30, 28\). Resize"),
        ((5, 28, 20), (28, 20), r"one example without the axis of examples: give x\[None\]"),
        ((5, 8, 9, 3), (5, 3, 8, 9), "channels lie on another axis: move them with numpy.moveaxis"),
        ((5, 36), (5, 6, 6), r"Reshape them: X.reshape\(len\(X\), 36\)"),
        ((5, 6, 6), (5, 36), r"Reshape them: X.reshape\(len\(X\), 6, 6\)"),
        ((5, 6), (5, 2, 5), "Give data of the shape that the model was fitted on"),
    ],
)
def test_wrong_shape_states_expected_and_got(fitted, given, message):
    schema = learn_schema(RNG.normal(size=fitted))
    with pytest.raises(SchemaMismatchError, match=message):
        schema.encode(RNG.normal(size=given))


def test_one_channel_may_be_there_or_not():
    data = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)
    schema = learn_schema(data)
    for other in (data[..., None], data[:, None]):
        torch.testing.assert_close(schema.encode(other), schema.encode(data))


def test_decode_wants_the_event():
    with pytest.raises(SchemaMismatchError, match=r"\(\*batch, 3\), got \(2, 4\)"):
        learn_schema(rows()).decode(torch.zeros(2, 4))
    with pytest.raises(SchemaMismatchError, match=r"got \(3,\)"):
        learn_schema(rows()).decode(torch.zeros(3))


def test_columns_that_are_missing_or_new():
    frame = pd.DataFrame(rows(), columns=["age", "height", "weight"])
    schema = learn_schema(frame)
    with pytest.raises(SchemaMismatchError, match=r"1 of the 3 columns.*'weight'.*Did you mean 'wieght'\?"):
        schema.encode(frame.rename(columns={"weight": "wieght"}))
    with pytest.raises(
        SchemaMismatchError, match="1 columns are not known to the model, the first is 'class'.*labels="
    ):
        schema.encode(frame.assign(**{"class": 1}))


def test_values_off_the_grid():
    byte = learn_schema(RNG.integers(0, 256, (5, 6, 6), dtype=np.uint8))
    with pytest.raises(SchemaMismatchError, match=r"byte data.*image 0, element.*multiply by 255 and round"):
        byte.encode(RNG.random((2, 6, 6)))
    scaled = learn_schema((RNG.integers(0, 256, (5, 6, 6)) / 255).astype(np.float32))
    with pytest.raises(SchemaMismatchError, match="divide by 255"):
        scaled.encode(RNG.integers(100, 256, (5, 6, 6), dtype=np.uint8))
    scaled.encode(RNG.random((2, 6, 6)))  # finer than a level of 1/255: rounded
    binary = learn_schema(RNG.integers(0, 2, (5, 6)))
    with pytest.raises(SchemaMismatchError, match=r"0 and 1; row 1, column 2 .* is 0.25.*X > 0.5"):
        binary.encode(np.array([[0.0] * 6, [0, 1, 0.25, 1, 1, 1]]))
    digits = learn_schema(RNG.integers(0, 17, (5, 8, 8)).astype(np.uint8))
    with pytest.raises(SchemaMismatchError, match=r"17 equally spaced values from 0 to 16.*\[0, 0, 0\].* is 99"):
        digits.encode(np.full((2, 8, 8), 99, np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "image"}, r"kind must be one of: auto, rows, images.*Did you mean 'images'\?"),
        ({"color": "gray"}, "color must be one of: auto, grey, rgb"),
        ({"fit": "cut"}, "fit must be one of: crop, stretch, pad"),
        ({"values": "bytes"}, r"values must be one of.*Did you mean 'byte'\?"),
        ({"channels": "middle"}, "channels must be one of: auto, last, first"),
        ({"size": 5}, "rows of 36 numbers are no images of 5 x 5 with 1 channel"),
        ({"size": (1, 2, 3)}, "size must be one or two integers"),
        ({"size": 0}, "size must be an integer from 1 to 16384; got 0. Give size=64"),
        ({"size": 2.5}, "size must be an integer"),
        ({"size": (3, 4), "color": "rgb"}, "rows of colour pixels need channels='last'"),
    ],
)
def test_options_for_rows(options, message):
    with pytest.raises(InvalidParameterError, match=message):
        learn_schema(rows(d=36), **options)


def test_options_for_images():
    data = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)
    with pytest.raises(InvalidParameterError, match="size=9 was asked for, but the array has images of 6 x 7"):
        learn_schema(data, size=9)
    with pytest.raises(
        InvalidParameterError, match="color='rgb' was asked for, but the array has images of 1 channels"
    ):
        learn_schema(data, color="rgb")
    assert learn_schema(data, size=(6, 7), color="grey").event_shape == (1, 6, 7)


@pytest.mark.parametrize(
    ("data", "values", "message"),
    [
        ([[0, 1], [2, 1]], "binary", r"two values, but there are 0, 2 and 1 at row 0, column 1"),
        ([[1, 1], [1, 1]], "binary", "all are 1"),
        ([[0, 1], [300, 1]], "byte", "integers from 0 to 255, or multiples of 1/255; the data go from 0 to 300"),
        ([[2, 2], [2, 2]], "unit", "needs a range, but all values are 2"),
    ],
)
def test_values_that_do_not_fit(data, values, message):
    with pytest.raises(DataError, match=message):
        learn_schema(np.array(data), values=values)


def test_numbers_too_large_to_standardise():
    with pytest.raises(DataError, match="column 1 holds numbers of .*too large to standardise"):
        learn_schema(np.array([[1.0, 1e300], [2.0, -1e300]]))


def test_constant_columns_are_noted():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [0.1, 0.1]})
    schema = learn_schema(frame)
    assert any("1 of 2 columns are constant (b)" in note for note in schema.notes)
    assert schema.numbers.scale[1] == 1
    schema = learn_schema(np.full((3, 4), 5.0))
    assert schema.notes == ("warning: all values are 5; there is nothing to learn",)


def test_masks_that_are_no_masks():
    schema = learn_schema(rows())
    with pytest.raises(DataError, match="a mask holds True"):
        schema.encode_mask(np.full((5, 3), 0.5))
    with pytest.raises(SchemaMismatchError, match=r"expected data of shape \(n, 3\)"):
        schema.encode_mask(np.ones((5, 4), bool))
    with pytest.raises(InvalidParameterError, match="rows of numbers are no pictures"):
        schema.pictures(torch.zeros(2, 3))


def test_infinity_is_no_hole():
    with pytest.raises(DataError, match="infinity"):
        learn_schema(rows()).encode_observed(np.array([[np.nan, np.inf, 0]]))


def test_descriptions_that_cannot_be_read():
    description = learn_schema(rows()).describe()
    with pytest.raises(RunVersionError, match="format 99.*reads formats up to 1. Update latentkit"):
        schema_from_description({**description, "version": 99})
    for broken in (
        {},
        [],
        {**description, "numbers": {"type": "standardized"}},
        {**description, "numbers": {"type": "unheard"}},
        {**description, "layout": {**description["layout"], "kind": "sound"}},
        {**description, "type": "text"},
    ):
        with pytest.raises(DamagedRunError, match="the description of the schema is damaged"):
            schema_from_description(broken)


def test_a_frame_library_that_is_gone(monkeypatch):
    schema = learn_schema(pl.DataFrame({"a": [1.0, 2.0]}))
    import narwhals as nw

    def absent(*arguments, **options):
        raise ModuleNotFoundError("No module named 'polars'")

    monkeypatch.setattr(nw, "from_dict", absent)
    with pytest.raises(DataError, match="polars is not installed here. Install it: pip install polars"):
        schema.decode(torch.zeros(2, 1))


def test_summary_is_for_people():
    frame = pd.DataFrame({f"c{i}": RNG.normal(size=6) for i in range(20)})
    text = "\n".join(f"{key}: {value}" for key, value in learn_schema(frame).summary())
    assert "data: 6 rows of 20 numbers" in text
    assert "came in: pandas, float64" in text
    assert "column c0: " in text
    assert "...: and 8 more columns" in text
    text = "\n".join(f"{key}: {value}" for key, value in learn_schema(RNG.integers(0, 17, (9, 8, 8))).summary())
    assert "values: unit, 17 levels, 0 to 16" in text
    assert "note: all values are integers from 0 to 16: taken as 17 levels" in text
