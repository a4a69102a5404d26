"""The coder of tables: the same bytes come back, whatever they are; damage is noticed; the format stays."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentkit.codec import CoderState, RowCoder, coder_from_state, coders
from latentkit.codec.rows import coder as coding
from latentkit.codec.rows import states
from latentkit.codec.rows.states import Memories, RowModel
from latentkit.core.errors import DamagedArchiveError, UnfitDataError
from tests.codec.rows.hand_made import block, coder, model


def there_and_back(made: RowCoder, content: bytes) -> int | None:
    """How long the code is; None if there is none. What comes back is what was given."""
    try:
        code = made.encode(content, content.count(b"\n"))
    except UnfitDataError:
        return None
    assert made.decode(code, content.count(b"\n"), len(content)) == content
    return len(code)


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("n", [1, 2, 60, 1500])
def test_lines_come_back(n: int, remembers: bool) -> None:
    content = block(n)
    size = there_and_back(coder(remembers=remembers), content)
    assert n < 60 or size < 0.45 * len(content)


AWKWARD = [
    b"",
    b"\n",
    b"x",
    b"\n" * 300,
    b"\r\n\r\n",
    b"1,2.0,c,1",
    b"1,2.0,c,1\n1,2.0,c\n1,2.0,c,1,5\n",
    b"\xef\xbb\xbfweight,age,name,group\n77,1.4,c,1\n",
    b"77, 1.4, c, 1\n",
    b"77,1.4,c,1\r\n77,1.4,c,1\n",
    b'77,1.4,"c\n,1\n77,1.4,"a, b",1\n',
    b"-77,-1.4,,\n077,01.4,cc,01\n7e5,nan,inf,1.\n+77,1_0,\xa0c, 1\n",
    b"999999999999999,9999999.9,c,1\n9999999999999999,1.40,c,1\n",
    b"\xff\xfe,\x00,\x80,\xc3\x28\n" * 5,
    b"31000999,100.0,d,2\n31001000,10.1,d,2\n999,9.9,d,2\n1000,0.0,d,2\n",
]


@pytest.mark.parametrize("content", AWKWARD)
def test_awkward_lines_come_back_among_others(content: bytes) -> None:
    made, usual = coder(), block(60)
    there_and_back(made, content)
    for whole in (usual + content, content + usual, usual + content + usual):
        assert there_and_back(made, whole) is not None


MADE, SOME_LINES = coder(), block(20)

cells = st.one_of(
    st.sampled_from([b"77", b"1.4", b"c", b"d", b"?", b"", b"1", b'"a, b"', b'"', b"\r", b"\xff", b" 1", b"2000000"]),
    st.integers(-5, 40_000_000).map(lambda value: b"%d" % value),
    st.binary(max_size=6),
)
rows = st.lists(cells, min_size=1, max_size=6).map(b",".join)


@settings(max_examples=50)
@given(lines=st.lists(rows, max_size=30), end=st.sampled_from([b"\n", b"\r\n", b"\r"]), tail=st.binary(max_size=5))
def test_any_lines_come_back(lines: list[bytes], end: bytes, tail: bytes) -> None:
    there_and_back(MADE, SOME_LINES + end.join([*lines, tail]))


@settings(max_examples=50)
@given(content=st.binary(max_size=400))
def test_any_bytes_come_back_or_are_refused(content: bytes) -> None:
    there_and_back(MADE, content)


def test_lines_of_another_table_are_refused() -> None:
    made = coder()
    with pytest.raises(UnfitDataError, match="bytes are not like the table that the coder was fitted on"):
        made.encode(np.random.default_rng(0).bytes(5000), 20)


def test_nothing_becomes_nothing() -> None:
    made = coder()
    assert made.encode(b"", 0) == b""
    assert made.decode(b"", 0, 0) == b""
    for content, size in ((b"", 5), (b"\0\0", 0)):
        with pytest.raises(DamagedArchiveError, match="no lines for its content"):
            made.decode(content, 0, size)


def test_rows_with_a_key_that_was_seen_take_less() -> None:
    """Of the model, or of the block itself."""
    content = b"2000000,5.5,d,2\n" * 600
    assert there_and_back(coder(), content) < 0.9 * there_and_back(coder(remembers=False), content)
    random = np.random.default_rng(0)
    keys = random.integers(0, 30_000_000, 600)
    fresh = b"".join(b"%d,5.5,d,2\n" % key for key in keys)
    again = b"".join(b"%d,5.5,d,2\n" % keys[place] for place in random.integers(0, 600, 600))
    made = coder(remembers=False)
    assert there_and_back(made, fresh + again) < 1.8 * there_and_back(made, fresh)


def test_a_row_takes_the_bits_of_its_probability() -> None:
    """The sum over all steps of what their frequencies say, and two bytes a lane, and few for the rest."""
    made, content = coder(), block(5000)
    told = []

    def noted(steps: list, most: int) -> tuple[list[int], bytes]:
        told.append(sum(float((precision - np.log2(of)).sum()) for _, of, precision in steps))
        return original(steps, most)

    original = coding.code_of_steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coding, "code_of_steps", noted)
        code = made.encode(content, 5001)
    assert told[0] / 8 < len(code) < told[0] / 8 + 2.3 * 64 + 60


def test_the_bytes_are_those_of_the_format() -> None:
    """They are read by every later version: a change of these is a change of the format."""
    made = coder()
    code = made.encode(block(900), 901)
    digests = [hashlib.sha256(content).hexdigest()[:16] for content in (made.state().to_bytes(), code)]
    assert (len(code), digests) == (2113, ["69fb31b5e583a8b6", "c35fce9aa07f42e7"])


def test_a_state_makes_the_same_coder() -> None:
    made = coder()
    assert "rows" in coders
    again = coder_from_state(CoderState.from_bytes(made.state().to_bytes()))
    assert again.state().fingerprint == made.state().fingerprint
    content = block(300)
    assert again.encode(content, 301) == made.encode(content, 301)


@pytest.fixture
def threads_kept() -> None:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads_kept")
@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
def test_one_code_whatever_the_threads_and_kernels() -> None:
    content, codes = block(1200), set()
    for n_threads, has_mkldnn, precision in itertools.product((1, 2), (True, False), ("highest", "medium")):
        torch.set_num_threads(n_threads)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        with torch.backends.mkldnn.flags(enabled=has_mkldnn):
            codes.add(coder().encode(content, 1201))
        torch.set_float32_matmul_precision(before)
    assert len(codes) == 1


def test_rows_coded_at_once_take_their_probabilities_one_by_one() -> None:
    """The distribution of a row does not depend on which others are there."""
    conditionals = model().conditionals
    random = np.random.default_rng(0)
    n = 50
    symbols = np.stack([random.integers(0, table.n_symbols, n) for table in conditionals.tables], 1)
    kin = np.where(random.random((n, 2, 1)) < 0.5, np.stack([symbols[::-1], symbols], 1), -1)

    def frequencies(rows: slice) -> list[np.ndarray]:
        context, found = conditionals.context(kin[rows]), []
        for number in conditionals.order:
            found.append(conditionals.frequencies(context, number))
            conditionals.tell(context, number, symbols[rows, number])
        return found

    together = frequencies(slice(0, n))
    for row in range(n):
        for all_rows, alone in zip(together, frequencies(slice(row, row + 1)), strict=True):
            assert np.array_equal(all_rows[row], alone[0])


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Bytes of which some are changed, cut, doubled or put elsewhere."""
    kind, place = random.integers(5), int(random.integers(len(content)))
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + random.bytes(int(random.integers(1, 9))) + content[place:]
    if kind == 2:
        return content[place:] + content[:place]
    altered = bytearray(content)
    for _ in range(int(random.integers(1, 4))):
        altered[int(random.integers(len(altered) if kind == 3 else min(len(altered), 40)))] = int(random.integers(256))
    return bytes(altered)


