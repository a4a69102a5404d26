"""The archive: a file of blocks, each packed by the method that takes fewest bytes, and each checked before it is read.

``docs/archive-format.md`` describes it to the byte.
"""

from __future__ import annotations

from latentkit.codec.archive.blocks import MOST_BLOCK_BYTES, MOST_MODEL_BYTES, Block, Method
from latentkit.codec.archive.head import FORMAT_VERSION, MOST_META_BYTES
from latentkit.codec.archive.index import MOST_BLOCKS, BlockEntry
from latentkit.codec.archive.reader import ArchiveReader
from latentkit.codec.archive.salvage import Salvage
from latentkit.codec.archive.writer import ArchiveSummary, ArchiveWriter

__all__ = [
    "FORMAT_VERSION",
    "MOST_BLOCKS",
    "MOST_BLOCK_BYTES",
    "MOST_META_BYTES",
    "MOST_MODEL_BYTES",
    "ArchiveReader",
    "ArchiveSummary",
    "ArchiveWriter",
    "Block",
    "BlockEntry",
    "Method",
    "Salvage",
]
