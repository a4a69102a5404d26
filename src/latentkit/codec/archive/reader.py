"""Reading an archive: as it comes, or any block of it; nothing is decoded before it is known to be what was written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, final

from latentkit.codec.archive.blocks import Block, Method, Packed, PackedBlock
from latentkit.codec.archive.frames import END_BYTES, Frame, FrameKind, read_end, read_frame
from latentkit.codec.archive.index import BlockEntry, Index
from latentkit.codec.archive.sequence import FrameSequence, read_model
from latentkit.codec.archive.source import Source, extent, reading
from latentkit.codec.archive.unpacking import Unpacker, model_state
from latentkit.codec.coders import Coder, CoderState
from latentkit.codec.processes import CoderProcesses
from latentkit.core.errors import ArchiveError, DamagedArchiveError, InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["ArchiveReader"]

_PIPE: Final = "it comes through a pipe, which can only be read from its start to its end, and once."


@final
class ArchiveReader:
    """Reads an archive; best used in a ``with`` statement.

    What is iterated over are its blocks, in order. All of the archive is checked by then, to its last byte: what cannot
    be, such as that the last block is the last one, when the last block has been yielded. Whoever writes what was read
    to a file should therefore give it its name after that.

    From a file, or another stream that can be read anywhere, single blocks are read, too. An instance is for
    one thread.

    Args:
        source: A path, or a stream of bytes, which stays open. One that can be read anywhere is read from where it
            stands.
        coder: By which the archive was written, where it has blocks that a coder coded, or several, of which one is;
            None takes the model that the archive holds, where it does.
        n_workers: Threads that decode blocks, each one block at a time.

    Attributes:
        meta: What the bytes are.
        fingerprint: Of the state of the coder that the archive was written with; None where there was none.

    Raises:
        UnreadableDataError: If the file cannot be read.
        ArchiveError: If the archive is of a version that is not known, or was written with another coder.
        DamagedArchiveError: If it is no archive, or its head is not what was written.

    Example:
        >>> import io
        >>> from latentkit.codec.archive import ArchiveWriter
        >>> stream = io.BytesIO()
        >>> with ArchiveWriter(stream, {"kind": "lines"}) as archive:
        ...     for line in (b"to be", b"or not to be"):
        ...         method = archive.write(line, 1)
        >>> _ = stream.seek(0)
        >>> with ArchiveReader(stream) as reader:
        ...     reader.meta, reader.n_items, reader.read_items_block(1).content
        ({'kind': 'lines'}, 2, b'or not to be')
    """

    def __init__(
        self,
        source: str | Path | IO[bytes],
        *,
        coder: Coder | Sequence[Coder] | None = None,
        n_workers: int = 1,
    ) -> None:
        self._n_workers = check_integer("n_workers", n_workers, low=1)
        self._name = str(source) if isinstance(source, (str, Path)) else "the archive"
        with reading(self._name), ExitStack() as exits:
            self._stream = exits.enter_context(Path(source).open("rb")) if isinstance(source, (str, Path)) else source
            self._start, self._n_bytes = extent(self._stream)
            self._sequence = FrameSequence(self._pass())
            head = self._sequence.head
            self.meta: Mapping[str, Any] = head.meta
            self.fingerprint = head.fingerprint
            self._unpacker = Unpacker(head.fingerprint, coder)
            self._exits = exits.pop_all()
        self._is_fresh = True
        self._known: Index | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if this instance has opened one."""
        self._exits.close()

    # What there is

    @property
    def blocks(self) -> tuple[BlockEntry, ...]:
        """Where each block lies, and what it holds.

        Raises:
            ArchiveError: If the archive comes through a pipe, and has not been read.
            DamagedArchiveError: If its index is not what was written.
        """
        return tuple(self._index().entries)

    @property
    def n_items(self) -> int:
        """How many items the archive has; raises what :attr:`blocks` does."""
        return self._index().n_items

    @property
    def n_bytes(self) -> int:
        """How many bytes they are, unpacked; raises what :attr:`blocks` does."""
        return self._index().n_bytes

    def model(self) -> CoderState | None:
        """Return the state of the coder, if the archive holds one.

        Raises:
            ArchiveError: If the archive comes through a pipe, and has not been read.
            DamagedArchiveError: If the model is not what was written.
        """
        if self._unpacker.model is None and not self._index().model_offset:
            return None
        with reading(self._name):
            return model_state(self._packed_model(), self.fingerprint)

    # Blocks

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks, in order.

        Raises:
            ArchiveError: If a block asks for a coder that is neither given nor in the archive; if a pipe is read again.
            DamagedArchiveError: If the archive is not what was written, or does not become it.
        """
        with reading(self._name):
            sequence = self._next_sequence()
            yield from self._unpacked(self._prepared(sequence))
            self._known = sequence.index

    def read_block(self, number: int) -> Block:
        """Return one block; see :meth:`read_blocks`."""
        (block,) = self.read_blocks([number])
        return block

    def read_blocks(self, numbers: Iterable[int]) -> Iterator[Block]:
        """Yield some blocks; no other is read.

        Args:
            numbers: Which, from 0 on.

        Raises:
            InvalidParameterError: If there is no such block.
            ArchiveError: As for iteration; and if the archive comes through a pipe.
            DamagedArchiveError: If a block is not what was written, or does not become it.
        """
        entries = self._index().entries
        chosen = list(numbers)
        for number in chosen:
            if check_integer("number", number) >= len(entries):
                raise InvalidParameterError(
                    f"there is no block {number}: {self._name} has {len(entries):,}, from 0 on."
                )
        with reading(self._name):
            yield from self._unpacked(self._at(number, entries[number]) for number in chosen)

    def read_items_block(self, item: int) -> Block:
        """Return the block that has an item; raises what :meth:`read_block` does.

        Args:
            item: Which, from 0 on.
        """
        index = self._index()
        if check_integer("item", item) >= index.n_items:
            raise InvalidParameterError(f"there is no item {item}: {self._name} has {index.n_items:,}, from 0 on.")
        return self.read_block(index.place(item))

    # Inside

    def _index(self) -> Index:
        if self._known is None:
            with reading(self._name):
                self._known = self._read_index()
        return self._known

    def _read_index(self) -> Index:
        if self._n_bytes is None:
            raise ArchiveError(_PIPE)
        end_source = self._pass(max(0, self._n_bytes - END_BYTES))
        end = read_end(end_source, end_source.take(len(FrameKind.END.marker)))
        if end.tag != self._sequence.tag:
            raise DamagedArchiveError("its end is not that of this archive.")
        if not end.index_size:
            sequence = FrameSequence(self._pass())
            deque(sequence.parts(keeps_model=False), maxlen=0)
            return sequence.index
        frame = self._frame(end.offset - end.index_size, FrameKind.INDEX)
        if frame.size != end.index_size:
            raise DamagedArchiveError("its index is not where its end says.")
        return Index.of(frame)

    def _frame(self, offset: int, kind: FrameKind) -> Frame:
        if self._n_bytes is None:
            raise ArchiveError(_PIPE)
        if offset < 0:
            raise DamagedArchiveError("its index is not where its end says.")
        frame = read_frame(self._pass(offset), self._sequence.tag)
        if not isinstance(frame, Frame) or frame.kind is not kind:
            raise DamagedArchiveError(f"at byte {offset:,} is another frame than its index says.")
        return frame

    def _packed_model(self) -> Packed:
        if self._unpacker.model is None:
            if self._n_bytes is None:
                raise ArchiveError("its model came through a pipe, and was not kept: a coder was given.")
            self._unpacker.model = read_model(self._frame(self._index().model_offset, FrameKind.MODEL))
        return self._unpacker.model

    def _at(self, number: int, entry: BlockEntry) -> PackedBlock:
        frame = self._frame(entry.offset, FrameKind.BLOCK)
        block = PackedBlock.of(frame)
        if BlockEntry.of(block, entry.offset, frame.checksum) != entry:
            raise DamagedArchiveError(f"block {number:,} is another than its index says.")
        self._prepare(block)
        return block

    def _unpacked(self, blocks: Iterator[PackedBlock]) -> Iterator[Block]:
        if self._n_workers == 1:
            return map(self._unpacker.unpacked, blocks)
        return _in_threads(self._unpacker, blocks, self._n_workers)

    def _prepare(self, block: PackedBlock) -> None:
        if block.packed.method is Method.CODER and self._unpacker.needs_model and self._index().model_offset:
            self._packed_model()
        self._unpacker.prepare(block)

    def _pass(self, position: int = 0) -> Source:
        return Source(self._stream, self._start, position, self._n_bytes)

    def _next_sequence(self) -> FrameSequence:
        if self._n_bytes is not None:
            return FrameSequence(self._pass())
        if not self._is_fresh:
            raise ArchiveError(_PIPE)
        self._is_fresh = False
        return self._sequence

    def _prepared(self, sequence: FrameSequence) -> Iterator[PackedBlock]:
        for part in sequence.parts(keeps_model=self._unpacker.needs_model):
            if isinstance(part, Packed):
                self._unpacker.model = part
            else:
                self._unpacker.prepare(part)
                yield part


def _in_threads(unpacker: Unpacker, blocks: Iterator[PackedBlock], n_workers: int) -> Iterator[Block]:
    """Unpack blocks in threads, and yield them in their order; there is no more than one a thread, and one.

    Where there are several blocks, each thread has a process that decodes.
    """
    waiting: deque[Future[Block]] = deque()
    with CoderProcesses(n_workers) as processes, ThreadPoolExecutor(n_workers) as pool:
        try:
            first = list(islice(blocks, 2))
            elsewhere = processes if len(first) > 1 else None
            for block in chain(first, blocks):
                waiting.append(pool.submit(unpacker.unpacked, block, elsewhere))
                if len(waiting) > n_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