def test_damaged_contents_are_noticed_or_give_other_bytes() -> None:
    made, random = coder(), np.random.default_rng(0)
    content = block(30) + b"odd\n" + b"1,new,c,1\n"
    code, n_noticed = made.encode(content, 33), 0
    for _ in range(300):
        try:
            found = made.decode(damaged(code, random), 33, len(content))
        except DamagedArchiveError:
            n_noticed += 1
        else:
            assert len(found) == len(content)
    assert n_noticed > 250


@pytest.mark.parametrize("n_states", [60, pytest.param(700, marks=pytest.mark.slow)])
def test_damaged_states_are_refused_or_make_another_coder(n_states: int) -> None:
    made, random = coder(), np.random.default_rng(1)
    state, content = made.state().to_bytes(), block(40)
    code, n_refused = made.encode(content, 41), 0
    for _ in range(n_states):
        try:
            other = coder_from_state(CoderState.from_bytes(damaged(state, random)))
            assert isinstance(other.state(), CoderState)
            other.decode(code, 41, len(content))
        except DamagedArchiveError:
            n_refused += 1
    assert n_refused > 5 / 7 * n_states


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_arrays_of_other_numbers_are_refused_or_make_another_coder(seed: int) -> None:
    """Numbers of a state that reads well otherwise, up to the largest that there are."""
    made, random = coder(), np.random.default_rng(seed)
    state, content = plain_state(), block(40)
    code, n_refused = made.encode(content, 41), 0
    extremes = [-1, 0, 1, 2, 255, -(1 << 15), 1 << 24, (1 << 31) - 1, -(1 << 63), (1 << 63) - 1]
    for name in state.arrays:
        values = np.array(state.arrays[name], np.int64)
        if values.size:
            values.reshape(-1)[int(random.integers(values.size))] = random.choice(extremes)
        for arrays in (values, values[:-1], np.concatenate([values, values]), values.ravel()):
            try:
                other = coder_from_state(CoderState("rows", state.settings, {**state.arrays, name: arrays}))
                other.decode(code, 41, len(content))
            except DamagedArchiveError:
                n_refused += 1
    assert n_refused > 60


