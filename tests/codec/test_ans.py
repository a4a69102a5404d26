"""The stack of symbols: it gives back what was pushed, takes what theory says, and notices its end."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.codec import AnsStack, FrequencyTables
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError


def drawn_tables(n_tables: int, n: int, precision: int, seed: int = 0) -> FrequencyTables:
    return FrequencyTables.of(np.random.default_rng(seed).dirichlet(np.full(n, 0.5), n_tables), precision)


def drawn_symbols(tables: FrequencyTables, which: np.ndarray, seed: int = 0) -> np.ndarray:
    """Symbols of the distributions of tables."""
    slots = np.random.default_rng(seed).integers(0, 1 << tables.precision, which.shape)
    return tables.symbols(which, slots)


@given(
    n_lanes=st.integers(1, 9),
    precision=st.integers(3, 32),
    widths=st.lists(st.integers(1, 9), max_size=60),
)
def test_what_is_pushed_is_popped(n_lanes: int, precision: int, widths: list[int]) -> None:
    """With any number of lanes at a time, through bytes; and then nothing is left."""
    random = np.random.default_rng(0)
    tables = drawn_tables(3, 5, precision)
    stack, pushed = AnsStack(n_lanes), []
    for width in widths:
        which = random.integers(0, 3, min(width, n_lanes))
        symbols = random.integers(0, 5, len(which))
        stack.push(tables, which, symbols)
        pushed.append((which, symbols))
    content = stack.to_bytes()
    again = AnsStack.from_bytes(content, n_lanes)
    assert again.to_bytes() == content
    for which, symbols in reversed(pushed):
        assert again.pop(tables, which).tolist() == symbols.tolist()
    assert again.is_fresh
    assert stack.is_fresh == (not any(widths))


@pytest.mark.parametrize(("n", "precision"), [(2, 16), (256, 16), (256, 24), (40, 32)])
def test_symbols_take_the_bits_of_their_frequencies(n: int, precision: int) -> None:
    """But for 32 bits a lane at the start, and less than a thousandth."""
    tables, n_lanes, n_steps = drawn_tables(8, n, precision), 50, 2000
    which = np.random.default_rng(1).integers(0, 8, (n_steps, n_lanes))
    symbols = drawn_symbols(tables, which)
    stack = AnsStack(n_lanes)
    for row, these in zip(which, symbols, strict=True):
        stack.push(tables, row, these)
    bits = tables.bits(which, symbols)
    assert bits < 8 * len(stack.to_bytes()) < 1.001 * bits + 38 * n_lanes


def test_popping_what_nobody_pushed_draws_from_the_distribution() -> None:
    """Bits-back: what was on the stack becomes symbols, and pushing them gives it back bit for bit."""
    coin, other = FrequencyTables(np.array([[200, 40, 16]]), 8), drawn_tables(1, 256, 16)
    stack, zeros = AnsStack(64), np.zeros(64, np.int64)
    for step in range(200):
        stack.push(other, zeros, drawn_symbols(other, zeros, step))
    before = stack.to_bytes()
    symbols = [stack.pop(coin, zeros) for _ in range(150)]
    shares = np.bincount(np.concatenate(symbols), minlength=3) / (64 * 150)
    np.testing.assert_allclose(shares, np.array([200, 40, 16]) / 256, atol=4 * np.sqrt(0.25 / 9600))
    assert 8 * (len(before) - len(stack.to_bytes())) == pytest.approx(
        coin.bits(np.zeros(9600, int), np.concatenate(symbols)), rel=0.1
    )
    for these in reversed(symbols):
        stack.push(coin, zeros, these)
    assert stack.to_bytes() == before


def test_a_pad_makes_draws_of_whatever_is_on_the_stack() -> None:
    """Without one, lanes that hold nothing give the first symbol; with one, any, and the same bits come back."""
    die, zeros = FrequencyTables(np.full((1, 16), 16), 8), np.zeros(400, np.int64)
    pad = np.random.default_rng(0).integers(0, 256, 400)
    stack = AnsStack(400)
    for step in range(4000):  # words for all, by the first lane alone
        stack.push(die, zeros[:1], np.array([step % 16]))
    before = stack.to_bytes()
    plain = stack.pop(die, zeros)
    assert plain[1:].tolist() == [0] * 399
    stack.push(die, zeros, plain)
    assert stack.to_bytes() == before
    drawn = stack.pop(die, zeros, pad=pad)
    assert np.bincount(drawn[1:], minlength=16).min() > 8
    stack.push(die, zeros, drawn, pad=pad)
    assert stack.to_bytes() == before


def test_a_symbol_without_slots_is_damage() -> None:
    tables = FrequencyTables(np.array([[4, 0, 4]]), 3, least=0)
    assert tables.symbols(np.zeros(8, np.int64), np.arange(8)).tolist() == [0] * 4 + [2] * 4
    stack = AnsStack(1)
    with pytest.raises(DamagedArchiveError, match="cannot be there"):
        stack.push(tables, np.array([0]), np.array([1]))
    assert stack.is_fresh


def test_the_bytes_are_those_of_the_format() -> None:
    """They are read by every later version: a change of these is a change of the format."""
    tables = FrequencyTables(np.array([[1, 2, 5], [6, 1, 1]]), 3)
    stack = AnsStack(4)
    for step in range(200):
        places = np.arange(4) + step
        stack.push(tables, places % 2, (places * places) % 3)
    digest = hashlib.sha256(stack.to_bytes()).hexdigest()
    assert (len(stack.to_bytes()), digest[:16]) == (242, "116079e7c31c23c8")


def test_by_hand() -> None:
    """Three eighths: x = 8 floor(x / 3) + x mod 3 + 2."""
    tables, none = FrequencyTables(np.array([[2, 3, 3]]), 3), np.zeros(1, np.int64)
    stack = AnsStack(1)
    stack.push(tables, none, none + 1)
    x = 8 * ((1 << 32) // 3) + (1 << 32) % 3 + 2
    assert stack.to_bytes() == head(x)
    for _ in range(21):
        stack.push(tables, none, none + 1)
        x = 8 * (x // 3) + x % 3 + 2
    assert x < 1 << 64
    stack.push(tables, none, none)
    x, word = (x, None) if x >> 61 < 2 else (x >> 32, x & 0xFFFFFFFF)
    x = 8 * (x // 2) + x % 2
    assert stack.to_bytes() == head(x) + (b"" if word is None else word.to_bytes(4, "little"))


def head(x: int) -> bytes:
    """Five bits that say how many more than 33 it has, and all but the highest."""
    n = x.bit_length()
    bits = f"{n - 33:05b}{x - (1 << n - 1):0{n - 1}b}"
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def test_lanes_start_with_what_is_to_be_kept_anyway() -> None:
    seeds = np.array([0, 1, 0xFFFFFFFF, 12345], np.uint32)
    tables, zeros = drawn_tables(1, 256, 16), np.zeros(4, np.int64)
    plain, seeded = AnsStack(4), AnsStack(4, seeds)
    rows = [drawn_symbols(tables, zeros, step) for step in range(300)]
    for row in rows:
        plain.push(tables, zeros, row)
        seeded.push(tables, zeros, row)
    assert abs(len(seeded.to_bytes()) - len(plain.to_bytes())) <= 4, "they cost nothing"
    again = AnsStack.from_bytes(seeded.to_bytes(), 4)
    with pytest.raises(DamagedArchiveError, match="more than was to be read"):
        again.seeds()
    for row in reversed(rows):
        assert again.pop(tables, zeros).tolist() == row.tolist()
    assert again.seeds().tolist() == seeds.tolist()
    assert not again.is_fresh


@pytest.mark.parametrize(
    ("content", "n_lanes"),
    [
        (b"", 1),
        (b"\0" * 4, 1),  # a head of 32 bits and the 5 that say so
        (b"\0" * 8, 1),
        (b"\0" * 4 + b"\1", 1),  # what fills up the last byte is 0
        (b"\xff" * 8, 1),
        (b"\0" * 9, 2),
    ],
)
def test_bytes_that_are_no_stack_are_refused(content: bytes, n_lanes: int) -> None:
    with pytest.raises(DamagedArchiveError):
        AnsStack.from_bytes(content, n_lanes)


def test_the_end_is_noticed() -> None:
    tables, zeros = drawn_tables(1, 256, 16), np.zeros(2, np.int64)
    stack = AnsStack(2)
    for _ in range(10):
        stack.push(tables, zeros, zeros + 255)
    while len(stack.to_bytes()) > 16:
        stack.pop(tables, zeros)
    before = b""
    while stack.to_bytes() != before:
        before = stack.to_bytes()
        with pytest.raises(DamagedArchiveError, match="ends before"):
            _all_of(stack, tables)
    assert AnsStack.from_bytes(before, 2).to_bytes() == before, "it stays as it is"


def _all_of(stack: AnsStack, tables: FrequencyTables) -> None:
    for _ in range(40):
        stack.pop(tables, np.zeros(2, np.int64))


def test_a_stack_has_lanes() -> None:
    with pytest.raises(InvalidParameterError, match="n_lanes"):
        AnsStack(0)
    assert AnsStack(5).n_lanes == 5


@given(widths=st.lists(st.integers(1, 12), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_lanes_that_start_with_words_give_them_back(widths: list[int], seed: int) -> None:
    """Wider and narrower again, with symbols in between: nothing is left, and no lane costs more than its end."""
    random, tables = np.random.default_rng(seed), drawn_tables(3, 9, 20)
    stack, done = AnsStack(1), []
    for width in widths:
        n_lanes = min(max(stack.n_lanes, width), stack.n_lanes + stack.n_words)
        done.append(stack.n_lanes)
        stack.widen(n_lanes)
        assert stack.n_lanes == n_lanes
        which = random.integers(0, 3, (20, n_lanes))
        symbols = drawn_symbols(tables, which, seed)
        stack.push(tables, which, symbols)
        done.append((which, symbols))
    bits = sum(tables.bits(*step) for step in done if isinstance(step, tuple))
    assert 8 * len(stack.to_bytes()) < bits + 38 + 7 * stack.n_lanes + 8
    stack = AnsStack.from_bytes(stack.to_bytes(), stack.n_lanes)
    for step in reversed(done):
        if isinstance(step, int):
            stack.narrow(step)
            continue
        for which, symbols in zip(step[0][::-1], step[1][::-1], strict=True):
            assert stack.pop(tables, which).tolist() == symbols.tolist()
    assert stack.is_fresh


def test_a_stack_has_words_for_the_lanes_that_are_added() -> None:
    stack = AnsStack(2)
    before = stack.to_bytes()
    with pytest.raises(DamagedArchiveError, match="it ends before all"):
        stack.widen(3)
    assert stack.to_bytes() == before
    stack.widen(1)
    assert stack.n_lanes == 2


def test_a_lane_that_holds_more_is_not_left_out() -> None:
    stack, tables = AnsStack(3), drawn_tables(1, 5, 20)
    which = np.zeros((9, 3), np.int64)
    stack.push(tables, which, drawn_symbols(tables, which))
    with pytest.raises(DamagedArchiveError, match="a lane holds more than was to be read"):
        stack.narrow(1)


def test_a_copy_goes_its_own_way() -> None:
    stack, tables = AnsStack(3), drawn_tables(1, 5, 20)
    which = np.zeros((40, 3), np.int64)
    stack.push(tables, which, drawn_symbols(tables, which))
    before, other = stack.to_bytes(), stack.copy()
    assert other.to_bytes() == before
    for row in which:
        other.pop(tables, row)
    other.push(tables, which, drawn_symbols(tables, which, seed=1))
    assert stack.to_bytes() == before
    assert other.to_bytes() != before


@given(n=st.integers(1, 40), n_lanes=st.integers(1, 9), precision=st.integers(2, 31), seed=st.integers(0, 99))
def test_coins_are_popped_as_symbols_of_two_are(n: int, n_lanes: int, precision: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    splits = random.integers(1, 1 << precision, (n, n_lanes)).astype(np.uint64)
    coins = random.integers(0, 2, (n, n_lanes)).astype(np.uint8)
    whole = np.uint64(1 << precision)
    one, two = AnsStack(n_lanes), AnsStack(n_lanes)
    one.push_all(
        np.where(coins == 1, splits, 0).astype(np.uint64), np.where(coins == 1, whole - splits, splits), precision
    )
    tables = FrequencyTables(np.stack([splits.ravel(), whole - splits.ravel()], 1).astype(np.int64), precision)
    two.push(tables, np.arange(n * n_lanes).reshape(n, n_lanes), coins.astype(np.int64))
    assert one.to_bytes() == two.to_bytes()
    assert np.array_equal(one.pop_coins(splits, precision), coins)
    assert one.is_fresh


def test_more_coins_than_there_are_cannot_be_popped() -> None:
    stack = AnsStack(2)
    with pytest.raises(DamagedArchiveError, match="it ends before all"):
        stack.pop_coins(np.full((500, 2), 1 << 15, np.uint64), 16)
