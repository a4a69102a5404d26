"""Probabilities as whole numbers: what they add up to, what they cost, which symbol has a slot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latentkit.codec import FrequencyTables, integer_frequencies
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError

chances = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e6)).filter(lambda p: p.sum() > 0)


@given(p=chances, precision=st.integers(6, 32))
def test_frequencies_add_up_and_none_is_nothing(p: np.ndarray, precision: int) -> None:
    f = integer_frequencies(p, precision)
    assert f.sum() == 1 << precision
    assert f.min() >= 1
    due = p / p.sum() * (1 << precision)
    # nobody is farther off than its own rounding and its part of what the impossible ones take
    assert (np.abs(f - due) <= 1 + len(p)).all()


@pytest.mark.parametrize("n", [2, 16, 256])
def test_the_cost_of_rounding_is_small_where_there_is_room(n: int) -> None:
    p = np.random.default_rng(0).dirichlet(np.full(n, 0.3), 20)
    f = integer_frequencies(p, 24) / (1 << 24)
    extra = (p * np.log2(np.where(p > 0, p, 1) / f)).sum(1)
    assert (extra < 1e-4).all()


def test_what_is_left_over_goes_to_those_that_lost_most() -> None:
    assert integer_frequencies(np.array([0.48, 0.34, 0.18]), 3).tolist() == [4, 3, 1]  # 3.84, 2.72, 1.44
    assert integer_frequencies(np.array([0.05, 0.475, 0.475]), 3).tolist() == [1, 4, 3]  # 0.4, 3.8, 3.8


def test_what_is_all_but_certain_stays_so() -> None:
    p = np.array([1.0] + [0.0] * 255)
    assert integer_frequencies(p, 16).tolist() == [65_536 - 255] + [1] * 255
    assert integer_frequencies(np.array([1e-300, 0.0, 0.0]), 2).tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("p", "precision", "message"),
    [
        ([0.5, -0.1], 8, "at least 0"),
        ([0.0, 0.0], 8, "not all of a table 0"),
        ([np.nan, 1.0], 8, "finite"),
        ([np.inf, 1.0], 8, "finite"),
        ([0.2] * 5, 2, "5 symbols need 3 bits"),
        ([1.0], 33, "precision must be an integer"),
    ],
)
def test_probabilities_that_cannot_be_are_refused(p: list[float], precision: int, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        integer_frequencies(np.array(p), precision)


@pytest.mark.parametrize(("n_tables", "n", "precision"), [(1, 1, 1), (3, 2, 4), (4, 7, 8), (2, 256, 12), (5, 300, 24)])
def test_every_slot_has_its_symbol(n_tables: int, n: int, precision: int) -> None:
    random = np.random.default_rng(n)
    tables = FrequencyTables.of(random.dirichlet(np.full(n, 0.5), n_tables), precision)
    which = random.integers(0, n_tables, 500)
    slots = random.integers(0, 1 << precision, 500)
    slots[:2] = 0, (1 << precision) - 1
    expected = [
        int(np.searchsorted(tables.starts[t], slot, side="right")) - 1 for t, slot in zip(which, slots, strict=True)
    ]
    symbols = tables.symbols(which, slots)
    assert symbols.tolist() == expected
    starts, frequencies = tables.intervals(which, symbols)
    assert ((starts <= slots) & (slots < starts + frequencies)).all()
    assert np.array_equal(FrequencyTables(tables.frequencies, precision).starts, tables.starts)


def test_bits_are_those_of_the_frequencies() -> None:
    tables = FrequencyTables(np.array([[8, 4, 4], [14, 1, 1]]), 4)
    assert tables.bits(np.array([0, 0, 1]), np.array([0, 1, 2])) == pytest.approx(1 + 2 + 4)


@pytest.mark.parametrize(
    ("frequencies", "precision"),
    [
        ([[3, 2]], 2),
        ([[4, 0]], 2),
        ([[5, -1]], 2),
        ([[2, 2], [3, 2]], 2),
        ([2, 2], 2),
        ([[2.0, 2.0]], 2),
        ([[]], 2),
        ([[2, 2]], 0),
        ([[2, 2]], 64),
        ([[1 << 62, 1 << 62, 1 << 62, 1 << 62, 4]], 2),  # add up to 4 in 64 bits
    ],
)
def test_tables_that_cannot_be_are_refused(frequencies: list, precision: int) -> None:
    with pytest.raises(DamagedArchiveError):
        FrequencyTables(np.array(frequencies), precision)


@given(n_tables=st.integers(1, 4), n=st.integers(3, 300), precision=st.integers(17, 32), seed=st.integers(0, 99))
def test_symbols_of_many_slots_are_those_that_have_them(n_tables: int, n: int, precision: int, seed: int) -> None:
    """Tables too large to look every slot up; some symbols have none."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(n, 0.02), n_tables)
    tables = FrequencyTables.of(shares, precision, least=0)
    which = random.integers(0, n_tables, 200)
    edges = tables.starts[which, random.integers(0, n + 1, 200)]
    for slots in (random.integers(0, 1 << precision, 200), edges.clip(0, (1 << precision) - 1), (edges - 1).clip(0)):
        due = [np.searchsorted(tables.starts[t], slot, side="right") - 1 for t, slot in zip(which, slots, strict=True)]
        assert tables.symbols(which, slots).tolist() == due
