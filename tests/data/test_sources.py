"""Reading files, standard input and what ships with scikit-learn."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from latentkit.core.errors import DataError, InvalidParameterError, UnreadableDataError
from latentkit.data import learn_schema, read
from latentkit.data.containers import to_array

RNG = np.random.default_rng(0)


def npz(path, **members):
    np.savez(path, **members)
    return path


def idx(array):
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = bytes([0, 0, codes[str(array.dtype)], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


# Arrays


def test_npy(tmp_path):
    data = RNG.normal(size=(5, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", data)
    dataset = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(dataset.data, data)
    assert (dataset.kind, dataset.n, dataset.source) == ("rows", 5, str(tmp_path / "a.npy"))
    np.save(tmp_path / "b.npy", np.zeros((5, 4, 4)))
    assert read(str(tmp_path / "b.npy")).kind == "images"


def test_files_are_known_by_content_too(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.dat")
    np.testing.assert_array_equal(read(tmp_path / "a.dat").data, np.eye(3))
    npz(tmp_path / "b.npz", x=np.eye(4)).rename(tmp_path / "plain")
    assert read(tmp_path / "plain").n == 4
    parquet.write_table(pa.table({"a": [1, 2]}), tmp_path / "c")
    assert read(tmp_path / "c").n == 2


@pytest.mark.parametrize(
    ("members", "data", "labels"),
    [
        ({"x_train": (9, 4), "y_train": (9,), "x_test": (3, 4), "y_test": (3,)}, "x_train", "y_train"),
        ({"X": (9, 4), "y": (9,)}, "X", "y"),
        ({"x": (9, 4), "y": (3,)}, "x", None),
        ({"data": (9, 4), "target": (9,)}, "data", "target"),
        ({"images": (9, 4, 4), "labels": (9,)}, "images", "labels"),
        ({"other": (9, 4), "small": (2, 2), "labels": (9,)}, "other", "labels"),
    ],
)
def test_usual_names_in_archives(tmp_path, members, data, labels):
    arrays = {name: RNG.integers(0, 5, shape) for name, shape in members.items()}
    dataset = read(npz(tmp_path / "a.npz", **arrays))
    np.testing.assert_array_equal(dataset.data, arrays[data])
    assert f"data are the member {data!r}" in dataset.notes[0]
    if labels is None:
        assert dataset.labels is None
    else:
        assert dataset.labels.tolist() == arrays[labels].tolist()
        assert f"labels {labels!r}" in dataset.notes[0]
    for other in set(members) - {data, labels}:
        assert other in dataset.notes[0]
    assert (data == "other") == any("the largest was taken" in note for note in dataset.notes)


def test_archive_members_by_name(tmp_path):
    path = npz(tmp_path / "a.npz", x_train=np.eye(4), x_test=np.eye(3), y_test=np.array(list("aba")), kind=np.arange(3))
    dataset = read(path, array="x_test")
    assert dataset.labels.tolist() == [0, 1, 0]
    assert dataset.label_names == ("a", "b")
    assert read(path, array="x_test", labels="kind").labels.tolist() == [0, 1, 2]
    with pytest.raises(
        InvalidParameterError, match=r"no array 'x_tset'; choose one of: x_train.*Did you mean 'x_test'\?"
    ):
        read(path, array="x_tset")
    with pytest.raises(InvalidParameterError, match="no array 'z' for the labels"):
        read(path, labels="z")
    with pytest.raises(DataError, match=r"4 examples need 4 labels, one each; got labels of shape \(3,\)"):
        read(path, labels="kind")


def test_packed_bits_are_unpacked_only_when_named(tmp_path):
    bits = RNG.integers(0, 2, (6, 24), dtype=np.uint8)
    path = npz(tmp_path / "a.npz", train_packed=np.packbits(bits, axis=1), more=np.zeros((1, 2)))
    with pytest.raises(DataError, match="'train_packed' holds packed bits. Name it.*array='train_packed'"):
        read(path)
    dataset = read(path, array="train_packed")
    np.testing.assert_array_equal(dataset.data, bits)
    assert "(6, 3) bytes became (6, 24) values" in dataset.notes[-1]
    assert read(path, array="train_packed:raw").data.shape == (6, 3)
    other = npz(tmp_path / "b.npz", bits=np.packbits(bits, axis=1), floats=np.zeros((1, 2)))
    np.testing.assert_array_equal(read(other, array="bits:unpackbits").data, bits)
    with pytest.raises(InvalidParameterError, match=r"only 'unpackbits' or 'raw'.*Did you mean 'unpackbits'\?"):
        read(other, array="bits:unpackbit")
    with pytest.raises(DataError, match="'floats' has dtype float64, and packed bits have uint8"):
        read(other, array="floats:unpackbits")


def test_archives_without_data(tmp_path):
    with pytest.raises(DataError, match=r"no array of numbers with 2 or more dimensions.*it holds: a \(3,\) int64"):
        read(npz(tmp_path / "a.npz", a=np.arange(3)))
    np.savez(tmp_path / "b.npz")
    with pytest.raises(DataError, match="it holds: nothing"):
        read(tmp_path / "b.npz")


class _Trap:
    """What a hostile file would hold: reading it would call this."""

    called = False

    def __reduce__(self):
        return (setattr, (_Trap, "called", True))


def test_python_objects_are_never_read(tmp_path):
    hostile = np.empty((2, 2), object)
    hostile.fill(_Trap())
    np.save(tmp_path / "a.npy", hostile, allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=hostile)
    for name in ("a.npy", "b.npz"):
        with pytest.raises(
            UnreadableDataError, match="holds Python objects, which are not read, since they could run code"
        ):
            read(tmp_path / name)
    assert not _Trap.called


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_truncated_arrays(tmp_path, ending, part):
    path = tmp_path / f"a.{ending}"
    if ending == "npy":
        np.save(path, RNG.normal(size=(50, 4)))
    else:
        npz(path, x=RNG.normal(size=(50, 4)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(UnreadableDataError, match=rf"a\.{ending}: the file is damaged or of another format"):
        read(path)


def test_a_damaged_member(tmp_path):
    path = npz(tmp_path / "a.npz", x=RNG.normal(size=(50, 40)))
    content = bytearray(path.read_bytes())
    content[8000] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(UnreadableDataError, match="damaged"):
        read(path)


def test_vectors_are_no_data(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(4))
    with pytest.raises(DataError, match=r"the array has shape \(4,\).*Reshape your data"):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([["x", "y"]]))
    with pytest.raises(DataError, match=r"b\.npy: numbers are needed, but row 0, column 0 .* holds 'x'"):
        read(tmp_path / "b.npy")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("name", ["images.idx", "train-images-idx3-ubyte", "images-idx3-ubyte.gz", "pictures"])
def test_idx(tmp_path, dtype, name):
    array = (RNG.normal(size=(4, 3, 2)) * 50).astype(dtype)
    content = idx(array)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    dataset = read(tmp_path / name)
    np.testing.assert_array_equal(dataset.data, array)
    assert dataset.data.dtype == dtype
    learn_schema(dataset)


def test_idx_labels_beside_the_images(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((4, 3, 2), np.uint8))))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([3, 1, 0, 2], np.uint8))))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    assert read(path).labels.tolist() == [3, 1, 0, 2]
    assert read(path, labels=tmp_path / "train-labels-idx1-ubyte.gz").labels.tolist() == [3, 1, 0, 2]


def test_damaged_idx(tmp_path):
    content = idx(np.zeros((4, 3, 2), np.uint8))
    path = tmp_path / "a.idx"
    for broken, message in (
        (content[:-1], r"the idx file is damaged: 39 bytes, and 40 are needed for shape \(4, 3, 2\)"),
        (content + b"x", "41 bytes, and 40 are needed"),
        (content[:7], "is damaged: 7 bytes, and 16 are needed"),
        (b"\1\2\3\4", r"not an idx file; it begins with b'\\x01"),
        (gzip.compress(content)[:20], "damaged"),
    ):
        path.write_bytes(broken)
        with pytest.raises(UnreadableDataError, match=message):
            read(path)


# Tables


TABLE = pd.DataFrame({"a": [1.5, 2.5, -3.0], "b": [1, 2, 3], "flag": [True, False, True]})


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.csv.gz", "a.csv.bz2", "a.parquet", "a.pq", "a.jsonl", "a.ndjson"]
)
def test_tables(tmp_path, name):
    path = tmp_path / name
    if "parquet" in name or "pq" in name:
        TABLE.to_parquet(path)
    elif "json" in name:
        TABLE.to_json(path, orient="records", lines=True)
    else:
        TABLE.to_csv(path, sep="\t" if "tsv" in name else ",", index=False)
    dataset = read(path)
    assert isinstance(dataset.data, pa.Table)
    assert dataset.data.column_names == ["a", "b", "flag"]
    np.testing.assert_array_equal(to_array(dataset.data), TABLE.to_numpy(float))
    schema = learn_schema(dataset)
    assert schema.decode(schema.to_model(schema.encode(dataset.data))).schema.types == [
        pa.float64(),
        pa.int64(),
        pa.bool_(),
    ]


def test_the_index_of_pandas_is_left_out(tmp_path):
    TABLE.set_index(pd.Index([7, 9, 4])).to_parquet(tmp_path / "a.parquet")
    dataset = read(tmp_path / "a.parquet")
    assert dataset.data.column_names == ["a", "b", "flag"]
    assert "the index that pandas had stored was left out" in dataset.notes


def test_a_column_can_hold_the_labels(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,kind\n1,2,cat\n3,4,dog\n5,6,cat\n")
    dataset = read(tmp_path / "a.csv", labels="kind")
    assert dataset.data.column_names == ["x", "y"]
    assert dataset.labels.tolist() == [0, 1, 0]
    assert dataset.label_names == ("cat", "dog")
    with pytest.raises(
        InvalidParameterError, match=r"no column 'kin' for the labels; choose one of: x, y, kind.*Did you mean"
    ):
        read(tmp_path / "a.csv", labels="kin")
    assert read(tmp_path / "a.csv", labels="kind").notes == (
        "column 'kind' holds the labels and is left out of the data",
    )
    (tmp_path / "labels.txt").write_text("1\n2\n1\n")
    (tmp_path / "b.csv").write_text("x,y\n1,2\n3,4\n5,6\n")
    assert read(tmp_path / "b.csv", labels=str(tmp_path / "labels.txt")).labels.tolist() == [1, 2, 1]


def test_labels_from_other_files(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(3))
    np.save(tmp_path / "y.npy", np.array([[2.0], [1.0], [2.0]]))
    dataset = read(tmp_path / "x.npy", labels=tmp_path / "y.npy")
    assert dataset.labels.tolist() == [2, 1, 2]
    assert dataset.label_names is None
    with pytest.raises(InvalidParameterError, match=r"labels='nowhere': there is no such file.*one label a line"):
        read(tmp_path / "x.npy", labels="nowhere")


def test_text_in_a_table_names_file_column_row_and_value(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,many\n5,6\n")
    with pytest.raises(
        DataError,
        match=r"a\.csv: numbers are needed, but column 1 \('y'\) holds text: row 1 \(counted from 0\) is 'many'",
    ):
        read(tmp_path / "a.csv", tables="numbers")


def test_missing_cells_are_placed(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n,4\n5,6\n")
    with pytest.raises(DataError, match=r"a\.csv: the data contain 1 NaN.*row 1, column 0 \('x'\)"):
        learn_schema(read(tmp_path / "a.csv", tables="numbers"), kind="rows")


def test_tables_without_header_or_with_other_separators(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    dataset = read(tmp_path / "a.csv")
    assert dataset.data.column_names == ["column_0", "column_1"]
    assert dataset.n == 2
    assert "there is no header line" in dataset.notes[0]
    (tmp_path / "b.csv").write_text("\ufeffx;y\n1;2\n3;4\n", encoding="utf-8")
    dataset = read(tmp_path / "b.csv")
    assert dataset.data.column_names == ["x", "y"]
    assert "columns are separated by ';'" in dataset.notes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\n\n", r"the .csv file cannot be read \(it is empty\)"),
        ("a.csv", b"x,y\n", "the table has no rows"),
        ("a.csv", b"x,x\n1,2\n", "several columns are named 'x'; rename them"),
        ("a.csv", b"x,y\n1,2\n3\n", "cannot be read.*Expected 2 columns, got 1"),
        ("a.parquet", b"PAR1 not really", "the .parquet file cannot be read"),
        ("a.jsonl", b'{"a": 1}\n{"a": ', r"a.jsonl, line 2: it is no JSON"),
        ("a.txt", b"a line\n\nanother\n", "line 2 is empty"),
        ("a.xyz", b"something", r"the format of this file is not known. Give a folder of images, or one of: .npy"),
    ],
)
def test_files_that_are_no_tables(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableDataError, match=message):
        read(tmp_path / name, tables="numbers")


# Other sources


def test_no_such_file_suggests_a_neighbour(tmp_path):
    np.save(tmp_path / "photos.npy", np.eye(2))
    with pytest.raises(UnreadableDataError, match=r"no such file or folder.*Did you mean 'photos.npy'\?"):
        read(tmp_path / "photo.npy")
    with pytest.raises(
        UnreadableDataError, match=r"nor a built-in data set of this name \(digits, .*Did you mean 'digits'\?"
    ):
        read("digts")
    with pytest.raises(UnreadableDataError, match=f"Nor is there a folder {tmp_path / 'absent'}"):
        read(tmp_path / "absent" / "a.npy")


def test_a_file_of_a_built_in_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.eye(2))
    (tmp_path / "a.npy").rename("digits")
    assert read("digits").n == 2


def test_array_is_for_archives_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2))
    for source in (tmp_path / "a.npy", "digits"):
        with pytest.raises(InvalidParameterError, match="array='x' chooses a member of a .npz, and this is none"):
            read(source, array="x")


@pytest.mark.parametrize(
    ("name", "n", "d", "classes"),
    [
        ("breast_cancer", 569, 30, 2),
        ("wine", 178, 13, 3),
        ("iris", 150, 4, 3),
        ("diabetes", 442, 10, None),
        ("linnerud", 20, 3, None),
    ],
)
def test_built_in_tables(name, n, d, classes):
    dataset = read(name)
    assert isinstance(dataset.data, pd.DataFrame)
    assert dataset.data.shape == (n, d)
    assert dataset.kind == "rows"
    assert dataset.source == f"{name} (scikit-learn)"
    if classes is None:
        assert dataset.labels is None
        assert "measurements, not classes" in dataset.notes[0]
    else:
        assert len(dataset.label_names) == classes == dataset.labels.max() + 1
    learn_schema(dataset)


def test_built_in_tables_without_pandas(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(read("iris").data, np.ndarray)


def test_digits():
    dataset = read("digits")
    assert dataset.label_names == tuple("0123456789")
    schema = learn_schema(dataset)
    assert (schema.values, schema.n_levels, schema.event_shape) == ("unit", 17, (1, 8, 8))
    back = schema.decode(schema.to_model(schema.encode(dataset.data)))
    np.testing.assert_array_equal(back, dataset.data)
    assert back.dtype == np.float64


def standard_input(monkeypatch, content):
    class Stream:
        buffer = io.BytesIO(content)

    monkeypatch.setattr(sys, "stdin", Stream)


def test_standard_input(monkeypatch):
    buffer = io.BytesIO()
    np.save(buffer, np.eye(3))
    standard_input(monkeypatch, buffer.getvalue())
    np.testing.assert_array_equal(read("-").data, np.eye(3))
    buffer = io.BytesIO()
    np.savez(buffer, x=np.eye(3), y=np.arange(3))
    standard_input(monkeypatch, buffer.getvalue())
    assert read("-").labels.tolist() == [0, 1, 2]
    standard_input(monkeypatch, b"a,b,c\n1,2,x\n3,4,y\n")
    dataset = read("-", labels="c")
    assert (dataset.n, dataset.label_names, dataset.source) == (2, ("x", "y"), "standard input")
    standard_input(monkeypatch, b'{"a": 1}\n{"a": 2}\n')
    assert read("-").n == 2
    buffer = io.BytesIO()
    pl.DataFrame({"a": [1, 2, 3]}).write_parquet(buffer)
    standard_input(monkeypatch, buffer.getvalue())
    assert read("-").n == 3
    standard_input(monkeypatch, b"\n")
    with pytest.raises(UnreadableDataError, match="standard input: nothing came in"):
        read("-")


def test_a_schema_reads_files(tmp_path):
    TABLE.to_csv(tmp_path / "a.csv", index=False)
    schema = learn_schema(tmp_path / "a.csv")
    assert schema.encode(str(tmp_path / "a.csv")).shape == (3, 3)
    TABLE.drop(columns="b").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DataError, match=r"b\.csv: 1 of the 3 columns that the model was fitted on are missing"):
        schema.encode(tmp_path / "b.csv")


def test_bzip2_is_not_forgotten(tmp_path):
    (tmp_path / "a.csv.bz2").write_bytes(bz2.compress(b"a,b\n1,2\n"))
    assert read(tmp_path / "a.csv.bz2").data.column_names == ["a", "b"]
