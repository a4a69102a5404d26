"""The law of schemas: what is encoded and decoded is what was given, in its container, dtype and range."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latentkit.data import learn_schema, schema_from_description
from latentkit.data.containers import to_array

RNG = np.random.default_rng(0)


def returned(data, *, dtype=torch.float32, **options):
    """What comes back, and the schema, after it has been through JSON."""
    schema = learn_schema(data, **options)
    again = schema_from_description(json.loads(json.dumps(schema.describe(), allow_nan=False)))
    assert again == schema
    storage = again.encode(data, dtype=dtype)
    assert tuple(storage.shape[1:]) == schema.event_shape
    if schema.n_levels is not None:
        assert storage.dtype == torch.uint8
    return again.decode(again.to_model(storage, dtype)), schema


NUMPY_CASES = {
    "uint8 rows": (RNG.integers(0, 256, (5, 7), dtype=np.uint8), "byte", 256),
    "uint8 images": (RNG.integers(0, 256, (5, 6, 4), dtype=np.uint8), "byte", 256),
    "uint8 colour": (RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8), "byte", 256),
    "uint8 channels first": (RNG.integers(0, 256, (5, 3, 6, 7), dtype=np.uint8), "byte", 256),
    "uint8 one channel": (RNG.integers(0, 256, (5, 6, 7, 1), dtype=np.uint8), "byte", 256),
    "uint8 0 and 1": (RNG.integers(0, 2, (5, 40), dtype=np.uint8), "binary", 2),
    "uint8 0 and 255": (RNG.integers(0, 2, (5, 4, 10), dtype=np.uint8) * 255, "binary", 2),
    "bool rows": (RNG.random((6, 9)) < 0.5, "binary", 2),
    "bool images": (RNG.random((6, 9, 9)) < 0.5, "binary", 2),
    "float 0 and 1": (RNG.integers(0, 2, (5, 40)).astype(np.float32), "binary", 2),
    "digits": (RNG.integers(0, 17, (9, 8, 8)).astype(np.float64), "unit", 17),
    "digits in rows": (RNG.integers(0, 17, (9, 64)).astype(np.float64), "unit", 17),
    "int64 bytes": (RNG.integers(0, 256, (9, 8, 8)), "byte", 256),
    "float bytes": (RNG.integers(0, 256, (9, 8, 8)).astype(np.float32), "byte", 256),
    "multiples of 1/255": ((RNG.integers(0, 256, (9, 8, 8)) / 255).astype(np.float32), "byte", 256),
    "multiples of 2/255": ((RNG.integers(0, 256, (9, 8, 8)) / 127.5 - 1).astype(np.float32), "byte", 256),
    "uint16 images": (RNG.integers(0, 4096, (9, 8, 8), dtype=np.uint16), "unit", None),
    "unit images": (RNG.random((9, 8, 8)).astype(np.float32), "unit", None),
    "images of -1 to 1": (np.tanh(3 * RNG.normal(size=(9, 8, 8))), "unit", None),
    "real images": (RNG.normal(size=(9, 8, 8)), "real", None),
    "real colour": (RNG.normal(size=(9, 8, 8, 3)) * [1, 10, 100], "real", None),
    "real rows": (RNG.normal(size=(50, 4)) * 1e3, "real", None),
    "float32 rows": (RNG.normal(size=(50, 4)).astype(np.float32), "real", None),
    "float16 rows": (RNG.normal(size=(50, 4)).astype(np.float16), "real", None),
    "int rows": (RNG.integers(-500, 500, (50, 3)), "real", None),
    "int8 rows": (RNG.integers(-128, 128, (50, 3), dtype=np.int8), "real", None),
    "big-endian rows": (RNG.normal(size=(50, 4)).astype(">f8"), "real", None),
    "constant column": (np.column_stack([RNG.normal(size=20), np.full(20, 0.1)]), "real", None),
}


@pytest.mark.parametrize("name", NUMPY_CASES)
def test_arrays_come_back(name):
    data, values, n_levels = NUMPY_CASES[name]
    back, schema = returned(data)
    assert (schema.values, schema.n_levels) == (values, n_levels)
    assert type(back) is np.ndarray
    assert back.shape == data.shape
    assert back.dtype == data.dtype.newbyteorder("=")
    if data.dtype.kind in "biu" or n_levels is not None:
        np.testing.assert_array_equal(back, data)
    else:
        np.testing.assert_allclose(back, data, rtol=1e-3 if data.dtype == np.float16 else 1e-6, atol=1e-3)
    exact, _ = returned(data, dtype=torch.float64)
    np.testing.assert_allclose(exact, data, rtol=1e-12 if data.dtype == np.float64 else 1e-3, atol=1e-12)


@pytest.mark.parametrize("name", NUMPY_CASES)
def test_model_units_are_what_the_values_promise(name):
    data, values, n_levels = NUMPY_CASES[name]
    schema = learn_schema(data)
    x = schema.to_model(schema.encode(data))
    assert x.dtype == torch.float32
    if values == "real":
        flat = x.flatten(2).transpose(0, 1).flatten(1) if x.ndim == 4 else x.T
        torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat)), atol=1e-2, rtol=0)
        stddev = flat.std(1, correction=0)
        assert bool(((stddev - 1).abs().lt(1e-2) | stddev.eq(0)).all())
    else:
        assert x.min() >= 0
        assert x.max() <= 1
    if n_levels:
        levels = x * (n_levels - 1)
        torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("tensor", "event_shape"),
    [
        (torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8), (3, 5, 6)),
        (torch.randint(0, 2, (4, 9)).bool(), (9,)),
        (torch.randn(30, 5), (5,)),
        (torch.randn(30, 5, dtype=torch.float64), (5,)),
        (torch.randint(-50, 50, (30, 5), dtype=torch.int16), (5,)),
        (torch.rand(4, 3, 3, 3), (3, 3, 3)),
    ],
    ids=lambda given: str(given.dtype if isinstance(given, torch.Tensor) else given),  # values differ between processes
)
def test_tensors_come_back(tensor, event_shape):
    back, schema = returned(tensor)
    assert isinstance(back, torch.Tensor)
    assert schema.event_shape == event_shape
    assert back.dtype == tensor.dtype
    torch.testing.assert_close(back, tensor, rtol=1e-5, atol=1e-5)


def test_bfloat16_tensors_come_back():
    tensor = torch.randn(30, 5).bfloat16()
    back, _ = returned(tensor.requires_grad_())
    assert back.dtype == torch.bfloat16
    torch.testing.assert_close(back, tensor.detach())


def frame_columns():
    return {
        "whole": RNG.integers(-5, 90, 12),
        "half": RNG.normal(size=12).astype(np.float32),
        "flag": RNG.random(12) < 0.5,
        "byte": RNG.integers(0, 200, 12).astype(np.uint8),
        "real": RNG.normal(size=12) * 100,
    }


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "pyarrow"])
def test_frames_come_back_with_names_and_dtypes(make):
    columns = frame_columns()
    frame = make(columns)
    back, schema = returned(frame)
    assert type(back) is type(frame)
    assert schema.feature_names == tuple(columns)
    assert schema.kind == "rows"
    if make is pd.DataFrame:
        assert list(back.dtypes) == list(frame.dtypes)
    else:
        assert back.schema == frame.schema
    for name, column in columns.items():
        given = to_array(make({name: column}))
        np.testing.assert_allclose(to_array(back[[name]] if make is not pa.table else back.select([name])), given, 1e-5)


def test_pandas_extension_dtypes_come_back():
    frame = pd.DataFrame({"a": pd.array([1, 2, 3], "Int64"), "b": pd.array([True, False, True], "boolean")})
    back, _ = returned(frame)
    pd.testing.assert_frame_equal(back, frame)


def test_pandas_objects_that_are_numbers_come_back_as_floats():
    frame = pd.DataFrame({"a": pd.Series([1, 2.5, 3], dtype=object), "b": [4, 5, 6]})
    back, _ = returned(frame)
    assert list(map(str, back.dtypes)) == ["float64", "int64"]
    np.testing.assert_allclose(back["a"], [1, 2.5, 3])


def test_pandas_columns_may_be_numbered():
    frame = pd.DataFrame(RNG.normal(size=(5, 3)))
    back, schema = returned(frame)
    assert list(back.columns) == [0, 1, 2]
    assert schema.feature_names == (0, 1, 2)


def test_frame_of_bytes_stays_bytes():
    frame = pl.DataFrame(RNG.integers(0, 256, (10, 4), dtype=np.uint8), schema=list("abcd"))
    back, schema = returned(frame)
    assert schema.values == "byte"
    assert back.equals(frame)


def test_columns_are_found_by_name():
    frame = pd.DataFrame(frame_columns())
    schema = learn_schema(frame)
    turned = frame[frame.columns[::-1]]
    torch.testing.assert_close(schema.encode(turned), schema.encode(frame))


def test_a_schema_takes_other_containers_of_the_same_numbers():
    frame = pd.DataFrame(RNG.normal(size=(6, 3)), columns=list("abc"))
    schema = learn_schema(frame)
    for other in (frame.to_numpy(), torch.from_numpy(frame.to_numpy().copy()), frame.to_numpy().tolist()):
        torch.testing.assert_close(schema.encode(other), schema.encode(frame))


def test_lists_count_as_arrays():
    back, _ = returned([[1.0, 2.0], [3.0, 5.0]])
    np.testing.assert_allclose(back, [[1.0, 2.0], [3.0, 5.0]])


@settings(max_examples=60)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.bool_, np.int8, np.int16, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=9),
    )
)
def test_any_array_of_small_integers_comes_back_exactly(data):
    back, _ = returned(data, dtype=torch.float64)
    np.testing.assert_array_equal(back, data)
    assert back.dtype == data.dtype


@settings(max_examples=60)
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=9),
        elements=st.floats(-1e9, 1e9, allow_subnormal=False),
    )
)
def test_any_array_of_floats_comes_back_to_rounding(data):
    back, schema = returned(data, dtype=torch.float64)
    # Values that lie within float32 rounding of 8-bit levels are taken for these levels.
    atol = 1e-6 if schema.n_levels == 256 else 1e-12 * (1 + np.ptp(data))
    np.testing.assert_allclose(back, data, rtol=1e-9, atol=atol)


def test_very_small_reals_are_not_taken_for_level_zero():
    data = RNG.random((5, 6, 6)) * 1e-8
    back, schema = returned(data, dtype=torch.float64)
    assert schema.n_levels is None
    np.testing.assert_allclose(back, data, rtol=1e-9)


@pytest.mark.parametrize("values", ["byte", "unit", "real"])
def test_values_can_be_said(values):
    data = RNG.integers(0, 200, (20, 4))
    back, schema = returned(data, values=values)
    assert schema.values == values
    np.testing.assert_array_equal(back, data)


def test_two_values_of_any_kind_can_be_binary():
    data = RNG.choice([-1.0, 3.0], (20, 4))
    back, schema = returned(data, values="binary")
    assert schema.n_levels == 2
    np.testing.assert_array_equal(back, data)


@pytest.mark.parametrize(
    ("options", "event_shape"),
    [
        ({"kind": "images"}, (1, 6, 6)),
        ({"size": (4, 9)}, (1, 4, 9)),
        ({"kind": "images", "size": (3, 4), "color": "rgb", "channels": "last"}, (3, 3, 4)),
        ({"kind": "images", "size": (3, 4), "color": "rgb", "channels": "first"}, (3, 3, 4)),
        ({}, (36,)),
    ],
)
def test_rows_can_be_pixels(options, event_shape):
    data = RNG.integers(0, 256, (5, 36), dtype=np.uint8)
    back, schema = returned(data, **options)
    assert schema.event_shape == event_shape
    np.testing.assert_array_equal(back, data)


def test_flat_colour_pixels_go_to_their_channels():
    data = np.arange(2 * 12, dtype=np.uint8).reshape(2, 12)
    last = learn_schema(data, size=2, color="rgb", channels="last").encode(data)
    first = learn_schema(data, size=2, color="rgb", channels="first").encode(data)
    assert last[0, 0].tolist() == [[0, 3], [6, 9]]
    assert first[0, 0].tolist() == [[0, 1], [2, 3]]


def test_images_can_be_rows():
    data = RNG.integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    back, schema = returned(data, kind="rows")
    assert schema.event_shape == (108,)
    np.testing.assert_array_equal(back, data)


@pytest.mark.parametrize(
    ("shape", "is_tensor", "channels", "event_shape"),
    [
        ((2, 8, 9, 3), False, "auto", (3, 8, 9)),
        ((2, 3, 8, 9), False, "auto", (3, 8, 9)),
        ((2, 3, 8, 4), False, "auto", (4, 3, 8)),
        ((2, 3, 8, 4), True, "auto", (3, 8, 4)),
        ((2, 3, 8, 4), False, "first", (3, 8, 4)),
        ((2, 8, 9, 7), False, "last", (7, 8, 9)),
        ((2, 8, 9), False, "auto", (1, 8, 9)),
    ],
)
def test_the_axis_of_channels(shape, is_tensor, channels, event_shape):
    data = torch.randn(shape) if is_tensor else RNG.normal(size=shape)
    assert learn_schema(data, channels=channels).event_shape == event_shape


def test_bytes_are_not_copied():
    data = RNG.integers(0, 256, (100, 28, 28), dtype=np.uint8)
    data.setflags(write=False)
    storage = learn_schema(data).encode(data)
    assert storage.data_ptr() == data.ctypes.data
    rows = RNG.random((100, 9)) < 0.5
    assert learn_schema(rows).encode(rows).data_ptr() == rows.ctypes.data


def test_shared_memory_outlives_the_array():
    schema = learn_schema(np.arange(200, dtype=np.uint8).reshape(2, 100))
    data = np.full((1000, 100), 7, np.uint8)
    data.setflags(write=False)
    storage = schema.encode(data)
    del data
    assert bool((storage == 7).all())


def test_channels_last_storage_is_contiguous():
    data = RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    storage = learn_schema(data).encode(data)
    assert storage.is_contiguous()
    np.testing.assert_array_equal(storage.numpy(), data.transpose(0, 3, 1, 2))


def test_decode_rounds_and_clips():
    x = torch.tensor([[-0.2, 0.4999, 1.7]])
    up = torch.tensor([[0.3999, 0.6, 0.9999]])
    byte = learn_schema(np.array([[0, 255, 9], [70, 80, 90]], dtype=np.uint8))
    assert byte.decode(x).tolist() == [[0, 127, 255]]
    assert byte.decode(up).tolist() == [[102, 153, 255]]
    flag = learn_schema(np.array([[True, False, True], [False, True, True]]))
    assert flag.decode(x).tolist() == [[False, False, True]]
    binary = learn_schema(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))
    assert binary.decode(x).tolist() == [[0.0, 0.0, 1.0]]
    np.testing.assert_allclose(binary.decode(x, snap=False), [[0.0, 0.4999, 1.0]])
    assert flag.decode(x, snap=False).dtype == bool
    integers = learn_schema(np.array([[0, 100, -7], [120, 3, 4]], dtype=np.int8))
    assert integers.decode(torch.tensor([[9.0, 0.0, -99.0]])).tolist() == [[127, 52, -128]]


def test_decode_of_large_integers_does_not_wrap():
    data = np.array([[0], [2**63 - 1]], dtype=np.int64)
    schema = learn_schema(data)
    assert schema.decode(torch.tensor([[50.0]], dtype=torch.float64))[0, 0] > 2**62


def test_decode_keeps_leading_dimensions():
    data = RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    schema = learn_schema(data)
    x = schema.to_model(schema.encode(data))
    both = schema.decode(torch.stack([x, x]))
    assert both.shape == (2, 5, 6, 4, 3)
    np.testing.assert_array_equal(both[1], data)


def test_a_frame_takes_all_leading_dimensions_as_rows():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]})
    schema = learn_schema(frame)
    assert len(schema.decode(torch.zeros(3, 4, 2))) == 12


def test_pictures_are_bytes_for_people():
    colour = RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    schema = learn_schema(colour)
    np.testing.assert_array_equal(schema.pictures(schema.to_model(schema.encode(colour))), colour)
    real = np.array([[[-3.0, 5.0]], [[1.0, 1.0]]])
    schema = learn_schema(real)
    assert schema.pictures(schema.encode(real)).tolist() == [[[0, 255]], [[128, 128]]]


def test_masks():
    data = RNG.normal(size=(4, 5, 6, 3))
    schema = learn_schema(data)
    mask = RNG.random((4, 5, 6)) < 0.5
    for given_mask in (mask, torch.from_numpy(mask), mask.astype(np.uint8), np.repeat(mask[..., None], 3, -1)):
        encoded = schema.encode_mask(given_mask)
        assert encoded.dtype == torch.bool
        assert encoded.shape == (4, 3, 5, 6)
        np.testing.assert_array_equal(encoded[:, 1].numpy(), mask)
    assert schema.encode_mask(mask[0]).shape == (1, 3, 5, 6)
    rows = learn_schema(pd.DataFrame(RNG.normal(size=(4, 2)), columns=["a", "b"]))
    assert rows.encode_mask(pd.DataFrame({"b": [1, 0], "a": [0, 0]})).tolist() == [[False, True], [False, False]]


def test_holes_are_filled_and_marked():
    data = np.array([[1.0, 10.0], [3.0, 30.0]])
    schema = learn_schema(data)
    storage, mask = schema.encode_observed(np.array([[np.nan, 30.0]]))
    assert storage.tolist() == [[0.0, 1.0]]
    assert mask.tolist() == [[False, True]]
    levels = learn_schema(RNG.integers(0, 17, (9, 8, 8)).astype(np.float64))
    image = np.full((1, 8, 8), 16.0)
    image[0, 2, 3] = np.nan
    storage, mask = levels.encode_observed(image)
    assert storage.dtype == torch.uint8
    assert [storage[0, 0, 2, 3], storage[0, 0, 0, 0], mask.sum()] == [0, 16, 63]


def test_holes_of_a_frame():
    frame = pd.DataFrame({"a": [1.0, 3.0], "b": pd.array([10, 30], "Int64")})
    schema = learn_schema(frame)
    storage, mask = schema.encode_observed(pd.DataFrame({"a": [1.0], "b": pd.array([None], "Int64")}))
    assert mask.tolist() == [[True, False]]
    assert storage.tolist() == [[-1.0, 0.0]]
