"""The index of an archive: where each block lies, so that one can be read without those before it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from latentkit.codec.archive.blocks import MOST_BLOCK_BYTES, Method, PackedBlock
from latentkit.codec.archive.frames import Fields, Frame, word
from latentkit.codec.numbers import written_numbers
from latentkit.core.errors import DamagedArchiveError

__all__ = ["LEAST_INDEXED_BLOCKS", "MOST_BLOCKS", "BlockEntry", "Index"]

#: Blocks of an archive, at most.
MOST_BLOCKS: Final = 1 << 20
#: Blocks from which on an archive has an index, and its head once more.
LEAST_INDEXED_BLOCKS: Final = 2


@final
@dataclass(frozen=True, slots=True)
class BlockEntry:
    """Where a block lies, and what it holds.

    Attributes:
        first: Number of its first item.
        n_items: How many it has.
        n_bytes: How many bytes they are, unpacked.
        method: How they are packed.
        offset: Where its frame starts in the archive.
        checksum: Of the frame.
    """

    first: int
    n_items: int
    n_bytes: int
    method: Method
    offset: int
    checksum: int

    @classmethod
    def of(cls, block: PackedBlock, offset: int, checksum: int) -> BlockEntry:
        """Return the entry of a block whose frame starts at `offset`."""
        packed = block.packed
        return cls(block.first, block.n_items, packed.n_bytes, packed.method, offset, checksum)


@final
class Index:
    """Entries of all blocks, in their order.

    Attributes:
        entries: Of the blocks so far.
        model_offset: Where the frame of the model starts; 0 where there is none.
    """

    def __init__(self) -> None:
        self.entries: list[BlockEntry] = []
        self.model_offset = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def n_items(self) -> int:
        """How many items the blocks have."""
        return self.entries[-1].first + self.entries[-1].n_items if self.entries else 0

    @property
    def n_bytes(self) -> int:
        """How many bytes they are, unpacked."""
        return sum(entry.n_bytes for entry in self.entries)

    def append(self, entry: BlockEntry) -> None:
        """Add the next block.

        Raises:
            DamagedArchiveError: If it is not the next one, or one too many.
        """
        if entry.first != self.n_items:
            raise DamagedArchiveError(
                f"after {self.n_items:,} items comes a block that starts with item {entry.first:,}: blocks are missing "
                "or not where they were."
            )
        if len(self) == MOST_BLOCKS:
            raise DamagedArchiveError(f"it has more than {MOST_BLOCKS:,} blocks.")
        self.entries.append(entry)

    def place(self, item: int) -> int:
        """Return the number of the block that has an item, of which there are more."""
        return bisect_right(self.entries, item, key=lambda entry: entry.first) - 1

    def to_bytes(self) -> bytes:
        """Return the body of the index's frame."""
        return written_numbers(self.model_offset) + b"".join(self._written())

    def _written(self) -> Iterator[bytes]:
        before = 0
        for entry in self.entries:
            yield (
                written_numbers(entry.offset - before) + written_numbers(entry.n_items) + written_numbers(entry.n_bytes)
            )
            yield bytes((entry.method,)) + word(entry.checksum)
            before = entry.offset

    @classmethod
    def of(cls, frame: Frame) -> Index:
        """Return the index that a frame holds.

        Raises:
            DamagedArchiveError: If it holds none, or what it tells lies behind it.
        """
        fields, index, offset = Fields(frame.body), cls(), 0
        index.model_offset = fields.number()
        while not fields.is_empty:
            offset += fields.number()
            n_items, n_bytes, method, checksum = fields.number(), fields.number(), fields.byte(), fields.word()
            if method > max(Method) or n_bytes > MOST_BLOCK_BYTES:
                raise DamagedArchiveError("its index cannot be read.")
            index.append(BlockEntry(index.n_items, n_items, n_bytes, Method(method), offset, checksum))
        if max(offset, index.model_offset) >= frame.offset:
            raise DamagedArchiveError("its index cannot be read.")
        return index
