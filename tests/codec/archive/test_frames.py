"""Frames: numbers, checksums, and that nothing else is taken for one."""

from __future__ import annotations

import io

import google_crc32c
import pytest
from google_crc32c import python as slow_crc32c
from hypothesis import given
from hypothesis import strategies as st

from latentkit.codec.archive.frames import (
    MAGIC,
    SYNC,
    End,
    Fields,
    Frame,
    FrameKind,
    end_frame,
    frame,
    read_frame,
    word,
)
from latentkit.codec.archive.source import Source
from latentkit.codec.numbers import written_numbers
from latentkit.core.errors import DamagedArchiveError
from tests.codec.archive.examples import noise

BODIES = [kind for kind in FrameKind if kind is not FrameKind.END]


def source(content: bytes) -> Source:
    return Source(io.BytesIO(content), n_bytes=len(content))


def test_checksums_are_crc_32c() -> None:
    """The vector of RFC 3720, and what a machine without the fast library computes."""
    assert google_crc32c.value(b"123456789") == 0xE3069283
    assert slow_crc32c.value(b"123456789") == 0xE3069283
    content = noise(3000)
    assert google_crc32c.extend(google_crc32c.value(content[:7]), content[7:]) == slow_crc32c.value(content)


@given(value=st.integers(0, (1 << 63) - 1))
def test_numbers_are_read(value: int) -> None:
    fields = Fields(written_numbers(value))
    assert fields.number() == value
    assert fields.is_empty
    assert len(written_numbers(value)) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\0", b"\xff\0", b"\xff" * 9, b"\xff" * 9 + b"\1", b"\0"[:0]])
def test_numbers_that_cannot_be_are_refused(content: bytes) -> None:
    """Each number is written in one way."""
    with pytest.raises(DamagedArchiveError):
        Fields(content).number()


@given(kind=st.sampled_from(BODIES), body=st.binary(max_size=300), tag=st.integers(0, (1 << 32) - 1))
def test_a_frame_is_read(kind: FrameKind, body: bytes, tag: int) -> None:
    tag = 0 if kind is FrameKind.HEAD else tag
    content = frame(kind, body[:10], body[10:], tag=tag)
    assert content == frame(kind, body, tag=tag)
    checksum = int.from_bytes(content[-4:], "little")
    for passes_over in (None, kind):
        stream = source(content)
        expected = Frame(kind, b"" if passes_over else body, 0, len(content), checksum)
        assert read_frame(stream, tag, passes_over=passes_over) == expected
        assert stream.is_at_end()
    if kind is not FrameKind.HEAD:
        with pytest.raises(DamagedArchiveError, match="its checksum is another"):
            read_frame(source(content), tag ^ 1)


@pytest.mark.parametrize("kind", BODIES)
def test_every_bit_of_a_frame_is_guarded(kind: FrameKind) -> None:
    content = frame(kind, noise(40))
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(DamagedArchiveError):
            read_frame(source(bytes(changed)))


def test_the_end_tells_where_the_index_is_and_guards_what_was_read() -> None:
    stream = source(b"before" + end_frame(7, 9, google_crc32c.value(b"before")))
    stream.take(6)
    assert read_frame(stream) == End(6, 7, 9)
    assert stream.is_at_end()
    wrong = source(b"befxre" + end_frame(7, 9, google_crc32c.value(b"before")))
    wrong.take(6)
    with pytest.raises(DamagedArchiveError, match="its checksum is not that of its content"):
        read_frame(wrong)
    assert read_frame(Source(io.BytesIO(b"x" + end_frame(7, 9, 0)), position=1, n_bytes=17)) == End(1, 7, 9)


def test_marks_are_not_those_of_text() -> None:
    """What is sent as text does not keep the start; a frame's mark is no UTF-8."""
    assert len(MAGIC) == 8
    with pytest.raises(UnicodeDecodeError):
        SYNC.decode()
    assert len({kind.marker for kind in FrameKind}) == len(FrameKind)
    assert word(1) == b"\1\0\0\0"
