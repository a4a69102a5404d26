"""The coder of texts: any bytes come back, in every setting; what is known makes them short; damage is noticed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentkit.codec import CoderState, TextCoder, coder_from_state, coders
from latentkit.codec.texts import coder as coding
from latentkit.codec.texts import lanes
from latentkit.core.errors import DamagedArchiveError, UnfitDataError
from tests.codec.texts.hand_made import coder, network, sentences

MADE, SOME = coder(), sentences(12)


@pytest.fixture(autouse=True, scope="module")
def short_lanes() -> Iterator[None]:
    """Many lanes even of short texts, which are sooner read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_OF_A_LANE", 32)
        yield


def there_and_back(made: TextCoder, content: bytes) -> int | None:
    """How long the code is; None if there is none. What comes back is what was given."""
    try:
        code = made.encode(content, content.count(b"\n"))
    except UnfitDataError:
        return None
    assert made.decode(code, content.count(b"\n"), len(content)) == content
    return len(code)


AWKWARD = {
    "empty": b"",
    "a line feed": b"\n",
    "a byte": b"x",
    "empty lines": b"\n" * 700,
    "no end": b"the cat",
    "two ends": b"the cat\r\nsat\r\n\r\n",
    "NUL": b"\0\0the\0cat\n\0",
    "no UTF-8": b"\xff\xfe\x80\xc3\x28\n",
    "a long word": b"Aa" * 40,
}


@pytest.mark.parametrize("content", AWKWARD.values(), ids=AWKWARD)
def test_awkward_texts_come_back_alone_and_among_others(content: bytes) -> None:
    there_and_back(MADE, content)
    for whole in (SOME + content, content + SOME):
        assert there_and_back(MADE, whole) is not None


