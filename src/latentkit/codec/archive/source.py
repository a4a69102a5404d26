"""Where an archive is read from: forward, counted, checksummed, and never more at once than is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, final

import google_crc32c

from latentkit.core.errors import ArchiveError, DamagedArchiveError, UnreadableDataError

__all__ = ["Source", "extent", "reading"]

_PIECE: Final = 1 << 20  # bytes that are asked for at once where nobody knows how many there are


def extent(stream: IO[bytes]) -> tuple[int, int | None]:
    """Return where a stream stands, and how many bytes follow; 0 and None where it is a pipe, which cannot tell."""
    seekable = getattr(stream, "seekable", None)
    if seekable is None or not seekable():
        return 0, None
    start = stream.tell()
    n_bytes = stream.seek(0, os.SEEK_END) - start
    stream.seek(start)
    return start, n_bytes


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Name the archive in errors, and make errors of the file system our own."""
    try:
        yield
    except ArchiveError as error:
        raise type(error)(f"cannot read {name}: {error}") from error
    except OSError as error:
        raise UnreadableDataError(f"cannot read {name}: {error.strerror or error}.") from error


@final
class Source:
    """A pass over a stream.

    Args:
        stream: Of bytes. One that can be read anywhere may be read by others in between.
        start: Where the archive starts in it.
        position: Where in the archive this pass starts.
        n_bytes: How many bytes the archive has; None for a stream that cannot tell, which is read as it comes.

    Attributes:
        position: How far this pass has come.
        checksum: CRC-32C of all that it has read.
        is_whole: Whether it started at the start.
    """

    def __init__(self, stream: IO[bytes], start: int = 0, position: int = 0, n_bytes: int | None = None) -> None:
        self._stream, self._start, self._n_bytes = stream, start, n_bytes
        self.position, self.checksum, self.is_whole = position, 0, position == 0

    def take(self, n: int) -> bytes:
        """Return the next n bytes.

        Raises:
            DamagedArchiveError: If there are fewer; no memory is taken for more than there are.
        """
        taken = self._read(n)
        self.checksum = google_crc32c.extend(self.checksum, taken)
        return taken

    def pass_over(self, n: int, checksum: int) -> int:
        """Go on from a CRC-32C over the next n bytes, and keep none of them.

        Raises:
            DamagedArchiveError: If there are fewer.
        """
        while n:
            piece = self.take(min(n, _PIECE))
            checksum = google_crc32c.extend(checksum, piece)
            n -= len(piece)
        return checksum

    def is_at_end(self) -> bool:
        """Whether nothing follows."""
        if self._n_bytes is not None:
            return self.position == self._n_bytes
        return not self._stream.read(1)

    def _read(self, n: int) -> bytes:
        most = _PIECE
        if self._n_bytes is not None:
            most = n
            if n > self._n_bytes - self.position:
                raise DamagedArchiveError("it ends before all that was written has been read.")
            self._stream.seek(self._start + self.position)
        pieces, left = [], n
        while left:
            piece = self._stream.read(min(left, most))
            if not piece:
                raise DamagedArchiveError("it ends before all that was written has been read.")
            pieces.append(piece)
            left -= len(piece)
        self.position += n
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
