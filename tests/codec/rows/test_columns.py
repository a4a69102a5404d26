"""Cells and symbols: every cell comes back as it was written, and numbers are written in one way only."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.codec.rows.columns import MOST_SYMBOLS, Column, NumberFormat
from latentkit.core.errors import DamagedArchiveError

FORMS = [
    NumberFormat(),
    NumberFormat(decimals=2),
    NumberFormat(decimals=3, least_decimals=1),
    NumberFormat(b'"$', b'%"', 2, 2),
]


@pytest.mark.parametrize("form", FORMS)
@given(value=st.integers(-(10**12), 10**12))
def test_numbers_are_read_as_they_are_written(form: NumberFormat, value: int) -> None:
    text = form.text(value)
    assert form.value(text) == value
    body = text[len(form.prefix) : len(text) - len(form.suffix)]
    assert Decimal(body.decode()) == Decimal(value).scaleb(-form.decimals)


@pytest.mark.parametrize("form", FORMS)
@given(text=st.one_of(st.binary(max_size=8), st.from_regex(rb"\A[ +-]?[0-9_]{0,4}\.?[0-9]{0,4}e?\Z")))
def test_what_is_written_in_another_way_is_no_number(form: NumberFormat, text: bytes) -> None:
    value = form.value(text)
    assert value is None or form.text(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"3.5", 3500), (b"-0.25", -250), (b"7.0", 7000), (b"0.001", 1), (b"7", None), (b"7.10", None), (b"7.0001", None)],
)
def test_by_hand(text: bytes, value: int | None) -> None:
    assert FORMS[2].value(text) == value


@pytest.mark.parametrize(
    "text", [b"", b"-", b"-0", b"00", b"01", b"+1", b" 1", b"1 ", b"1_0", b"1e3", b"1.", b"9" * 16, b"\xd9\xa1", b"nan"]
)
def test_these_are_no_whole_numbers(text: bytes) -> None:
    assert NumberFormat().value(text) is None


def test_cells_come_back() -> None:
    column = Column(FORMS[2], np.array([-5000, 0, 1, 2500]), np.array([1000, 1, 99, 10**9]), [b"", b"NA", b"-0.0"])
    cells = [b"-4.5", b"0.0", b"0.05", b"0.1", b"NA", b"", b"-0.0", b"x", b"7", b"1000.0", b"NA", b"x"]
    symbols, offsets = column.symbols(cells)
    assert symbols.tolist() == [0, 1, 2, 7, 5, 4, 6, 7, 7, 3, 5, 7]
    assert offsets.tolist() == [500, 0, 49, 0, 0, 0, 0, 0, 0, 997500, 0, 0]
    escaped = [cell for cell, symbol in zip(cells, symbols, strict=True) if symbol == column.escape]
    assert column.cells(symbols, offsets, iter(escaped)) == cells
    with pytest.raises(DamagedArchiveError, match="written in full are missing"):
        column.cells(symbols, offsets, iter(escaped[:-1]))


def test_a_column_of_words_alone() -> None:
    column = Column(NumberFormat(), np.zeros(0, np.int64), np.zeros(0, np.int64), [b"a", b"b"])
    symbols, offsets = column.symbols([b"b", b"1", b"a"])
    assert (symbols.tolist(), column.escape, column.n_symbols) == ([1, 2, 0], 2, 3)
    assert column.cells(symbols, offsets, iter([b"1"])) == [b"b", b"1", b"a"]
    assert column.symbols([])[0].tolist() == []


@pytest.mark.parametrize(
    ("form", "starts", "widths", "words", "message"),
    [
        (NumberFormat(), [0, 5], [6, 1], [], "overlap"),
        (NumberFormat(), [0], [0], [], "overlap"),
        (NumberFormat(), [0], [10**16], [], "overlap"),
        (NumberFormat(), [5, 0], [1, 1], [], "overlap"),
        (NumberFormat(), [10**16], [1], [], "are not numbers"),
        (NumberFormat(), [-(1 << 63)], [1], [], "are not numbers"),
        (NumberFormat(), [1, 2], [1], [], "are not numbers"),
        (NumberFormat(decimals=20), [0], [1], [], "cannot be written"),
        (NumberFormat(decimals=1, least_decimals=2), [0], [1], [], "cannot be written"),
        (NumberFormat(decimals=-1, least_decimals=-1), [0], [1], [], "cannot be written"),
        (NumberFormat(), [], [], [b"%d" % n for n in range(MOST_SYMBOLS)], "more than 4,096 symbols"),
    ],
)
def test_columns_that_cannot_be_are_refused(form, starts, widths, words, message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        Column(form, np.array(starts, np.int64), np.array(widths, np.int64), words)
