"""The frames of an archive, one after the other, in the order that they have to be in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from latentkit.codec.archive.blocks import MOST_MODEL_BYTES, Method, Packed, PackedBlock
from latentkit.codec.archive.frames import End, Fields, Frame, FrameKind, read_frame
from latentkit.codec.archive.head import read_head
from latentkit.codec.archive.index import LEAST_INDEXED_BLOCKS, BlockEntry, Index
from latentkit.codec.archive.source import Source
from latentkit.core.errors import DamagedArchiveError

__all__ = ["FrameSequence", "read_model"]


@final
class FrameSequence:
    """The model and the blocks of an archive, as they come; all of it is checked, to the last byte.

    Args:
        source: At the start of the archive.

    Attributes:
        head: Of the archive.
        tag: Checksum of the head, by which all frames are known.
        index: Of the blocks so far.

    Raises:
        ArchiveError: If it is no archive, or of a version that is not known.
        DamagedArchiveError: If its head is not what was written.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.head, self._head_frame = read_head(source)
        self.tag = self._head_frame.checksum
        self.index = Index()

    def parts(self, *, keeps_model: bool) -> Iterator[PackedBlock | Packed]:
        """Yield the packed model, where there is one and it is kept, and the blocks.

        Raises:
            DamagedArchiveError: If it is not as it was written; after the last block, too.
        """
        passes_over = None if keeps_model else FrameKind.MODEL
        while True:
            part = read_frame(self._source, self.tag, passes_over=passes_over)
            if not isinstance(part, Frame) or part.kind not in {FrameKind.MODEL, FrameKind.BLOCK}:
                break
            if part.kind is FrameKind.BLOCK:
                yield self._block(part)
                continue
            if self.index.model_offset:
                raise DamagedArchiveError("it has two models.")
            self.index.model_offset = part.offset
            if keeps_model:
                yield read_model(part)
        self._check_end(part)

    def _block(self, frame: Frame) -> PackedBlock:
        block = PackedBlock.of(frame)
        self.index.append(BlockEntry.of(block, frame.offset, frame.checksum))
        return block

    def _check_end(self, part: Frame | End) -> None:
        index_size = 0
        if len(self.index) >= LEAST_INDEXED_BLOCKS:
            if not isinstance(part, Frame) or (part.kind, part.body) != (FrameKind.HEAD, self._head_frame.body):
                raise DamagedArchiveError("its head does not stand behind its blocks once more.")
            index = read_frame(self._source, self.tag)
            if not isinstance(index, Frame) or (index.kind, index.body) != (FrameKind.INDEX, self.index.to_bytes()):
                raise DamagedArchiveError("its index is not that of its blocks.")
            index_size = index.size
            part = read_frame(self._source, self.tag)
        if not isinstance(part, End) or (part.index_size, part.tag) != (index_size, self.tag):
            raise DamagedArchiveError("its end is not that of this archive.")
        if not self._source.is_at_end():
            raise DamagedArchiveError("more follows its end. Archives cannot be put together as files: unpack each.")


def read_model(frame: Frame) -> Packed:
    """Return the packed model that a frame holds."""
    packed = Packed.from_fields(Fields(frame.body), MOST_MODEL_BYTES)
    if packed.method is Method.CODER:
        raise DamagedArchiveError("its model is packed by a method that models are not packed by.")
    return packed
