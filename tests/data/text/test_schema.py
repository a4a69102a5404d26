"""The schema of texts: tokens in rows, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentkit.core.errors import DataError, InvalidParameterError, LatentkitError, SchemaMismatchError
from latentkit.data import TextSchema, learn_text_schema, schema_from_description
from latentkit.data.text import are_texts

TEXTS = ["a cat sat", "a dog", "", "the dog sat on a log"]


@pytest.fixture
def words() -> TextSchema:
    return learn_text_schema(TEXTS, vocabulary="words")


def test_rows_end_with_the_end(words: TextSchema) -> None:
    storage = words.encode(TEXTS)
    assert storage.dtype == torch.int16
    assert storage.shape == (4, words.max_length) == (4, 7)
    assert words.lengths(storage).tolist() == [4, 3, 1, 7]
    assert (storage[:, -1] == 0).all()


def test_model_units_are_as_long_as_the_longest(words: TextSchema) -> None:
    storage = words.encode(TEXTS)
    assert words.to_model(storage[:2]).shape == (2, 4)
    assert words.to_model(storage[2:3]).tolist() == [[0]]
    assert words.to_model(storage).dtype == torch.int64
    assert words.decode(words.to_model(storage)) == TEXTS


def test_long_texts_are_cut_and_have_no_end() -> None:
    schema = learn_text_schema(TEXTS, vocabulary="words", max_length=3)
    assert schema.decode(schema.encode(["a cat sat on", "a dog"])) == ["a cat sat", "a dog"]
    assert schema.lengths(schema.encode(["a cat sat on", "a dog"])).tolist() == [3, 3]
    assert "longer than 3 tokens: 2 of the texts" in schema.notes[1]


@pytest.mark.parametrize(
    "data",
    [TEXTS, tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), pd.Series(TEXTS, name="t"), pl.Series("t", TEXTS)],
    ids=["list", "tuple", "array", "objects", "pandas", "polars"],
)
def test_texts_come_back_in_their_container(data: Any) -> None:
    schema = learn_text_schema(data, vocabulary="subwords")
    again = schema.decode(schema.encode(data))
    assert list(again) == TEXTS
    assert isinstance(again, list if isinstance(data, tuple) else type(data))
    assert getattr(again, "name", "t") == "t"
    assert schema_from_description(json.loads(json.dumps(schema.describe()))).describe() == schema.describe()


def test_many_tokens_take_more_room() -> None:
    schema = learn_text_schema(["w1 w2"] * 2, vocabulary=[*(f"w{i}" for i in range(40_000)), "<unk>"])
    assert schema.encode(["w39999"]).dtype == torch.int32
    assert schema.decode(schema.encode(["w39999"])) == ["w39999"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["a", None], "row 1 .counted from 0. holds None"),
        (["a", 3.5], "row 1 .counted from 0. holds 3.5"),
        ([], "there are no texts"),
        (["one"], "at least 2 texts"),
        (["a", "\ud800"], "row 1 .counted from 0. holds half of a pair"),
        ("neither", "there is no such file"),
    ],
)
def test_what_is_no_text_is_refused(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        learn_text_schema(data)


def test_words_and_their_number_exclude_each_other() -> None:
    with pytest.raises(InvalidParameterError, match="n_tokens=5"):
        learn_text_schema(TEXTS, vocabulary=["a", "<unk>"], n_tokens=5)


def test_words_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("<unk>\na\ncat\nsat\n", encoding="utf-8")
    for vocabulary in (file, str(file)):
        schema = learn_text_schema(["a cat sat", "a dog sat"], vocabulary=vocabulary)
        assert schema.decode(schema.encode(["a dog sat"])) == ["a <unk> sat"]
        assert "16.7% of the words are not known: <unk>" in schema.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "vocab.txt'?: there is no such file"),
        (b"a\ncat\n", "'<unk>' is not among them"),
        (b"<unk>\na\na cat\n", "'a cat' is empty or holds a blank"),
        (b"<unk>\na\na\n", "'a' is there twice"),
        (b"<unk>\n\na\n", "vocab.txt, line 2 is empty"),
        (b"<unk>\n\xff\n", "vocab.txt, line 2 is no UTF-8"),
        (b"<unk>\nle\nchat\n", "the vocabulary does not fit: .* not 'a'"),
    ],
)
def test_vocabulary_files_that_do_not_fit(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "vocab.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LatentkitError, match=message):
        learn_text_schema(["a cat sat", "a dog sat"], vocabulary=str(file))


def test_other_numbers_are_no_tokens(words: TextSchema) -> None:
    for x in (torch.tensor([[99]]), torch.tensor([[-1]]), torch.tensor([1])):
        with pytest.raises(SchemaMismatchError, match="tokens from 0 to"):
            words.decode(x)


def test_a_file_is_as_good_as_its_lines(words: TextSchema, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("a cat\nthe dog\n", encoding="utf-8")
    assert torch.equal(words.encode(path), words.encode(["a cat", "the dog"]))
    assert learn_text_schema(path).n_examples == 2


def test_texts_are_told_from_numbers() -> None:
    assert are_texts(pd.Series(["a", "b"]))
    assert not any(are_texts(data) for data in ("a", [], [1, 2], [["a"]], ["1", "2.5"], np.array([["a"]]), 3))
