"""Frames: what an archive consists of, how one is written, and how it is checked as it is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, final

import google_crc32c

from latentkit.codec.archive.source import Source
from latentkit.codec.numbers import written_numbers
from latentkit.core.errors import DamagedArchiveError

__all__ = [
    "END_BYTES",
    "MAGIC",
    "SYNC",
    "End",
    "Fields",
    "Frame",
    "FrameKind",
    "end_frame",
    "frame",
    "read_end",
    "read_frame",
    "word",
]

#: How every archive begins; a transfer as text changes it (the 8th bit, the ends of lines, the end of a file).
MAGIC: Final = b"\x89LKZ\r\n\x1a\n"
#: How every frame begins.
SYNC: Final = b"\xf7\xb1\x8e"
#: Size of the last frame, so that it is found from the end of a file.
END_BYTES: Final = 16
_MOST_DIGITS: Final = 9  # of a number in base 128
_WORD: Final = 4  # bytes


@final
class FrameKind(Enum):
    """Kinds of frames, by the byte behind the mark of synchronisation."""

    HEAD = b"H"
    MODEL = b"M"
    BLOCK = b"B"
    INDEX = b"I"
    END = b"E"

    @property
    def marker(self) -> bytes:
        """The first four bytes of such a frame."""
        return SYNC + self.value

    @property
    def most_bytes(self) -> int:
        """How large the body of such a frame can be."""
        return _MOST_BODY[self]


_KINDS: Final = {kind.marker: kind for kind in FrameKind}
_FIELDS: Final = 64  # bytes that the fields before a payload take at most
_MOST_BODY: Final = {
    FrameKind.HEAD: (1 << 20) + _FIELDS,
    FrameKind.MODEL: (256 << 20) + _FIELDS,
    FrameKind.BLOCK: (64 << 20) + _FIELDS,
    FrameKind.INDEX: 32 << 20,
    FrameKind.END: END_BYTES,
}


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that was read and found whole.

    Attributes:
        kind: What it holds.
        body: Its content; empty where it was passed over.
        offset: Where it starts in the archive.
        size: How many bytes it takes there.
        checksum: As it stands at its end.
    """

    kind: FrameKind
    body: bytes
    offset: int
    size: int
    checksum: int


@final
@dataclass(frozen=True, slots=True)
class End:
    """The last frame.

    Attributes:
        offset: Where it starts.
        index_size: Bytes of the index that lies before it; 0 where there is none.
        tag: Checksum of the head.
    """

    offset: int
    index_size: int
    tag: int


@final
class Fields:
    """Reads the fields of a frame's body, one after the other.

    Raises:
        DamagedArchiveError: If there is no such field.

    Example:
        >>> fields = Fields(written_numbers(300) + word(7) + b"rest")
        >>> fields.number(), fields.word(), fields.rest()
        (300, 7, b'rest')
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return self._place == len(self._content)

    def take(self, n: int) -> bytes:
        """Return the next n bytes."""
        taken = self._content[self._place : self._place + n]
        if len(taken) < n:
            raise DamagedArchiveError("a frame is shorter than what it holds.")
        self._place += n
        return taken

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def word(self) -> int:
        """Return the next number of 32 bits."""
        return int.from_bytes(self.take(_WORD), "little")

    def number(self) -> int:
        """Return the next number in base 128."""
        return _number(self)

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._content) - self._place)


def word(value: int) -> bytes:
    """Return a number of 32 bits, little-endian."""
    return value.to_bytes(_WORD, "little")


def frame(kind: FrameKind, *body: bytes, tag: int = 0) -> bytes:
    """Return a frame: marker, size of the body, body, checksum.

    Args:
        kind: What it holds.
        *body: Its content, in parts.
        tag: By which the checksum is exchanged (XOR), so that a frame of another archive is seen to be one: that of
            the head; 0 for a head.
    """
    parts = [kind.marker + written_numbers(sum(len(part) for part in body)), *body]
    checksum = 0
    for part in parts:
        checksum = google_crc32c.extend(checksum, part)
    return b"".join((*parts, word(checksum ^ tag)))


def end_frame(index_size: int, tag: int, checksum: int) -> bytes:
    """Return the last frame.

    Args:
        index_size: Bytes of the index before it.
        tag: That of the head.
        checksum: Of all that comes before this frame.
    """
    start = FrameKind.END.marker + word(index_size) + word(tag)
    return start + word(google_crc32c.extend(checksum, start))


def read_frame(source: Source, tag: int = 0, *, passes_over: FrameKind | None = None) -> Frame | End:
    """Return the next frame.

    Args:
        source: Read from where it stands.
        tag: That of the head; heads have none.
        passes_over: A kind whose bodies are checked and not kept.

    Raises:
        DamagedArchiveError: If there is none, or it is not as it was written.
    """
    offset = source.position
    marker = source.take(len(SYNC) + 1)
    kind = _KINDS.get(marker)
    if kind is None:
        raise DamagedArchiveError(f"at byte {offset:,}, where a frame should start, none does.")
    if kind is FrameKind.END:
        return read_end(source, marker)
    told = _Told(source)
    size = _number(told)
    if size > kind.most_bytes:
        raise DamagedArchiveError(f"the frame at byte {offset:,} says that it is larger than one can be.")
    checksum = google_crc32c.value(marker + told.taken)
    body = b""
    if kind is passes_over:
        checksum = source.pass_over(size, checksum)
    else:
        body = source.take(size)
        checksum = google_crc32c.extend(checksum, body)
    stored = int.from_bytes(source.take(_WORD), "little")
    if stored != checksum ^ (0 if kind is FrameKind.HEAD else tag):
        raise DamagedArchiveError(f"the frame at byte {offset:,} is not what was written: its checksum is another.")
    return Frame(kind, body, offset, source.position - offset, stored)


def read_end(source: Source, marker: bytes) -> End:
    """Return the last frame, whose marker has been read; all that was read so far has to be what was written."""
    offset = source.position - len(marker)
    if marker != FrameKind.END.marker:
        raise DamagedArchiveError("it does not end as an archive does: it is cut off, or more follows its end.")
    fields = Fields(source.take(2 * _WORD))
    end = End(offset, fields.word(), fields.word())
    checksum = source.checksum
    if int.from_bytes(source.take(_WORD), "little") != checksum and source.is_whole:
        raise DamagedArchiveError("its checksum is not that of its content.")
    return end


@final
class _Told:
    """Bytes of a source, one by one, and those that were taken."""

    def __init__(self, source: Source) -> None:
        self._source, self.taken = source, b""

    def byte(self) -> int:
        self.taken += self._source.take(1)
        return self.taken[-1]


def _number(fields: Fields | _Told) -> int:
    value = 0
    for place in range(_MOST_DIGITS):
        digit = fields.byte()
        value |= (digit & 127) << (7 * place)
        if digit < 128:
            if place and not digit:
                break  # one way to write each number
            return value
    raise DamagedArchiveError("a number of it cannot be read.")
