"""What columns are is recognised: forms of numbers, words, frequent numbers; the rest is left to escapes."""

from __future__ import annotations

import numpy as np
import pytest

from latentkit.codec.rows.columns import Column, NumberFormat
from latentkit.tasks.compression.learnt_columns import learn_column, positions_and_groups


def drawn(n: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).normal(200, 40, n)


@pytest.mark.parametrize(
    ("write", "form"),
    [
        (lambda value: f"{value:.0f}", NumberFormat()),
        (lambda value: f"{value:.2f}", NumberFormat(decimals=2, least_decimals=2)),
        (lambda value: f"{round(float(value), 2)!r}", NumberFormat(decimals=2, least_decimals=1)),
        (lambda value: f"{value:.1f}".removesuffix(".0"), NumberFormat(decimals=1)),
        (lambda value: f"{value:.0f}.0", NumberFormat(suffix=b".0")),
        (lambda value: f'"{value:.0f}"', NumberFormat(prefix=b'"', suffix=b'"')),
        (lambda value: f" ${-value:.1f} ", NumberFormat(prefix=b" $", suffix=b" ", decimals=1, least_decimals=1)),
    ],
)
def test_the_form_of_numbers_is_recognised(write, form: NumberFormat) -> None:
    cells = [write(value).encode() for value in drawn()] + [b"", b"n/a", b"n/a", b"", b"", b"odd"]
    column = learn_column(cells)
    assert column.form == form
    assert list(column.words) == [b""], "n/a comes too rarely"
    symbols, _ = column.symbols(cells)
    assert (symbols == column.escape).sum() == 3


@pytest.mark.parametrize(
    "cells",
    [
        [b"red", b"green", b"blue"] * 40,
        [b"red"] * 50,
        [b"1"] * 50,
        [b"7", b"x", b"y", b"z"] * 30,
        [b"2021-01-05", b"2021-02-05", b"2022-01-05"] * 30,
        [b"1e5", b"2e5", b"3e-5"] * 30,
        [b"007", b"008", b"012"] * 30,
    ],
)
def test_what_is_no_number_is_words(cells: list[bytes]) -> None:
    column = learn_column(cells)
    assert column.n_bins == 0 or column.form.prefix
    symbols, offsets = column.symbols(cells)
    assert (symbols < column.escape).all()
    assert column.cells(symbols, offsets, iter([])) == cells


def test_texts_that_come_once_are_escapes() -> None:
    column = learn_column([b"%d of %d" % (n * n, n) for n in range(300)])
    assert (column.n_bins, list(column.words)) == (0, [])
    assert column.symbols([b"4 of 2"])[0].tolist() == [0]


def test_frequent_numbers_are_bins_of_their_own() -> None:
    random = np.random.default_rng(0)
    values = np.where(random.random(5000) < 0.3, 7000, random.integers(0, 100_000, 5000))
    column = learn_column([b"%d" % value for value in values])
    symbols, _ = column.symbols([b"7000", b"7001"])
    assert column.widths[symbols[0]] == 1
    assert column.widths[symbols[1]] > 100
    assert 20 < column.n_bins < 200


def test_numbers_beyond_those_seen_are_not_escapes() -> None:
    column = learn_column([b"%d" % value for value in drawn().round()])
    assert (column.symbols([b"5", b"400"])[0] < column.n_bins).all()
    assert column.symbols([b"5000"])[0] == column.escape


def test_positions_rise_and_groups_hold_about_as_much() -> None:
    cells = [b"%d" % value for value in (drawn(20_000) * 10).round()]
    column = learn_column([*cells, *[b"?"] * 50])
    counts = np.bincount(column.symbols([*cells, *[b"?"] * 50])[0], minlength=column.n_symbols)
    positions, groups = positions_and_groups(column, counts)
    assert (np.diff(positions[: column.n_bins]) > 0).all()
    middle = np.searchsorted(column.starts, 2000)
    assert abs(positions[middle]) < 40, "the median"
    assert positions[np.searchsorted(column.starts, 2400)] == pytest.approx(512, abs=60), (
        "a standard deviation above it"
    )
    assert (np.diff(groups) >= 0).all()
    assert (np.diff(groups) <= 1).all()
    assert groups[column.n_bins - 1] == 31
    assert groups[column.n_bins :].tolist() == [32, 33]
    assert positions[column.n_bins :].tolist() == [0, 0]


def test_words_are_groups_of_their_own() -> None:
    column = Column(NumberFormat(), np.zeros(0, np.int64), np.zeros(0, np.int64), [b"a", b"b"])
    positions, groups = positions_and_groups(column, np.array([5, 5, 0]))
    assert (positions.tolist(), groups.tolist()) == ([0, 0, 0], [0, 1, 2])
