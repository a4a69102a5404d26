"""Contents into an archive of the tests and out of it again."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from latentkit.codec.archive import ArchiveWriter
from latentkit.tasks.compression import compress, decompress, open_contents
from tests.codec.archive.examples import noise


def archive_of(source: Any, **options: Any) -> bytes:
    """The archive of something, written by one thread without a coder."""
    stream = io.BytesIO()
    compress(open_contents(source), stream, None, **{"n_workers": 1, **options})
    return stream.getvalue()


def given_back(source: Any, target: Path, **options: Any) -> bytes:
    """What a file becomes that is compressed and decompressed."""
    assert decompress(io.BytesIO(archive_of(source, **options)), target, n_workers=1) == [target]
    return target.read_bytes()


def images(n: int = 12, side: int = 9, channels: int = 0) -> np.ndarray:
    """Images of noise, uint8."""
    shape = (n, side, side + 2, channels) if channels else (n, side, side + 2)
    return np.frombuffer(noise(int(np.prod(shape))), np.uint8).reshape(shape)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks_of(file: Path) -> list[tuple[bytes, bytes]]:
    """Kind and body of the chunks of a PNG file."""
    content, found, place = file.read_bytes(), [], 8
    while place < len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


def with_chunks(file: Path, *, before: bytes = b"", after: bytes = b"") -> None:
    """Put chunks into a PNG file: behind its header, and before its end."""
    content = file.read_bytes()
    file.write_bytes(content[:33] + before + content[33:-12] + after + content[-12:])


def folder_archive(listing: Any, *blocks: bytes | tuple[bytes, int], meta: dict[str, Any] | None = None) -> io.BytesIO:
    """The archive of a folder, as somebody hostile writes it; blocks are of one file unless they tell."""
    told = listing if isinstance(listing, bytes) else json.dumps(listing).encode()
    stream = io.BytesIO()
    with ArchiveWriter(stream, {"kind": "folder", "name": "x", "listing": len(told), **(meta or {})}) as archive:
        archive.write(told, 0)
        for block in blocks:
            archive.write(*(block if isinstance(block, tuple) else (block, 1)))
    stream.seek(0)
    return stream
