"""Reading what is left of a damaged archive."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, final

from latentkit.codec.archive.blocks import Block, PackedBlock
from latentkit.codec.archive.frames import Frame, FrameKind
from latentkit.codec.archive.head import Head
from latentkit.codec.archive.index import BlockEntry, Index
from latentkit.codec.archive.scan import Scan
from latentkit.codec.archive.sequence import read_model
from latentkit.codec.archive.source import extent, reading
from latentkit.codec.archive.unpacking import Unpacker
from latentkit.codec.coders import Coder
from latentkit.core.errors import DamagedArchiveError

__all__ = ["Salvage"]

_IN_MEMORY: Final = 16 << 20  # bytes of a pipe, beyond which they are kept in a file


@final
class Salvage:
    """What is left of a damaged archive; best used in a ``with`` statement.

    The archive is looked through for frames that are whole, by their marks and checksums: one that was cut off, has
    lost its end or its index, or holds bytes that are not its own, gives back every block that is as it was written.
    What tells its frames from those of others is a checksum that its head and its end hold: one of them has to be left.
    What is iterated over are the blocks that become what they were, in order.

    Args:
        source: A path, or a stream of bytes, which stays open and is read from where it stands.
        coder: By which the archive was written, or several, of which one is it; None takes the model that it holds,
            where that is left.

    Attributes:
        meta: What the bytes are; None where both copies of the head are lost.
        fingerprint: Of the state of the coder; None where there was none, or the head is lost.
        blocks: Where each block lies that is left, and what it holds.
        n_items: How many items the archive had; None where its index is lost.
        lost_bytes: Parts of the archive that are no whole frames of it.
        failed_items: Items of blocks that are left and did not become what they were, as far as iteration has come.

    Raises:
        UnreadableDataError: If the file cannot be read.
        ArchiveError: If the archive is of a version that is not known, or was written with another coder.
        DamagedArchiveError: If neither its head nor its end is left, or it never was an archive.

    Example:
        >>> import io
        >>> from latentkit.codec.archive import ArchiveWriter
        >>> stream = io.BytesIO()
        >>> with ArchiveWriter(stream, {"kind": "lines"}) as archive:
        ...     for line in (b"to be", b"or not to be"):
        ...         method = archive.write(line, 1)
        >>> damaged = stream.getvalue().replace(b"to be", b"to me", 1)
        >>> with Salvage(io.BytesIO(damaged)) as left:
        ...     left.lost_items, [block.content for block in left]
        ((range(0, 1),), [b'or not to be'])
    """

    def __init__(self, source: str | Path | IO[bytes], *, coder: Coder | Sequence[Coder] | None = None) -> None:
        self._name = str(source) if isinstance(source, (str, Path)) else "the archive"
        with reading(self._name), ExitStack() as exits:
            stream = exits.enter_context(Path(source).open("rb")) if isinstance(source, (str, Path)) else source
            start, n_bytes = extent(stream)
            if n_bytes is None:
                pipe, stream = stream, exits.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
                shutil.copyfileobj(pipe, stream)
                n_bytes = stream.tell()
            self._scan = Scan(stream, start, n_bytes)
            found = _Found(self._scan)
            self._unpacker = Unpacker(found.head and found.head.fingerprint, coder)
            self._exits = exits.pop_all()
        self._model_offset = found.model_offset
        self.meta: Mapping[str, Any] | None = found.head and found.head.meta
        self.fingerprint = found.head and found.head.fingerprint
        self.blocks = found.blocks()
        self.n_items = None if found.index is None else found.index.n_items
        whole = self._scan.edges + [found.places[offset] for offset in found.places.keys() - found.foreign()]
        self.lost_bytes = _between(_joined(whole), n_bytes)
        self.failed_items: tuple[range, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if this instance has opened one."""
        self._exits.close()

    @property
    def whole_items(self) -> tuple[range, ...]:
        """Items whose blocks are left."""
        return _joined(_items(entry) for entry in self.blocks)

    @property
    def lost_items(self) -> tuple[range, ...]:
        """Items whose blocks are lost; those behind the last block that is left only if the index is left, too."""
        whole = self.whole_items
        return _between(whole, whole[-1].stop if self.n_items is None and whole else self.n_items or 0)

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks that are left and become what they were, in order.

        Raises:
            ArchiveError: If a block asks for a coder that is neither given nor left in the archive.
        """
        failed: list[range] = []
        self.failed_items = ()
        with reading(self._name):
            for entry in self.blocks:
                try:
                    yield self._block(entry)
                except DamagedArchiveError:
                    failed.append(_items(entry))
                    self.failed_items = _joined(failed)

    def _block(self, entry: BlockEntry) -> Block:
        packed = PackedBlock.of(self._frame(entry.offset))
        if self._unpacker.needs_model and self._unpacker.model is None and self._model_offset:
            self._unpacker.model = read_model(self._frame(self._model_offset))
        self._unpacker.prepare(packed)
        return self._unpacker.unpacked(packed)

    def _frame(self, offset: int) -> Frame:
        frame = self._scan.frame(offset)
        if frame is None:
            raise DamagedArchiveError("it was changed while it was read.")
        return frame


@final
class _Found:
    """What of a damaged archive is whole.

    Attributes:
        head: One of its copies.
        index: Of all blocks that there were.
        model_offset: Where the model starts; 0 where there is none.
        places: Where each frame lies, by its offset.
    """

    def __init__(self, scan: Scan) -> None:
        self.head: Head | None = None
        self.index: Index | None = None
        self.model_offset = 0
        self.places: dict[int, range] = {}
        self._blocks: list[BlockEntry] = []
        for frame in scan.frames():
            try:
                is_part = self._add(frame)
            except DamagedArchiveError:  # its checksum is right, and its content is not
                is_part = False
            if is_part:
                self.places[frame.offset] = range(frame.offset, frame.offset + frame.size)

    def blocks(self) -> tuple[BlockEntry, ...]:
        """Blocks that are left; where the index is, too, those that it has."""
        if self.index is None:
            return tuple(self._blocks)
        known = {replace(entry, offset=0) for entry in self.index.entries}  # wherever they lie
        return tuple(entry for entry in self._blocks if replace(entry, offset=0) in known)

    def foreign(self) -> set[int]:
        """Offsets of blocks that the index does not have."""
        return {entry.offset for entry in self._blocks} - {entry.offset for entry in self.blocks()}

    def _add(self, frame: Frame) -> bool:
        if frame.kind is FrameKind.HEAD:
            self.head = Head.of(frame.body)
        elif frame.kind is FrameKind.INDEX:
            self.index = Index.of(frame)
        elif frame.kind is FrameKind.MODEL:
            self.model_offset = frame.offset
        else:
            entry = BlockEntry.of(PackedBlock.of(frame), frame.offset, frame.checksum)
            if self._blocks and entry.first < _items(self._blocks[-1]).stop:
                return False  # one that was there before
            self._blocks.append(entry)
        return True


def _items(entry: BlockEntry) -> range:
    return range(entry.first, entry.first + entry.n_items)


def _joined(parts: Iterable[range]) -> tuple[range, ...]:
    """Ranges in their order, those that touch as one."""
    joined: list[range] = []
    for part in sorted(parts, key=lambda part: part.start):
        if joined and part.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(part.stop, joined[-1].stop))
        elif part:
            joined.append(part)
    return tuple(joined)


def _between(parts: tuple[range, ...], end: int) -> tuple[range, ...]:
    """What lies before, between and after ranges, from 0 to `end`."""
    edges = [0, *(edge for part in parts for edge in (part.start, part.stop)), end]
    return tuple(range(*pair) for pair in zip(edges[::2], edges[1::2], strict=True) if pair[0] < pair[1])