@pytest.mark.parametrize("n_bytes", [511, 1024, 1025, 3000])
@pytest.mark.parametrize("is_one_line", [False, True])
def test_lanes_of_any_number_and_kind_come_back(
    n_bytes: int, is_one_line: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_OF_A_LANE", 100)
    content = sentences(200)[:n_bytes]
    content = content.replace(b"\n", b" ") if is_one_line else content[:-1] + b"\n"
    assert (lanes.Lanes.of(content).n_lines > 0) != is_one_line
    assert there_and_back(MADE, content) < 0.7 * n_bytes


@pytest.mark.slow
def test_a_line_of_a_megabyte_comes_back() -> None:
    line = sentences(40_000).replace(b"\n", b" ")[: 1 << 20]
    assert there_and_back(MADE, line) < 0.4 * len(line)
    assert there_and_back(MADE, line + b"\nand another\n") < 0.4 * len(line)


@settings(max_examples=15)
@given(lines=st.lists(st.one_of(st.sampled_from(SOME.split(b"\n")), st.binary(max_size=9)), max_size=5))
def test_any_bytes_come_back(lines: list[bytes]) -> None:
    there_and_back(MADE, b"The mat and a dog\n" + b"\n".join(lines))


def test_noise_is_refused() -> None:
    with pytest.raises(UnfitDataError, match="200 bytes are not like the text that the coder was fitted on"):
        MADE.encode(np.random.default_rng(0).bytes(200), 1)


def test_nothing_becomes_nothing() -> None:
    assert MADE.encode(b"", 0) == b""
    assert MADE.decode(b"", 0, 0) == b""
    for content, size in ((b"", 5), (b"\0\0", 0)):
        with pytest.raises(DamagedArchiveError, match="no text for its content"):
            MADE.decode(content, 0, size)


def test_what_is_known_makes_texts_short() -> None:
    content = sentences(30, seed=2)
    sizes = [len(coder(known).encode(content, 30)) for known in (sentences(10, seed=3), sentences(80, seed=3), content)]
    assert sizes[0] > 1.1 * sizes[1] > 1.3 * sizes[2]


def test_what_has_been_read_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    content, made = sentences(90), coder(SOME)
    sizes = []
    for least in (400, 1 << 12):
        monkeypatch.setattr(coding, "_LEAST_READ", least)
        sizes.append(there_and_back(made, content))
    assert sizes[0] < 0.9 * sizes[1]
    monkeypatch.setattr(coding, "_LEAST_READ", 400)
    monkeypatch.setattr(coding, "_MOST_INDEXED", 800)
    assert sizes[0] < there_and_back(made, content) < sizes[1], "an index has no more than so many bytes"


def test_a_text_takes_the_bits_of_its_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    content = sentences(40)
    told = []

    def noted(steps: list, most: int) -> tuple[list[int], bytes]:
        told.append(sum(float((precision - np.log2(of)).sum()) for _, of, precision in steps))
        return original(steps, most)

    original = coding.code_of_steps
    monkeypatch.setattr(coding, "code_of_steps", noted)
    size = len(MADE.encode(content, 40))
    assert told[0] / 8 < size < told[0] / 8 + 16


def test_the_bytes_are_those_of_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read by every later version: a change of these is a change of the format."""
    monkeypatch.setattr(lanes, "_OF_A_LANE", 512)
    made = coder()
    code = made.encode(sentences(40), 40)
    digests = [hashlib.sha256(content).hexdigest()[:16] for content in (made.state().to_bytes(), code)]
    assert (len(code), digests) == (182, ["c5366a6906dab47b", "4ab83df9a1421377"])


@pytest.mark.slow
def test_a_state_makes_the_same_coder_in_another_process() -> None:
    assert "texts" in coders
    state = MADE.state().to_bytes()
    again = coder_from_state(CoderState.from_bytes(state))
    assert again.state().fingerprint == MADE.state().fingerprint
    code = MADE.encode(SOME, 12)
    script = (
        "import sys, torch; torch.set_num_threads(2); torch.set_float32_matmul_precision('medium');"
        "from latentkit.codec import CoderState, coder_from_state; from latentkit.codec.texts import lanes;"
        "lanes._OF_A_LANE = 32;"
        "state, code, size = map(bytes.fromhex, sys.stdin.read().split('\\n'));"
        "made = coder_from_state(CoderState.from_bytes(state));"
        "sys.stdout.buffer.write(made.decode(code, 1, int.from_bytes(size, 'big')))"
    )
    given = "\n".join(part.hex() for part in (state, code, len(SOME).to_bytes(4, "big")))
    run = subprocess.run([sys.executable, "-c", script], input=given.encode(), capture_output=True, check=True)
    assert run.stdout == SOME


def test_the_settings_of_products_change_nothing() -> None:
    code, before = MADE.encode(SOME, 12), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert MADE.encode(SOME, 12) == code
    finally:
        torch.set_float32_matmul_precision(before)


def test_damage_is_an_error_or_another_text_of_that_size() -> None:
    content = sentences(6)
    code, random = MADE.encode(content, 6), np.random.default_rng(0)
    n_refused = 0
    for case in range(3, len(code), 3):
        changed = bytearray(code)
        changed[case] ^= int(random.integers(1, 256))
        for damaged in (bytes(changed), code[:case]):
            try:
                assert len(MADE.decode(damaged, 6, len(content))) == len(content)
            except DamagedArchiveError:
                n_refused += 1
    assert n_refused > 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x09\x01\x00", "have no room for so many lines"),
        (b"\x00\x09\x00", "have no room for so many lines"),
        (b"\x00\x02\x00\x00\x00", "bytes are no stack"),
    ],
)
def test_codes_of_no_text_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message):
        MADE.decode(content, 1, 3)


def test_a_code_of_another_size_is_refused() -> None:
    code = MADE.encode(SOME, 12)
    for size in (len(SOME) - 1, len(SOME) + 1, 2 * len(SOME)):
        with pytest.raises(DamagedArchiveError):
            MADE.decode(code, 12, size)


def test_models_of_no_texts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DamagedArchiveError, match="not one that weighs contexts of texts"):
        TextCoder(b"", network(n_inputs=3))
    monkeypatch.setattr(coding, "MOST_KNOWN", 10)
    with pytest.raises(DamagedArchiveError, match="knows 11 bytes of text, and 10 are the most"):
        TextCoder(b"hello world", network())
    state = MADE.state()
    for text in (np.array([300]), np.array([[1]])):
        with pytest.raises(DamagedArchiveError, match="the text that it knows is not one"):
            coder_from_state(CoderState("texts", state.settings, {**state.arrays, "text": text}))
    with pytest.raises(DamagedArchiveError, match="its model is no texts coder"):
        coder_from_state(CoderState("texts", {}, state.arrays))
