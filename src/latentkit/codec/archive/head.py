"""The head of an archive: its version, what its bytes are, and by which coder they were written."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from latentkit.codec.archive.frames import MAGIC, Fields, Frame, FrameKind, frame, read_frame, word
from latentkit.codec.archive.source import Source
from latentkit.core.errors import ArchiveError, DamagedArchiveError, InvalidParameterError

__all__ = ["FORMAT_VERSION", "MOST_META_BYTES", "Head", "read_head"]

#: The version that is written; every later latentkit reads it.
FORMAT_VERSION: Final = 1
#: Size of a description in JSON, at most.
MOST_META_BYTES: Final = 1 << 20
_FINGERPRINT_BYTES: Final = 32
_DEFLATED, _HAS_FINGERPRINT = 1, 2  # flags

#: What descriptions are likely to hold, the likeliest last; part of the format, so never changed.
_DICTIONARY: Final = (
    b'false,true,null,"missing":"order":"classes":"levels":"encoding":"utf-8","delimiter":",","header":"kinds":'
    b'"number","category","date","text","float64","float32","int64","uint16","dtype":"uint8","format":"jsonl",'
    b'"parquet","npy","png","csv","files":["names":["columns":["mode":"RGB","channels":"height":"width":'
    b'"size":[32,32,3],"rows":"kind":"texts","kind":"table","n":1000,{"kind":"images","shape":[28,28,1],"n":10000}'
)


@final
@dataclass(frozen=True, slots=True)
class Head:
    """What stands at the start of an archive.

    Attributes:
        meta: What the bytes are, as JSON knows it.
        fingerprint: Of the state of the coder; None where there was none.
        stamp: A number of 32 bits by which archives of the same `meta` differ.
    """

    meta: Mapping[str, Any]
    fingerprint: bytes | None = None
    stamp: int = 0

    def to_frame(self) -> bytes:
        """Return its frame.

        Raises:
            InvalidParameterError: If JSON does not know what is in `meta`, or it is too large.
        """
        try:
            told = json.dumps(dict(self.meta), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidParameterError(f"meta must be a mapping that JSON can write: {error}") from error
        if len(told) > MOST_META_BYTES:
            raise InvalidParameterError(
                f"meta must be at most {MOST_META_BYTES:,} bytes in JSON; got {len(told):,}. Write the rest as a block."
            )
        squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=_DICTIONARY)
        deflated = squeezer.compress(told) + squeezer.flush()
        flags = _HAS_FINGERPRINT if self.fingerprint is not None else 0
        if len(deflated) < len(told):
            flags, told = flags | _DEFLATED, deflated
        start = bytes((FORMAT_VERSION, flags)) + word(self.stamp)
        return frame(FrameKind.HEAD, start + (self.fingerprint or b"") + told)

    @classmethod
    def of(cls, body: bytes) -> Head:
        """Return the head that a frame holds.

        Raises:
            ArchiveError: If it is of a version that is not known.
            DamagedArchiveError: If it is none.
        """
        fields = Fields(body)
        version = fields.byte()
        if version > FORMAT_VERSION:
            raise ArchiveError(
                f"it is of format {version}, and this version of latentkit reads formats up to {FORMAT_VERSION}. "
                "Install a newer one."
            )
        flags, stamp = fields.byte(), fields.word()
        if version < 1 or flags & ~(_DEFLATED | _HAS_FINGERPRINT):
            raise DamagedArchiveError("its head cannot be read.")
        fingerprint = fields.take(_FINGERPRINT_BYTES) if flags & _HAS_FINGERPRINT else None
        told = fields.rest()
        if flags & _DEFLATED:
            told = _inflated(told)
        try:
            meta = json.loads(told)
        except (ValueError, RecursionError) as error:
            raise DamagedArchiveError("its description cannot be read.") from error
        if not isinstance(meta, dict):
            raise DamagedArchiveError("its description cannot be read.")
        return cls(meta, fingerprint, stamp)


def read_head(source: Source) -> tuple[Head, Frame]:
    """Return the head of an archive, and the frame that it stands in, from the start on.

    Raises:
        ArchiveError: If it is no archive, or of a version that is not known.
        DamagedArchiveError: If its head is not what was written.
    """
    try:
        magic = source.take(len(MAGIC))
    except DamagedArchiveError:
        magic = b""
    if magic != MAGIC:
        told = "was sent as text, which changed it" if magic[1:4] == MAGIC[1:4] else "is none, or its start is damaged"
        raise DamagedArchiveError(f"it does not begin as an archive does: it {told}.")
    first = read_frame(source)
    if not isinstance(first, Frame) or first.kind is not FrameKind.HEAD:
        raise DamagedArchiveError("it has no head.")
    return Head.of(first.body), first


def _inflated(content: bytes) -> bytes:
    unsqueezer = zlib.decompressobj(-zlib.MAX_WBITS, zdict=_DICTIONARY)
    try:
        told = unsqueezer.decompress(content, MOST_META_BYTES)
    except zlib.error as error:
        raise DamagedArchiveError("its description cannot be read.") from error
    if not unsqueezer.eof or unsqueezer.unused_data:
        raise DamagedArchiveError("its description cannot be read.")
    return told
