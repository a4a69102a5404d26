"""Texts from files, and what is wrong with some."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from latentkit.core.errors import DataError, InvalidParameterError, UnreadableDataError
from latentkit.data import read

GOOD = "a cat\n狗 sat \n\u2028a\x0bb\n"


def _file(folder: Path, content: bytes, name: str = "t.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [GOOD, GOOD[:-1], GOOD + "\n\n", GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD],
    ids=["lines", "no-last-end", "blank-end", "crlf", "mark"],
)
def test_a_line_is_a_text(tmp_path: Path, content: str) -> None:
    dataset = read(_file(tmp_path, content.encode()))
    assert dataset.kind == "text"
    assert dataset.n == 3
    assert list(dataset.data) == GOOD.split("\n")[:-1]


def test_packed_lines(tmp_path: Path) -> None:
    assert read(_file(tmp_path, gzip.compress(GOOD.encode()), "t.txt.gz")).n == 3


def test_labels_stand_beside(tmp_path: Path) -> None:
    labels = _file(tmp_path, b"x\ny\nx\n", "labels.txt")
    dataset = read(_file(tmp_path, GOOD.encode()), labels=labels)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1, 0]
    assert dataset.label_names == ("x", "y")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\xffc\n", "line 2 is no UTF-8 .byte 0xff at place 1"),
        (b"a\n \nb\n", "line 2 is empty"),
        (b"\n\n", "is empty"),
        ("ab".encode("utf-16"), "UTF-16"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableDataError, match=message):
        read(_file(tmp_path, content))


def test_bad_lines_may_be_left_out_or_mended(tmp_path: Path) -> None:
    path = _file(tmp_path, b"a\nb\xffc\n\nd\n")
    skipped = read(path, bad_text="skip")
    assert list(skipped.data) == ["a", "d"]
    assert any("2 of 4 lines were left out" in note for note in skipped.notes)
    assert list(read(path, bad_text="replace").data) == ["a", "b\ufffdc", "", "d"]
    with pytest.raises(UnreadableDataError, match="no line is left"):
        read(_file(tmp_path, b"\xff\n"), bad_text="skip")
    with pytest.raises(InvalidParameterError, match="bad_text"):
        read(path, bad_text="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'title,kind\n"a, cat",x\n"a ""dog""",y\n'),
        ("t.tsv", 'title\tkind\na, cat\tx\na "dog"\ty\n'),
        ("t.jsonl", '{"title": "a, cat", "kind": "x"}\n{"title": "a \\"dog\\"", "kind": "y"}\n'),
    ],
)
def test_a_column_of_a_table(tmp_path: Path, name: str, content: str) -> None:
    path = _file(tmp_path, content.encode(), name)
    dataset = read(path, text="title", labels="kind")
    assert dataset.kind == "text"
    assert list(dataset.data) == ["a, cat", 'a "dog"']
    assert dataset.label_names == ("x", "y")
    assert dataset.reading == {"text": "title"}
    with pytest.raises(InvalidParameterError, match="no column 'titel'.*title"):
        read(path, text="titel")


def test_a_table_without_names(tmp_path: Path) -> None:
    dataset = read(_file(tmp_path, "狗很大\t3\n猫很小\t1\n".encode(), "t.tsv"), text="column_0", labels="column_1")
    assert list(dataset.data) == ["狗很大", "猫很小"]
    assert np.array_equal(dataset.labels, [1, 0])


def test_empty_cells_are_named_or_left_out(tmp_path: Path) -> None:
    path = _file(tmp_path, b"t,k\na,1\n,2\nb,3\n", "t.csv")
    with pytest.raises(UnreadableDataError, match="line 3, column 1 .'t'. is empty"):
        read(path, text="t")
    skipped = read(path, text="t", labels="k", bad_text="skip")
    assert list(skipped.data) == ["a", "b"]
    assert skipped.n == len(skipped.labels)  # type: ignore[arg-type]
    assert list(read(path, text="t", bad_text="replace").data) == ["a", "", "b"]


def test_numbers_are_no_texts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 't' holds 1, which is no text"):
        read(_file(tmp_path, b'{"t": 1}\n{"t": 2}\n', "t.jsonl"), text="t")


@pytest.mark.parametrize("name", ["t.txt", "t.npy"])
def test_only_tables_have_columns(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "t.npy", np.zeros((2, 2)))
    _file(tmp_path, b"a\nb\n")
    with pytest.raises(InvalidParameterError, match="names a column of a table"):
        read(tmp_path / name, text="t")
