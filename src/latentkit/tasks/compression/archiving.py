"""Contents into an archive, and out of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, final

import numpy as np
import torch

from latentkit.codec.archive import MOST_BLOCK_BYTES, ArchiveReader, ArchiveSummary, ArchiveWriter, Block, Salvage
from latentkit.codec.archive.source import extent
from latentkit.codec.coders import Coder
from latentkit.codec.images import Pixels
from latentkit.core.errors import ArchiveError, DamagedArchiveError, InvalidParameterError
from latentkit.core.files import atomic_path, storage_errors
from latentkit.core.parameters import check_integer
from latentkit.evaluation import Distortion
from latentkit.tasks.compression.contents import ChosenItems, Contents, Restorer, restorers
from latentkit.training import Engine

__all__ = [
    "BLOCK_BYTES",
    "Archived",
    "Rows",
    "compress",
    "decompress",
    "distortion_of",
    "opened",
    "restorer_of",
    "salvage",
]

#: Bytes of a block: what has to be read to get at one item, and what one thread works on.
BLOCK_BYTES: Final = 4 << 20
_IN_MEMORY: Final = 16 << 20  # bytes of a pipe, beyond which they are kept in a file
#: One item, or several that follow each other, counted as Python does.
Rows: TypeAlias = int | slice
#: Called with the bytes done so far.
Progress = Callable[[int], None]


@final
@dataclass(frozen=True, slots=True)
class Archived:
    """What contents have become.

    Attributes:
        summary: Of the archive.
        source_bytes: How many bytes the contents took where they lay; None where that is not known.
        kind: As what they are kept, such as ``"images"``, ``"lines"``, ``"table"``, ``"folder"`` or ``"bytes"``.
        distortion: Of the images that the archive approximates; None where the coder gives back each byte.
    """

    summary: ArchiveSummary
    source_bytes: int | None
    kind: str
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
        n_workers: Threads, each with a process that codes where there are several blocks; None for as many as there are
            processors.
        progress: Hears of bytes done.
    """
    check_integer("block_bytes", block_bytes, low=1 << 10, high=MOST_BLOCK_BYTES)
    n_workers = _threads(n_workers)
    if contents.plain is not None:
        options: dict[str, Any] = {
            "verify": verify,
            "block_bytes": block_bytes,
            "n_workers": n_workers,
            "progress": progress,
        }
        return _smaller(partial(compress, coder=coder, embeds_model=embeds_model, **options), contents, target)
    meta, quality = contents.meta(), None if coder is None else coder.quality
    writer = ArchiveWriter(
        target,
        meta if quality is None else {**meta, "quality": quality},
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
    return Archived(writer.summary, contents.n_bytes, meta.get("kind", "bytes"), distortion)


def decompress(
    source: Path | IO[bytes],
    target: Path | IO[bytes],
    coder: Coder | Sequence[Coder] | None = None,
    *,
    rows: Rows | None = None,
    n_workers: int | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write what is in an archive again, as it was, and return what was written.

    Args:
        source: The archive: a path, or a stream.
        target: A path, which gets its name when all of it has been read and checked; or a stream, which has the bytes
            before that.
        coder: By which the archive was written, or several, of which one is it, where it does not hold its model.
        rows: Which items are written: rows of an array, lines behind the header of a table, files of a folder. Only the
            blocks that have them are read; a pipe is read to its end first. None for all.
        n_workers: Threads, each with a process that codes where there are several blocks; None for as many as there are
            processors.
        progress: Hears of bytes done.
    Raises:
        ArchiveError: If the archive needs a coder, or another one.
        DamagedArchiveError: If it is not what was written.
        InvalidParameterError: If there are no such rows.
    """
    with opened(source, coder, rows=rows, n_workers=n_workers) as (restorer, blocks, selection):
        return _restored(restorer, _told(blocks, progress), target, selection)


@contextmanager
def opened(
    source: Path | IO[bytes],
    coder: Coder | Sequence[Coder] | None = None,
    *,
    rows: Rows | None = None,
    n_workers: int | None = None,
) -> Iterator[tuple[Restorer, Iterable[Block], ChosenItems | None]]:
    """Yield what writes the contents of an archive again, the blocks that it takes, and which items of them.

    Args and Raises:
        See :func:`decompress`.
    """
    n_workers = _threads(n_workers)
    with (
        _one_thread_each(n_workers),
        tempfile.SpooledTemporaryFile(_IN_MEMORY) as kept,
    ):
        if rows is not None and not isinstance(source, Path) and extent(source)[1] is None:
            shutil.copyfileobj(source, kept)
            kept.seek(0)
            source = kept
        with ArchiveReader(source, coder=coder, n_workers=n_workers) as reader:
            restorer = restorer_of(reader.meta)
            if rows is None:
                yield restorer, reader, None
                return
            chosen = _chosen(rows, reader.n_items - restorer.n_headers, restorer.n_headers)
            selection = ChosenItems((range(restorer.n_headers), chosen) if restorer.n_headers else (chosen,))
            yield restorer, reader.read_blocks(_numbers(reader, restorer, selection)), selection


def salvage(
    source: Path | IO[bytes], target: Path | IO[bytes], coder: Coder | Sequence[Coder] | None = None
) -> tuple[list[Path], Salvage]:
    """Write what is left of a damaged archive: of a file what is not lost, of a folder the files that are whole.

    Args:
        source: The archive: a path, or a stream.
        target: A path or a stream.
        coder: By which the archive was written, or several, of which one is it, where it does not hold its model.
    Returns:
        What was written; and what was found, which tells what is lost.
    Raises:
        ArchiveError: If its contents cannot be written in part.
    """
    with Salvage(source, coder=coder) as left, tempfile.TemporaryFile() as kept:
        if left.meta is None:
            raise DamagedArchiveError("what the archive holds is lost: its first bytes and its last are damaged.")
        restorer = restorer_of(left.meta)
        sizes: list[tuple[Block, int]] = []
        for block in left:  # how many items there are is known when all have been decoded, and written before them
            kept.write(block.content)
            sizes.append((replace(block, content=b""), len(block.content)))
        kept.seek(0)
        whole = tuple(range(block.first, block.first + block.n_items) for block, _ in sizes if block.n_items)
        blocks = (replace(block, content=kept.read(size)) for block, size in sizes)
        return _restored(restorer, blocks, target, ChosenItems(whole, leaves_out=True)), left


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


def _restored(
    restorer: Restorer, blocks: Iterable[Block], target: Path | IO[bytes], selection: ChosenItems | None
) -> list[Path]:
    if isinstance(target, Path):
        return restorer.write(blocks, target, selection)
    restorer.stream(blocks, target, selection)
    return []


def _smaller(pack: Callable[..., Archived], contents: Contents, target: Path | IO[bytes]) -> Archived:
    """Write contents, or what is plainer than they are where that takes less."""
    alone = copy(contents)
    alone.plain = None
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as kept:
        archived = pack(alone, kept)
        if archived.summary.file_bytes <= (contents.n_bytes or 0):
            _copy(kept, target)
            return archived
    return pack(contents.plain, target)


def _copy(kept: IO[bytes], target: Path | IO[bytes]) -> None:
    """Write what is kept, from its start."""
    kept.seek(0)
    if not isinstance(target, Path):
        shutil.copyfileobj(kept, target)
        return
    with atomic_path(target) as temporary, temporary.open("wb") as file, storage_errors(target):
        shutil.copyfileobj(kept, file)


def _told(blocks: Iterable[Block], progress: Progress | None) -> Iterator[Block]:
    done = 0
    for block in blocks:
        done += len(block.content)
        yield block
        if progress is not None:
            progress(done)


def _chosen(rows: Rows, n: int, n_headers: int) -> range:
    """The items that rows are, of n, behind those that stand before them."""
    wanted = slice(rows, rows + 1 or None) if isinstance(rows, Integral) else rows
    if not isinstance(wanted, slice) or wanted.step not in (None, 1):
        raise InvalidParameterError(f"rows must be a number, or a slice of numbers that follow each other; got {rows}.")
    edges = [0 if wanted.start is None else wanted.start, n if wanted.stop is None else wanted.stop]
    first, end = (edge + n * (edge < 0) for edge in edges)
    if not 0 <= first < end <= n:
        told = f"{edges[0]:,}" if isinstance(rows, Integral) else f"{edges[0]:,} to {edges[1]:,}"
        raise InvalidParameterError(f"there are no rows {told}: the archive has {n:,}, from 0 on.")
    return range(first + n_headers, end + n_headers)


def _numbers(reader: ArchiveReader, restorer: Restorer, selection: ChosenItems) -> list[int]:
    """The blocks that have chosen items, and those with what is needed for any."""
    found, n_bytes = [], 0
    for number, entry in enumerate(reader.blocks):
        if n_bytes < restorer.n_listed or selection.within(entry):
            found.append(number)
        n_bytes += entry.n_bytes
    return found


def _threads(n_workers: int | None) -> int:
    return os.cpu_count() or 1 if n_workers is None else check_integer("n_workers", n_workers, low=1)


def _one_thread_each(n_workers: int) -> AbstractContextManager[None]:
    """Let each of several workers compute on its own processor.

    Products are set once, here: what one thread restores must not change what another computes.
    """
    return Engine(threads=1 if n_workers > 1 else torch.get_num_threads()).applied()