def plain_state() -> CoderState:
    """That of a model with more numbers than are packed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "MOST_ENTRIES", 0)
        return coder().state()


def test_a_model_of_more_numbers_than_are_packed_makes_the_same_coder() -> None:
    content, state = block(300), plain_state()
    assert "packed" not in state.arrays
    again = coder_from_state(CoderState.from_bytes(state.to_bytes()))
    assert again.encode(content, 301) == coder().encode(content, 301)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0]], "not packed as bytes"),
        ([-1], "not packed as bytes"),
        ([256], "not packed as bytes"),
        ([9], "ends before"),
        ([2, 0, 65], "settings cannot be read"),
        ([3, 0, 34, 34], "numbers are no arrays"),
    ],
)
def test_packed_bytes_of_no_model_are_refused(values: list, message: str) -> None:
    state = coder().state()
    with pytest.raises(DamagedArchiveError, match=message):
        coder_from_state(CoderState("rows", state.settings, {**state.arrays, "packed": np.array(values)}))


@pytest.mark.parametrize("name", ["delimiter", "forms", "words", "key"])
def test_settings_of_other_kinds_are_refused(name: str) -> None:
    state = plain_state()
    for value in (None, [], "", "ab", -5, 10**30, [[]], {"a": 1}, [[0] * 4] * 4, ["\u20ac"] * 4):
        with pytest.raises(DamagedArchiveError):
            coder_from_state(CoderState("rows", {**state.settings, name: value}, state.arrays))


def test_a_header_is_a_text_or_none() -> None:
    state = plain_state()
    with pytest.raises(DamagedArchiveError, match="a text of its settings is none"):
        coder_from_state(CoderState("rows", {**state.settings, "header": 5}, state.arrays))
    made = coder_from_state(CoderState("rows", {**state.settings, "header": None}, state.arrays))
    assert made.decode(made.encode(block(50), 51), 51, len(block(50))) == block(50)


def replaced(**parts: object) -> RowModel:
    made = model()
    names = ("lines", "columns", "conditionals", "key", "memories", "known")
    return RowModel(**{name: parts.get(name, getattr(made, name)) for name in names})


def test_a_model_whose_parts_do_not_fit_is_refused() -> None:
    made = model()
    with pytest.raises(DamagedArchiveError, match="columns are missing"):
        replaced(columns=made.columns[:3])
    with pytest.raises(DamagedArchiveError, match="distributions of other symbols"):
        replaced(columns=made.columns[::-1])
    for key in (-2, 1, 2, 4):
        with pytest.raises(DamagedArchiveError, match="found by a column that is no key"):
            replaced(key=key)


@pytest.mark.parametrize(("keys", "symbols"), [([77, 40_000_000], 0), ([-1, 77], 0), ([77, 1500], 4), ([77, 1500], -2)])
def test_rows_that_are_not_of_the_table_cannot_be_remembered(keys: list[int], symbols: int) -> None:
    rows = np.zeros((2, 2, 4), np.int64)
    rows[1, 0, 2] = symbols
    memories = Memories(np.array(keys), np.array([1, 1]), rows, 0, 1)
    with pytest.raises(DamagedArchiveError, match="rows that it remembers are not of the table"):
        replaced(memories=memories)


def test_contents_that_hold_too_much_or_too_little_are_refused() -> None:
    made, content = coder(), block(50)
    code = made.encode(content, 51)
    for size in (len(content) - 1, len(content) + 1):
        with pytest.raises(DamagedArchiveError, match="does not make"):
            made.decode(code, 51, size)
    with pytest.raises(DamagedArchiveError, match="no room for so many lines"):
        made.decode(code, 51, 100)
    with pytest.raises(DamagedArchiveError, match="numbers cannot be read"):
        made.decode(b"\xff" * 20, 51, 10**9)
    with pytest.raises(DamagedArchiveError, match="ends before what is written in full"):
        made.decode(bytes([1, 0, 0, 100, 0]), 1, 100)
    with pytest.raises(DamagedArchiveError, match="symbols of no line"):
        made.decode(bytes([0, 1, 1, 0, 5, 0, *b"ab\n\n", 7]), 1, 3)
    assert made.decode(bytes([0, 1, 1, 0, 5, 0, *b"ab\n\n"]), 1, 3) == b"ab\n"
    with pytest.raises(DamagedArchiveError, match="lines are where they cannot be"):
        made.decode(bytes([0, 1, 2, 0, 5, 0, *b"ab\n\n"]), 1, 3)
    with pytest.raises(DamagedArchiveError, match="written in full are missing"):
        made.decode(bytes([0, 2, 1, 1, 0, 4, 0, *b"ab\n"]), 1, 9)
    with pytest.raises(DamagedArchiveError, match="does not end"):
        made.decode(bytes([0, 1, 1, 0, 3, 0, *b"ab"]), 1, 3)
