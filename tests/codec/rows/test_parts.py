"""Lines, memory, lanes, numbers and what is written in full: each comes back, and what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.codec.numbers import NumberReader, written_numbers
from latentkit.codec.rows.lanes import WIDTHS, Reader, code_of_steps
from latentkit.codec.rows.lines import LineFormat
from latentkit.codec.rows.memory import MEMORY_PRECISION, RowMemory
from latentkit.codec.rows.texts import packed, unpacked
from latentkit.core.errors import DamagedArchiveError

# Lines


@given(
    content=st.lists(st.sampled_from([b"a", b",", b"\n", b"\r", b'"', b"", b"1", b"\r\n", b",,"]), max_size=60),
    n_columns=st.integers(1, 4),
    has_return=st.booleans(),
)
def test_a_block_is_its_lines(content: list[bytes], n_columns: int, has_return: bool) -> None:
    block, form = b"".join(content), LineFormat(n_columns, b",", has_return)
    lines = form.split(block)
    assert form.join(lines) == block
    assert form.n_bytes(lines) == len(block)
    assert lines.n_lines == block.count(b"\n")


def test_quotes_hold_delimiters() -> None:
    lines = LineFormat(3).split(b'1,"a,b",2\n"x","y","z"\n"""q"",",2,3\n1,2,"3\n')
    assert list(lines.columns[1]) == [b'"a,b"', b'"y"', b"2", b"2"]
    assert lines.columns[0][2] == b'"""q"","'
    assert not lines.odd


def test_the_header_is_no_row() -> None:
    lines = LineFormat(2, has_return=True, header=b"a,b\r").split(b"a,b\r\n1,2\r\na,b\n")
    assert list(lines.columns) == [(b"1",), (b"2",)]
    assert lines.odd == {0: b"a,b\r", 2: b"a,b"}


@pytest.mark.parametrize(
    "settings", [{"n_columns": 0}, {"n_columns": 2, "delimiter": b"::"}, {"n_columns": 2, "delimiter": b"\n"}]
)
def test_lines_that_cannot_be_written_are_refused(settings: dict) -> None:
    with pytest.raises(DamagedArchiveError, match="no lines of a table"):
        LineFormat(**settings)


# Memory


def memory(keys=(5, 7, 9), counts=(1, 4, 2), rows=None, found: int = 3, missed: int = 4) -> RowMemory:
    if rows is None:
        rows = np.arange(len(keys) * 6).reshape(len(keys), 2, 3)
    return RowMemory(np.array(keys, np.int64), np.array(counts, np.int64), rows, found, missed)


def test_entries_have_slots_in_proportion_to_their_counts() -> None:
    found = memory()
    starts, frequencies = found.intervals(np.arange(3))
    np.testing.assert_allclose(frequencies / (1 << MEMORY_PRECISION), np.array([1, 4, 2]) / 7, atol=1e-6)
    for slots in (starts, starts + frequencies - 1):
        assert found.find(slots).tolist() == [0, 1, 2]
    assert found.entries(np.array([9, 6, 5])).tolist() == [2, -1, 0]
    assert found.keys(np.array([2, 0])).tolist() == [9, 5]
    assert found.chance == 7 * (1 << 24) // 16
    assert found.n_rows == 7


def test_what_is_learnt_is_found_and_the_last_row_comes_first() -> None:
    found = memory()
    symbols = np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4]])
    found.learn(np.array([6, 9, 6, 8]), np.array([True, True, True, False]), symbols)
    assert found.entries(np.array([6, 8, 9])).tolist() == [3, -1, 2]
    assert found.kin(np.array([3, 2, -1])).tolist() == [[[3] * 3, [1] * 3], [[2] * 3, [12, 13, 14]], [[-1] * 3] * 2]
    assert found.n_rows == 10
    # half of what was foretold, and of four rows one whose key was there before
    assert found.chance == (2 * 2 + 1) * (1 << 24) // (2 * (2 + 5) + 2)


