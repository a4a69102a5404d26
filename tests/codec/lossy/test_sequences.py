"""Symbols in lanes: they come back in their order; lanes cost little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentkit.codec import FrequencyTables
from latentkit.codec.lossy import SymbolReader, SymbolWriter
from latentkit.core.errors import DamagedArchiveError

DICE = FrequencyTables.of(np.random.default_rng(0).dirichlet(np.ones(6), 3), 12)
COIN = FrequencyTables(np.array([[1, 3]]), 2)


def drawn(seed: int, sizes: list[int]) -> list[tuple[FrequencyTables, np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    return [
        (tables, random.integers(0, len(tables.starts), n), random.integers(0, tables.n_symbols, n))
        for n, tables in zip(sizes, (DICE, COIN) * len(sizes), strict=False)
    ]


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(0, 300), max_size=4))
def test_symbols_come_back_in_their_order(seed: int, sizes: list[int]) -> None:
    writer, parts = SymbolWriter(), drawn(seed, sizes)
    for part in parts:
        writer.put(*part)
    reader = SymbolReader(*writer.finish())
    for tables, which, symbols in parts:
        assert np.array_equal(reader.take(tables, which), symbols)
    assert reader.is_done


@pytest.mark.parametrize(("n", "expected"), [(10, 1), (20_000, 8), (600_000, 256)])
def test_lanes_are_as_many_as_cost_little(n: int, expected: int) -> None:
    writer, random = SymbolWriter(), np.random.default_rng(0)
    symbols = random.choice(6, n, p=DICE.frequencies[0] / 4096)
    writer.put(DICE, np.zeros(n, np.int64), symbols)
    content, n_lanes = writer.finish()
    assert expected / 2 <= n_lanes <= expected
    assert 8 * len(content) < 1.01 * DICE.bits(np.zeros(n, np.int64), symbols) + 64


def test_a_reader_that_is_asked_for_more_says_so() -> None:
    writer = SymbolWriter()
    writer.put(DICE, np.zeros(9, np.int64), np.arange(9) % 6)
    reader = SymbolReader(*writer.finish())
    assert not reader.is_done
    with pytest.raises(DamagedArchiveError, match="ends before all that was written"):
        reader.take(DICE, np.zeros(999, np.int64))
