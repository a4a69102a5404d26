"""Mixtures in whole numbers: distributions whatever a network gives, near the true ones, found by their slots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.codec import FrequencyTables, MixtureTables
from latentkit.codec.mixtures import LEVELS_PER_NAT, LOGITS_PER_NAT, MEANS_PER_SYMBOL, TABLE_BITS
from latentkit.core.errors import DamagedArchiveError

WHOLE = 1 << 27


def tables(n_tables: int, n_symbols: int = 256, seed: int = 0) -> FrequencyTables:
    shares = np.random.default_rng(seed).dirichlet(np.full(n_symbols, 0.2), n_tables)
    return FrequencyTables.of(shares, TABLE_BITS, least=0)


def outputs(mixtures: MixtureTables, n: int, seed: int = 0, scale: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    logits = random.integers(-200 * scale, 100 * scale, (n, mixtures.n_tables + mixtures.n_logistics))
    means = random.integers(-500 * scale, 4600 * scale, (n, mixtures.n_logistics))
    levels = random.integers(-30 * scale, 60 * scale, (n, mixtures.n_logistics))
    return np.concatenate([logits, means, levels], 1)


def cumulated(mixtures: MixtureTables, given: np.ndarray) -> np.ndarray:
    """F at each symbol, shape (n, symbols + 1)."""
    found = mixtures.of(given)
    starts = [mixtures.intervals(found, np.full(len(given), s))[0] for s in range(mixtures.n_symbols)]
    return np.stack([*starts, np.full(len(given), WHOLE)], 1).astype(np.int64)


@given(
    n_tables=st.integers(1, 20),
    n_logistics=st.integers(0, 6),
    bits=st.integers(4, 9),
    scale=st.sampled_from([1, 40, 1 << 20]),
    seed=st.integers(0, 100),
)
def test_every_symbol_has_slots_and_all_slots_are_taken(
    n_tables: int, n_logistics: int, bits: int, scale: int, seed: int
) -> None:
    """Whatever whole numbers a network gives, also those far beyond what makes sense."""
    mixtures = MixtureTables(tables(n_tables, 1 << bits, seed), n_logistics=n_logistics)
    assert mixtures.precision == 27
    assert mixtures.n_outputs == n_tables + 3 * n_logistics
    below = cumulated(mixtures, outputs(mixtures, 5, seed, scale))
    assert (below[:, 0] == 0).all()
    assert np.diff(below, axis=1).min() >= (1 << TABLE_BITS) // mixtures.n_symbols


@given(n_logistics=st.integers(0, 4), bits=st.integers(4, 9), seed=st.integers(0, 100))
def test_a_slot_gives_the_symbol_that_has_it(n_logistics: int, bits: int, seed: int) -> None:
    mixtures = MixtureTables(tables(6, 1 << bits, seed), n_logistics=n_logistics)
    given = outputs(mixtures, 60, seed)
    below = cumulated(mixtures, given)
    random = np.random.default_rng(seed)
    drawn = random.integers(0, mixtures.n_symbols, 60)
    each = np.arange(60)
    slots = np.where(random.random(60) < 0.5, below[each, drawn], below[each, drawn + 1] - 1)
    slots[:10] = random.integers(0, WHOLE, 10)
    symbols, starts, frequencies = mixtures.symbols(mixtures.of(given), slots)
    expected = (below <= slots[:, None]).sum(1) - 1
    assert symbols.tolist() == expected.tolist()
    assert starts.tolist() == below[each, expected].tolist()
    assert (starts + frequencies).tolist() == below[each, expected + 1].tolist()


def test_probabilities_are_those_of_the_mixture() -> None:
    """Against the formula in floating-point numbers."""
    own = tables(5)
    mixtures = MixtureTables(own, n_logistics=3)
    given = outputs(mixtures, 200)
    given[:, -3:] = given[:, -3:].clip(0, 30)
    logits, means, levels = np.split(given.astype(float), [8, 11], axis=1)
    weights = np.exp((logits - logits.max(1, keepdims=True)) / LOGITS_PER_NAT)
    weights /= weights.sum(1, keepdims=True)
    edges = np.arange(257) - 0.5
    scales = np.exp(levels / LEVELS_PER_NAT)
    heights = 1 / (1 + np.exp(-(edges - means[:, :, None] / MEANS_PER_SYMBOL) / scales[:, :, None]))
    heights[:, :, 0], heights[:, :, -1] = 0.0, 1.0
    learnt = own.frequencies / (1 << TABLE_BITS)
    true = weights[:, :5] @ learnt + np.einsum("nj,njs->ns", weights[:, 5:], np.diff(heights, axis=2))
    found = np.diff(cumulated(mixtures, given), axis=1) / WHOLE
    assert np.abs(found - true).max() < 2e-3
    divergence = (true * np.log2(np.maximum(true, 1e-12) / found)).sum(1)
    assert divergence.mean() < 1e-3, "bits a symbol that rounding costs"


def test_a_weight_far_below_the_largest_is_none() -> None:
    mixtures = MixtureTables(tables(2), n_logistics=0)
    assert mixtures.of(np.array([[0, -16 * LOGITS_PER_NAT]])).weights.tolist() == [[8191], [0]]
    assert mixtures.of(np.array([[7, 7]])).weights.sum() == 8191


@pytest.mark.parametrize(("n_symbols", "precision"), [(8, 14), (24, 14), (1024, 14), (256, 16)])
def test_tables_of_another_kind_are_refused(n_symbols: int, precision: int) -> None:
    other = FrequencyTables.of(np.ones((1, n_symbols)), precision)
    with pytest.raises(DamagedArchiveError, match=f"tables of {n_symbols} symbols and precision {precision} make no"):
        MixtureTables(other, n_logistics=1)


def test_means_stand_where_they_are_said_to() -> None:
    mixtures = MixtureTables(tables(3), n_logistics=2)
    given = np.zeros((1, mixtures.n_outputs), np.int64)
    given[:, :3] = -10_000
    given[:, mixtures.means] = 100 * MEANS_PER_SYMBOL
    frequencies = np.diff(cumulated(mixtures, given), axis=1)[0]
    assert frequencies.argmax() == 100
    assert frequencies[99] == pytest.approx(frequencies[101], rel=1e-2)