def test_chances_stay_between_never_and_always() -> None:
    never, always = memory(found=0, missed=1 << 30), memory(found=1 << 30, missed=0)
    assert never.chance == 1 << 8
    assert always.chance == (1 << 24) - (1 << 8)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"keys": (5, 5, 9)}, "twice"),
        ({"counts": (1, 0, 2)}, "more rows than it can"),
        ({"counts": (1 << 19, 1 << 19, 1)}, "more rows than it can"),
        ({"counts": ((1 << 63) - 1, 1, 1)}, "more rows than it can"),
        ({"counts": (1, 2)}, "do not fit together"),
        ({"rows": np.zeros((3, 1, 3), np.int64)}, "do not fit together"),
        ({"found": -1}, "do not fit together"),
        ({"missed": 1 << 62}, "more rows than it can"),
    ],
)
def test_memories_that_cannot_be_are_refused(parts: dict, message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        memory(**parts)


# Lanes


def coins(n_steps: int, n: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Symbols of 3 in 4 and 1 in 4, of 16 bits, and every fifth step nothing at all."""
    random = np.random.default_rng(seed)
    steps = []
    for number in range(n_steps):
        is_rare = random.random(n) < 0.25
        starts, frequencies = np.where(is_rare, 49152, 0), np.where(is_rare, 16384, 49152)
        if number % 5 == 4:
            starts, frequencies = np.zeros(n, np.int64), np.full(n, 65536)
        steps.append((starts, frequencies, 16))
    return steps


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize(("n_steps", "n"), [(1, 1), (1, 300), (40, 5), (30, 200), (12, 1000)])
def test_steps_are_read_as_they_were_written(n_steps: int, n: int, most: int) -> None:
    steps = coins(n_steps, n)
    left, content = code_of_steps(steps, most)
    reader = Reader(left, content, n_steps)
    for starts, frequencies, precision in steps:

        def choose(slots: np.ndarray, rows: slice, starts=starts, frequencies=frequencies) -> tuple:
            within = slots - starts[rows]
            assert ((within >= 0) & (within < frequencies[rows])).all()
            return starts[rows], frequencies[rows]

        reader.read(n, precision, choose)
    assert reader.is_done


def test_lanes_cost_two_bytes_each_and_not_six() -> None:
    steps = coins(60, 500)
    bits = sum(float((16 - np.log2(frequencies)).sum()) for _, frequencies, _ in steps)
    sizes = [len(code_of_steps(steps, most)[1]) for most in (1, 2, 3)]
    for size, width in zip(sizes, WIDTHS, strict=True):
        assert bits / 8 < size < bits / 8 + 4 + 3.2 * width + 4


@pytest.mark.parametrize("left", [[1, 2, 3], [5, 2]])
def test_lanes_that_cannot_be_are_refused(left: list[int]) -> None:
    with pytest.raises(DamagedArchiveError, match="not those of any stack"):
        Reader(left, b"\xff" * 800, 9)


# Numbers, and what is written in full


@given(values=st.lists(st.integers(0, (1 << 56) - 1)), rest=st.binary(max_size=5))
def test_numbers_are_read_as_they_were_written(values: list[int], rest: bytes) -> None:
    reader = NumberReader(written_numbers(*values) + rest)
    assert reader.several(len(values)) == values
    assert reader.rest(len(rest)) == (rest, b"")


@pytest.mark.parametrize("content", [b"", b"\xff" * 4, b"\xff" * 30])
def test_numbers_that_do_not_end_are_noticed(content: bytes) -> None:
    with pytest.raises(DamagedArchiveError, match="numbers cannot be read"):
        NumberReader(content).next()
    with pytest.raises(DamagedArchiveError, match="numbers cannot be read"):
        NumberReader(content).several(10**12)


TEXTS = [
    b"",
    b"x",
    b"known and seen\n" * 3,
    bytes(range(256)) * 40,
    b"ab" * 50_000,
    np.random.default_rng(0).bytes(3000),
]
TEXTS.append(b"".join(b"%d,%d\n" % (n * n % 977, n % 31) for n in range(3000)))


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(len(text)))
def test_text_comes_back_and_no_more_of_it_than_there_may_be(text: bytes) -> None:
    content = packed(text, b"known and seen\n")
    assert len(content) <= len(text) + 1
    assert unpacked(content, b"known and seen\n", len(text)) == text
    if text:
        with pytest.raises(DamagedArchiveError, match="cannot be read"):
            unpacked(content, b"known and seen\n", len(text) - 1)


@pytest.mark.parametrize("method", range(6))
def test_bytes_that_are_no_text_are_refused(method: int) -> None:
    with pytest.raises(DamagedArchiveError, match="cannot be read"):
        unpacked(bytes([method]) + b"\xff\x00garbage" * 3, b"known", 20)


def test_every_method_is_the_shortest_for_something() -> None:
    assert {packed(text, b"known and seen\n")[0] for text in TEXTS[1:]} >= {0, 1, 3}
