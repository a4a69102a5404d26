"""Looking through a damaged archive for what is whole: frames, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final, final

from latentkit.codec.archive.frames import END_BYTES, MAGIC, SYNC, End, Frame, FrameKind, read_frame
from latentkit.codec.archive.source import Source
from latentkit.core.errors import DamagedArchiveError

__all__ = ["Scan"]

_WINDOW: Final = 1 << 20  # bytes that are looked through at once
#: How often a byte is read, on average, at most. Once suffices but for frames in frames, and malice.
_MOST_READINGS: Final = 16


@final
class Scan:
    """A stream that is looked through.

    Args:
        stream: Of bytes, which can be read anywhere.
        start: Where the archive starts in it.
        n_bytes: How many bytes it has.

    Attributes:
        n_bytes: How many bytes it has.
        tag: By which frames of this archive are known.
        edges: What belongs to it at its start and its end beside frames, as far as it is left.

    Raises:
        DamagedArchiveError: If nothing is left that tells the tag.
    """

    def __init__(self, stream: IO[bytes], start: int, n_bytes: int) -> None:
        self._stream, self._start, self.n_bytes = stream, start, n_bytes
        self._window, self._window_start = b"", 0
        self.tag = 0
        end = self._end()
        head = self.frame(len(MAGIC))
        if head is not None and head.kind is FrameKind.HEAD:
            self.tag = head.checksum
        elif end is not None:
            self.tag = end.tag
        else:
            raise DamagedArchiveError("neither its head nor its end is left, or it never was an archive.")
        self.edges: list[range] = []
        if n_bytes >= len(MAGIC) and self._pass(0).take(len(MAGIC)) == MAGIC:
            self.edges.append(range(len(MAGIC)))
        if end is not None and end.tag == self.tag:
            self.edges.append(range(end.offset, n_bytes))

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of this archive that are whole, from the start on; models without their bodies."""
        position, left_to_read = 0, _MOST_READINGS * self.n_bytes
        while left_to_read > 0 and (place := self._mark(position)) is not None:
            attempt = self._pass(place)
            frame = self._whole(attempt, FrameKind.MODEL)
            left_to_read -= attempt.position - place
            if frame is not None and (frame.kind is not FrameKind.HEAD or frame.checksum == self.tag):
                position = place + frame.size
                yield frame
            else:
                position = place + 1

    def frame(self, offset: int) -> Frame | None:
        """Return the frame that starts at an offset; None where none does that is whole."""
        return self._whole(self._pass(offset), None)

    def _whole(self, source: Source, passes_over: FrameKind | None) -> Frame | None:
        try:
            frame = read_frame(source, self.tag, passes_over=passes_over)
        except DamagedArchiveError:
            return None
        return frame if isinstance(frame, Frame) else None

    def _end(self) -> End | None:
        if self.n_bytes < END_BYTES:
            return None
        try:
            end = read_frame(self._pass(self.n_bytes - END_BYTES))
        except DamagedArchiveError:
            return None
        return end if isinstance(end, End) else None

    def _mark(self, position: int) -> int | None:
        """Where the next frame may start."""
        while True:
            offset = position - self._window_start
            if not 0 <= offset <= len(self._window) - len(SYNC):
                self._window_start, offset = position, 0
                self._window = self._pass(position).take(min(_WINDOW, self.n_bytes - position))
            found = self._window.find(SYNC, offset)
            if found >= 0:
                return self._window_start + found
            position = self._window_start + len(self._window)
            if position >= self.n_bytes:
                return None
            position -= len(SYNC) - 1

    def _pass(self, position: int) -> Source:
        return Source(self._stream, self._start, position, self.n_bytes)
