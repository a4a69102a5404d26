"""Contents into an archive, and out of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
import torch

from latentkit.codec.archive import MOST_BLOCK_BYTES, ArchiveReader, ArchiveSummary, ArchiveWriter, Block, Salvage
from latentkit.codec.coders import Coder
from latentkit.codec.images import Pixels
from latentkit.core.errors import ArchiveError, DamagedArchiveError
from latentkit.core.parameters import check_integer
from latentkit.evaluation import Distortion
from latentkit.tasks.compression.contents import Contents, Restorer, restorers
from latentkit.training import Engine

__all__ = ["BLOCK_BYTES", "Archived", "compress", "decompress", "distortion_of", "restorer_of", "salvage"]

#: Bytes of a block: what has to be read to get at one item, and what one thread works on.
BLOCK_BYTES: Final = 4 << 20
#: Called with the bytes done so far.
Progress = Callable[[int], None]


@final
@dataclass(frozen=True, slots=True)
class Archived:
    """What contents have become.

    Attributes:
        summary: Of the archive.
        source_bytes: How many bytes the contents took where they lay; None where that is not known.
        distortion: Of the images that the archive approximates; None where the coder gives back each byte.
    """

    summary: ArchiveSummary
    source_bytes: int | None
    distortion: Distortion | None = None

    @property
    def ratio(self) -> float:
        """How many times smaller the archive is than what was in it, unpacked."""
        return self.summary.raw_bytes / max(1, self.summary.file_bytes)

    @property
    def bits_per_byte(self) -> float:
        """Bits of the archive for each byte of what was in it, unpacked."""
        return 8.0 * self.summary.file_bytes / max(1, self.summary.raw_bytes)


def compress(
    contents: Contents,
    target: Path | IO[bytes],
    coder: Coder | None,
    *,
    embeds_model: bool = True,
    verify: bool = True,
    block_bytes: int = BLOCK_BYTES,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> Archived:
    """Write an archive.

    Args:
        contents: What to compress.
        target: A path, which gets its name when the archive is whole; or a stream.
        coder: By which blocks become smaller; None for a classic one. One that approximates takes images alone, where
            that makes them smaller, and the archive tells its quality.
        embeds_model: Whether the archive holds what reading it takes, and does without the coder where that would take
            more than it saves; else whoever reads it needs the coder.
        verify: Whether each block is decoded and compared before it counts.
        block_bytes: Of a block, at most; an image that is larger is a block.
        n_workers: Threads; None for as many as there are processors.
        progress: Hears of bytes done.
    """
    check_integer("block_bytes", block_bytes, low=1 << 10, high=MOST_BLOCK_BYTES)
    n_workers = _threads(n_workers)
    quality = None if coder is None else coder.quality
    writer = ArchiveWriter(
        target,
        contents.meta() if quality is None else {**contents.meta(), "quality": quality},
        coder=coder,
        embeds_model="if it pays" if embeds_model and coder is not None else False,
        verify=verify,
        compare=distortion_of,
    )
    with _one_thread_each(n_workers), writer as archive:
        for n_done in archive.write_all(contents.blocks(block_bytes), n_workers=n_workers):
            if progress is not None:
                progress(n_done)
    distortion = None if quality is None else sum(writer.comparisons, Distortion())
    return Archived(writer.summary, contents.n_bytes, distortion)


def decompress(
    source: Path | IO[bytes],
    target: Path | IO[bytes],
    coder: Coder | Sequence[Coder] | None = None,
    *,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write what is in an archive again, as it was, and return what was written.

    Args:
        source: The archive: a path, or a stream.
        target: A path, which gets its name when all of it has been read and checked; or a stream, which has the bytes
            before that.
        coder: By which the archive was written, or several, of which one is it, where it does not hold its model.
        n_workers: Threads; None for as many as there are processors.
        progress: Hears of bytes done.
    Raises:
        ArchiveError: If the archive needs a coder, or another one.
        DamagedArchiveError: If it is not what was written.
    """
    n_workers = _threads(n_workers)
    with _one_thread_each(n_workers), ArchiveReader(source, coder=coder, n_workers=n_workers) as reader:
        return _restored(restorer_of(reader.meta), _told(reader, progress), target)


def salvage(
    source: Path | IO[bytes], target: Path | IO[bytes], coder: Coder | Sequence[Coder] | None = None
) -> tuple[list[Path], Salvage]:
    """Write what is left of a damaged archive; of a file, what is lost is left out.

    Args:
        source: The archive: a path, or a stream.
        target: A path or a stream.
        coder: By which the archive was written, or several, of which one is it, where it does not hold its model.
    Returns:
        What was written; and what was found, which tells what is lost.
    Raises:
        ArchiveError: If its contents cannot be written in part.
    """
    with Salvage(source, coder=coder) as left:
        if left.meta is None:
            raise DamagedArchiveError("what the archive holds is lost: its first bytes and its last are damaged.")
        restorer = restorer_of(left.meta)
        return _restored(restorer, left, target), left


def restorer_of(meta: Mapping[str, Any]) -> Restorer:
    """Return what writes the contents of an archive again.

    Raises:
        ArchiveError: If this version knows no such contents.
    """
    kind = meta.get("kind", "bytes")
    if not isinstance(kind, str) or kind not in restorers:
        raise ArchiveError(f"it holds {kind!r}, which this version cannot write; it knows: {', '.join(restorers)}.")
    return restorers[kind](meta)


def distortion_of(block: bytes, kept: bytes, n: int) -> Distortion:
    """Return that of n images, of which `kept` is what a coder makes of their block."""
    shape = (n, *Pixels(block[: Pixels.HEAD]).size, -1)
    images, others = (np.frombuffer(part, np.uint8, offset=Pixels.HEAD).reshape(shape) for part in (block, kept))
    return Distortion.between(images, others)


def _restored(restorer: Restorer, blocks: Iterable[Block], target: Path | IO[bytes]) -> list[Path]:
    if isinstance(target, Path):
        return restorer.write(blocks, target)
    restorer.stream(blocks, target)
    return []


def _told(reader: ArchiveReader, progress: Progress | None) -> Iterator[Block]:
    done = 0
    for block in reader:
        done += len(block.content)
        yield block
        if progress is not None:
            progress(done)


def _threads(n_workers: int | None) -> int:
    return os.cpu_count() or 1 if n_workers is None else check_integer("n_workers", n_workers, low=1)


def _one_thread_each(n_workers: int) -> AbstractContextManager[None]:
    """Let each of several workers compute on its own processor.

    Products are set once, here: what one thread restores must not change what another computes.
    """
    return Engine(threads=1 if n_workers > 1 else torch.get_num_threads()).applied()
