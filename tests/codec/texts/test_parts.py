"""Counts of what followed contexts, by hand; what the network is told; texts in lanes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from latentkit.codec.exact import exact_arithmetic
from latentkit.codec.texts import lanes as laying
from latentkit.codec.texts.chances import INPUTS, N_INPUTS, PRECISION, BitChances, features
from latentkit.codec.texts.coder import bit_counts
from latentkit.codec.texts.histories import N_CONTEXTS, Histories
from latentkit.codec.texts.index import TextIndex, keys_of
from latentkit.codec.texts.lanes import Lanes, most_rows
from tests.codec.texts.hand_made import network, sentences


def contexts_of(before: bytes) -> list[object]:
    """The last 1 to 6 bytes, the word so far, and it with the word before, of one lane of text."""
    words, word = [b""], b""
    for byte in before.lower():
        if (chr(byte).isalnum() and byte < 128) or byte >= 128:
            word += bytes([byte])
        elif word:
            words, word = [*words, word], b""
    whole = b"\0" * 6 + b"\n" + before
    return [*(whole[-n:] for n in range(1, 7)), word, (word, words[-1])]


def test_counts_are_those_of_counting() -> None:
    text = sentences(9, seed=4) + b"\xc3\x9cber\xff 7a7\n"  # one lane
    keys, symbols = keys_of(text)
    told = [contexts_of(text[:place]) for place in range(len(text))]
    places = np.arange(0, len(text), 5)
    for level, (zeros, ones, known) in enumerate(
        bit_counts(TextIndex(keys, symbols), keys[:, places], symbols[places])
    ):
        assert (known == (256 | symbols[places].astype(int)) >> (8 - level)).all()
        for row, place in enumerate(places):
            for context in range(N_CONTEXTS):
                like = [
                    byte
                    for byte, other in zip(text, told, strict=True)
                    if other[context] == told[place][context] and (256 | byte) >> (8 - level) == known[row]
                ]
                n_ones = sum(byte >> (7 - level) & 1 for byte in like)
                assert (zeros[row, context], ones[row, context]) == (len(like) - n_ones, n_ones)


def test_lanes_have_histories_of_their_own() -> None:
    both, alone = Histories(2), Histories(1)
    for symbols in (b"ax", b"b ", b"cy"):
        both.advance(np.frombuffer(symbols, np.uint8))
        alone.advance(np.frombuffer(symbols[:1], np.uint8))
    assert (both.keys()[:, :1] == alone.keys()).all()
    assert (both.keys()[:, 0] != both.keys()[:, 1]).all()


def test_an_index_of_nothing_counts_nothing() -> None:
    index = TextIndex(*keys_of(b""))
    low, high = index.ranges(Histories(3).keys())
    assert (low == high).all()


def test_features_are_logarithms_within_their_span() -> None:
    counts = np.array([0, 1, 2, 5, 100, 1023, 1024, 70_000, 1 << 21], np.int32)
    zeros, ones = (grid.reshape(-1, 1).repeat(N_CONTEXTS, 1) for grid in np.meshgrid(counts, counts))
    told, odds = features(zeros, ones, np.full(len(zeros), 5))
    assert told.shape == (len(zeros), N_INPUTS)
    assert INPUTS.low <= told.min()
    assert told.max() <= INPUTS.high
    expected = np.log(2 * ones + 1) - np.log(2 * zeros + 1)
    few = zeros + ones < 1024
    assert np.abs(odds / 256 - expected)[few].max() < 1 / 256
    assert np.abs(odds / 256 - expected)[~few & (zeros == ones)].max() == 0.0
    assert np.abs(odds / 256 - expected)[np.minimum(zeros, ones) > 1000].max() < 0.7, "halves of rare ones are lost"
    totals = told[:, N_CONTEXTS] / 8 - np.log(2 * (zeros + ones)[:, 0] + 1)
    assert totals.min() > -0.3
    assert totals.max() < 0.05
    node = told[0, 3 * N_CONTEXTS :]
    assert node.nonzero()[0].tolist() == [2, 8, 9], "5 is a one, and two bits behind it"
    assert node[[8, 9]].tolist() == [-64, 64]


def test_a_chance_is_the_logistic_of_the_weighed_log_odds() -> None:
    zeros = np.array([[0] * 8, [3] * 8, [2000] * 8], np.int32)
    ones = np.array([[0] * 8, [1] * 8, [0] * 8], np.int32)
    with exact_arithmetic():
        splits = BitChances(network(64)).splits(zeros, ones, np.ones(3, np.int64))
    expected = [0.5, 1 / (1 + math.exp(0.25 * 8 * math.log(3 / 7)))]
    assert splits[:2] / (1 << PRECISION) == pytest.approx(expected, rel=0.01)
    assert splits[2] <= (1 << PRECISION) - 1


def test_lanes_begin_with_lines_where_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laying, "_OF_A_LANE", 8)
    lanes = Lanes.of(b"abc\nde\nfghi\nj\nklmnopq\n")
    assert (lanes.n_lines, lanes.lengths.tolist()) == (5, [12, 10])
    assert lanes.text() == b"abc\nde\nfghi\nj\nklmnopq\n"
    for text in (b"abc\nde\nfghi\nj\nklmnopq", b"a\n" * 3 + b"b" * 40 + b"\n"):
        uneven = Lanes.of(text)
        assert uneven.n_lines == 0
        assert np.ptp(uneven.lengths) <= 1
        assert uneven.text() == text
        assert len(uneven.rows) == most_rows(len(text), are_lines=False)
