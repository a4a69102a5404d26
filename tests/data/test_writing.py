"""Writing by the ending of the path, whole or not at all."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from PIL import Image

from latentkit.core.errors import DataError, InvalidParameterError, StorageError
from latentkit.data import image_grid, learn_schema, read, write
from latentkit.data.containers import to_array
from latentkit.data.pictures import to_image

RNG = np.random.default_rng(0)


def colour(n=5):
    return RNG.integers(0, 256, (n, 6, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("place", ["out/", "out"])
def test_a_folder_of_pictures_comes_back(tmp_path, place):
    data = colour()
    schema = learn_schema(data)
    paths = write(data, f"{tmp_path}/deep/{place}", schema=schema)
    assert [path.name for path in paths] == [f"{index:06d}.png" for index in range(5)]
    assert sorted((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "out"]
    np.testing.assert_array_equal(read(tmp_path / "deep" / "out").data, data)
    assert oct((tmp_path / "deep" / "out").stat().st_mode)[-3:] == oct((tmp_path / "deep").stat().st_mode)[-3:]


def test_a_folder_that_is_there_is_written_into(tmp_path):
    data = colour()
    write(data, tmp_path / "out")
    write(data[::-1], tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out").data, data[::-1])
    with pytest.raises(
        InvalidParameterError, match="holds 2 numbered images besides the 3 to be written, such as 000003.png"
    ):
        write(data[:3], tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out").data, data[::-1])


def test_a_folder_is_whole_or_absent(tmp_path, monkeypatch):
    save, count = Image.Image.save, []

    def full(self, *arguments, **options):
        count.append(1)
        if len(count) == 3:
            raise OSError(28, "No space left on device")
        save(self, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(StorageError, match="No space left on device.*free some space"):
        write(colour(), tmp_path / "out/")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.csv", "a.parquet", "a.jsonl"])
def test_a_file_that_fails_leaves_the_old_one(tmp_path, name, monkeypatch):
    data = colour()
    [path] = write(data, tmp_path / name)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError):
        write(data[::-1], tmp_path / name)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_grid(tmp_path):
    data = colour(6)
    [path] = write(data, tmp_path / "grid.png", schema=learn_schema(data))
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (2 * 8 + 2, 3 * 9 + 2, 3)
    np.testing.assert_array_equal(pixels[10:16, 2:9], data[3])
    assert (pixels[8:10] == 255).all()


def test_grids():
    grey = RNG.integers(0, 255, (5, 4, 4), dtype=np.uint8)
    assert image_grid(grey, padding=0, columns=2).size == (8, 12)
    assert image_grid(grey, columns=99, padding=1).size == (26, 6)
    np.testing.assert_array_equal(np.asarray(image_grid(grey[:1])), grey[0])
    np.testing.assert_array_equal(np.asarray(image_grid(grey[:1, ..., None])), grey[0])
    for wrong in (grey.astype(float), grey[:0], grey[0]):
        with pytest.raises(DataError, match="a grid needs uint8 images"):
            image_grid(wrong)
    with pytest.raises(InvalidParameterError, match="columns must be an integer of at least 1"):
        image_grid(grey, columns=0)
    with pytest.raises(DataError, match="at most 4 channels"):
        to_image(np.zeros((4, 4, 5), np.uint8))


@pytest.mark.parametrize(
    "data",
    [
        RNG.random((4, 5, 6)) < 0.5,
        RNG.integers(0, 17, (4, 5, 6)).astype(float),
        RNG.normal(size=(4, 5, 6)),
        torch.rand(4, 3, 5, 6),
    ],
    ids=["bool", "levels", "real", "tensor"],
)
def test_images_of_any_values_become_pictures(tmp_path, data):
    schema = learn_schema(data)
    write(data, tmp_path / "out/", schema=schema)
    pixels = read(tmp_path / "out").data.astype(float)
    array = np.moveaxis(to_array(data), 1, -1) if isinstance(data, torch.Tensor) else np.asarray(data, float)
    low, high = (array.min(), array.max()) if schema.values == "real" else (0, array.max())
    high = 1 if isinstance(data, torch.Tensor) else high
    assert np.abs(pixels / 255 - (array - low) / (high - low)).max() <= 0.5 / 255 + 1e-6


def test_rows_that_are_pixels_become_pictures(tmp_path):
    data = RNG.integers(0, 256, (4, 30), dtype=np.uint8)
    write(data, tmp_path / "out/", schema=learn_schema(data, size=(5, 6)))
    np.testing.assert_array_equal(read(tmp_path / "out").data, data.reshape(4, 5, 6))


def test_rows_are_no_pictures(tmp_path):
    for name in ("a.png", "folder/"):
        with pytest.raises(DataError, match="rows of numbers cannot be written as pictures. Choose a table"):
            write(np.eye(3), f"{tmp_path}/{name}")
    assert list(tmp_path.iterdir()) == []


ENDINGS = [".csv", ".tsv", ".parquet", ".jsonl"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "pyarrow"])
def test_tables_come_back(tmp_path, ending, make):
    columns = {"a": [1.5, 0.1, -3e-9], "b": [1, 2, 3], "c": [True, False, True]}
    write(make(columns), tmp_path / f"a{ending}")
    back = read(tmp_path / f"a{ending}").data
    assert back.to_pydict() == columns


def test_the_index_of_a_frame_is_no_column(tmp_path):
    write(pd.DataFrame({"a": [1, 2]}, index=[5, 6]), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").data.column_names == ["a"]


@pytest.mark.parametrize("ending", [*ENDINGS, ".npy", ".npz"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8])
def test_arrays_come_back(tmp_path, ending, dtype):
    data = (RNG.normal(size=(6, 3)) * 10).astype(dtype)
    [path] = write(data, tmp_path / f"a{ending}")
    back = read(path).data
    np.testing.assert_array_equal(to_array(back).astype(dtype), data)
    if ending in ENDINGS:
        assert back.column_names == ["x_0", "x_1", "x_2"]
    else:
        assert back.dtype == dtype


def test_names_of_columns(tmp_path):
    frame = pd.DataFrame({"age": [1.0, 2.0], "height": [3.0, 5.0]})
    schema = learn_schema(frame)
    write(frame.to_numpy(), tmp_path / "a.csv", schema=schema)
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == '"age","height"'
    write(np.eye(2), tmp_path / "z.csv", names=["z_0", "z_1"])
    assert read(tmp_path / "z.csv").data.column_names == ["z_0", "z_1"]
    with pytest.raises(InvalidParameterError, match="a name for each of the 2 columns; got 1"):
        write(np.eye(2), tmp_path / "y.csv", names=["z"])
    write(np.zeros((2, 2, 2)), tmp_path / "p.csv")
    assert read(tmp_path / "p.csv").data.column_names == [f"pixel_{index}" for index in range(4)]


def test_places_that_cannot_be(tmp_path):
    with pytest.raises(
        InvalidParameterError, match=r"the ending '.cvs' is not known; choose one of: .png.*Did you mean '.csv'\?"
    ):
        write(np.eye(2), tmp_path / "a.cvs")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidParameterError, match="is a file. Choose another folder"):
        write(colour(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "x"
    with pytest.raises(StorageError, match="cannot write"):
        write(np.eye(2), tmp_path / "file" / "a.npy")
