"""Writing an archive: each block by the method that takes fewest bytes, and none that could not be read again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal, Self, final

import google_crc32c

from latentkit.codec.archive.blocks import (
    MOST_BLOCK_BYTES,
    MOST_MODEL_BYTES,
    Method,
    Packed,
    PackedBlock,
    fewest,
    packed_by_zstd,
)
from latentkit.codec.archive.frames import MAGIC, FrameKind, end_frame, frame
from latentkit.codec.archive.head import Head
from latentkit.codec.archive.index import LEAST_INDEXED_BLOCKS, MOST_BLOCKS, BlockEntry, Index
from latentkit.codec.coders import Coder
from latentkit.codec.processes import CoderProcesses
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, UnfitDataError
from latentkit.core.files import atomic_path, storage_errors
from latentkit.core.parameters import check_integer

__all__ = ["ArchiveSummary", "ArchiveWriter"]

_LEAST_LEVEL, _MOST_LEVEL = 1, 22  # of zstd
_MOST_ITEMS: Final = (1 << 62) - 1  # of an archive
_MOST_WAITING: Final = 64 << 20  # bytes of blocks


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSummary:
    """What an archive has become.

    Attributes:
        n_items: How many items it has.
        n_blocks: In how many blocks.
        raw_bytes: How many bytes they are, unpacked.
        file_bytes: How many bytes the archive is.
        model_bytes: How many of these the model is.
        n_blocks_by: How many blocks each method packed.
        bytes_by: How many bytes they take, packed, for each method.
        bytes_without_coder: How many bytes the blocks would take, packed without the coder.
        forgone_bytes: How many bytes the coder would have saved that was done without, since its model, embedded, takes
            more.
        n_unfit: How many blocks the coder could not take.
        n_mismatches: How many blocks the coder did not give back as they were, so that another method was taken.
            Above 0, the coder is at fault.
        seconds: How long it took.
    """

    n_items: int
    n_blocks: int
    raw_bytes: int
    file_bytes: int
    model_bytes: int
    n_blocks_by: Mapping[Method, int]
    bytes_by: Mapping[Method, int]
    bytes_without_coder: int
    forgone_bytes: int
    n_unfit: int
    n_mismatches: int
    seconds: float


class _Refusal(Enum):
    """Why a coder does not pack a block."""

    UNFIT = "it cannot take it"
    MISMATCH = "it does not give it back"


@final
@dataclass(frozen=True, slots=True)
class _Outcome:
    """A block, packed, and what was told of its approximation."""

    block: bytes
    n_items: int
    packed: Packed
    plain: Packed
    refusal: _Refusal | None
    told: Any


@final
class ArchiveWriter:
    """Writes an archive, block by block; used in a ``with`` statement, at whose end the archive is whole.

    A file gets its name when it is whole; whatever happens before leaves there what was there. A stream is only written
    to, never read or moved in, so that a pipe will do.

    Args:
        target: A path, or a stream of bytes, which stays open.
        meta: What the bytes are, as JSON knows it.
        coder: Codes blocks, where that takes fewer bytes.
        embeds_model: Whether the coder's state is written into the archive, before the first block that it codes; else
            who reads the archive needs the coder. With ``"if it pays"`` blocks wait until the coder has saved more than
            its model takes, and where it does not, at the end or after 64 MiB, they are packed without it; an archive
            that has come to nothing else then is as if there had been no coder.
        level: Of zstd, from 1, which is fast, to 22; None does without.
        verify: Whether each block that the coder codes is decoded and compared before it is written.
        compare: What to tell of a block that a coder approximates: called, by any thread, with the block, what it
            becomes and how many items it has. :attr:`comparisons` has what it returned.

    Attributes:
        comparisons: What `compare` returned for the blocks that were written as approximations, in order.

    Raises:
        InvalidParameterError: If an option cannot be had.

    Example:
        >>> import io
        >>> stream = io.BytesIO()
        >>> with ArchiveWriter(stream, {"kind": "lines"}) as archive:
        ...     archive.write(b"to be or not to be", 6)
        <Method.STORED: 0>
        >>> archive.summary.n_items, archive.summary.file_bytes == len(stream.getvalue())
        (6, True)
    """

    def __init__(
        self,
        target: str | Path | IO[bytes],
        meta: Mapping[str, Any],
        *,
        coder: Coder | None = None,
        embeds_model: bool | Literal["if it pays"] = False,
        level: int | None = 19,
        verify: bool = True,
        compare: Callable[[bytes, bytes, int], Any] | None = None,
    ) -> None:
        if embeds_model and coder is None:
            raise InvalidParameterError("embeds_model asks for a coder, whose model it is; got coder=None.")
        if level is not None:
            check_integer("level", level, low=_LEAST_LEVEL, high=_MOST_LEVEL)
        self._target, self._coder, self._level, self._verify = target, coder, level, verify
        self._compare = compare
        self.comparisons: list[Any] = []
        state = None if coder is None else coder.state()
        self._model = None if state is None or not embeds_model else _packed_model(state.to_bytes(), level)
        self._has_to_pay = embeds_model == "if it pays"
        self._waiting: list[_Outcome] = []
        self._saved = self._forgone = 0
        self._meta, self._fingerprint = dict(meta), None if state is None else state.fingerprint
        Head(self._meta, self._fingerprint).to_frame()  # what is wrong is said before anything is written
        self._head = b""  # written with the first block, of whose content it bears a mark
        self._stamp = self._tag = self._n_taken = 0
        self._stream: IO[bytes] | None = None
        self._exits = ExitStack()
        self._index = Index()
        self._n_written = self._checksum = self._n_unfit = self._n_mismatches = 0
        self._model_bytes = self._bytes_without_coder = 0
        self._sizes: dict[Method, list[int]] = {method: [] for method in Method}
        self._started = self._seconds = 0.0

    def __enter__(self) -> Self:
        assert not self._started, "an archive is written once"
        self._started = time.perf_counter()
        if isinstance(self._target, (str, Path)):
            temporary = self._exits.enter_context(atomic_path(self._target))
            self._stream = self._exits.enter_context(temporary.open("wb"))
        else:
            self._stream = self._target
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._exits:
                if error is not None:  # which is not one of writing the file, whatever it is
                    raise _AbandonedError
                self._finish()
        except _AbandonedError:
            pass
        finally:
            self._stream = None

    def write(self, block: bytes, n_items: int) -> Method:
        """Write a block; a coder that approximates decides what the archive holds of it.

        Args:
            block: Bytes of items.
            n_items: How many items they are.

        Returns:
            How it was packed.

        Raises:
            InvalidParameterError: If the block is too large, or one too many.
            StorageError: If the file cannot be written.
        """
        return self._accept(self._packed(block if isinstance(block, bytes) else bytes(block), n_items))

    def write_all(self, blocks: Iterable[tuple[bytes, int]], *, n_workers: int = 1) -> Iterator[int]:
        """Write blocks in their order, packed by several threads at once; memory holds one block a thread, and one.

        Where there are several blocks, each thread has a process that encodes and decodes.

        Args:
            blocks: Bytes of items, and how many they are, as for :meth:`write`.
            n_workers: How many threads.

        Yields:
            How many bytes of blocks have been packed so far, those that wait for the model to pay among them.
        """
        check_integer("n_workers", n_workers, low=1)
        with CoderProcesses(n_workers) as processes, ThreadPoolExecutor(n_workers) as pool:
            waiting: deque[Future[_Outcome]] = deque()
            try:
                rest = iter(blocks)
                first = list(islice(rest, 2))
                elsewhere = processes if n_workers > 1 and len(first) > 1 else None
                for block, n_items in chain(first, rest):
                    waiting.append(pool.submit(self._packed, block, n_items, elsewhere))
                    if len(waiting) > n_workers:
                        self._accept(waiting.popleft().result())
                        yield self._n_taken
                while waiting:
                    self._accept(waiting.popleft().result())
                    yield self._n_taken
            finally:
                for future in waiting:
                    future.cancel()

    def _packed(self, block: bytes, n_items: int, processes: CoderProcesses | None = None) -> _Outcome:
        """A block as it is to be written; nothing of this instance changes."""
        if len(block) > MOST_BLOCK_BYTES:
            raise InvalidParameterError(
                f"a block must be at most {MOST_BLOCK_BYTES:,} bytes; got {len(block):,}. Write it in parts."
            )
        check_integer("n_items", n_items, high=_MOST_ITEMS)
        plain = fewest(Packed.stored(block), None if self._level is None else packed_by_zstd(block, self._level))
        coded = self._coded(block, n_items, processes)
        if coded is None or isinstance(coded, _Refusal):
            return _Outcome(block, n_items, plain, plain, coded, None)
        packed, kept = fewest(plain, coded[0]), coded[1]
        told = None
        if self._compare is not None and packed is not plain and kept is not block:
            told = self._compare(block, kept, n_items)
        return _Outcome(block, n_items, packed, plain, None, told)

    def _accept(self, outcome: _Outcome) -> Method:
        assert self._stream is not None, "an archive is written to inside its `with` statement"
        if len(self._index) + len(self._waiting) == MOST_BLOCKS:
            raise InvalidParameterError(f"an archive has at most {MOST_BLOCKS:,} blocks. Write larger ones.")
        if not (len(self._index) or self._waiting):
            self._stamp = google_crc32c.value(outcome.block)
        first = self._index.n_items + sum(waiting.n_items for waiting in self._waiting)
        check_integer("n_items", outcome.n_items, high=_MOST_ITEMS - first)
        self._n_taken += len(outcome.block)
        self._bytes_without_coder += outcome.plain.size
        self._n_unfit += outcome.refusal is _Refusal.UNFIT
        self._n_mismatches += outcome.refusal is _Refusal.MISMATCH
        if self._coder is None:
            self._write_block(outcome, outcome.plain)
        elif self._model is None or self._index.model_offset:
            self._write_block(outcome, outcome.packed)
        elif outcome.packed.method is Method.CODER or self._waiting or (self._has_to_pay and not self._head):
            self._wait(outcome, self._model)
        else:
            self._write_block(outcome, outcome.plain)
        return outcome.packed.method

    def _wait(self, outcome: _Outcome, model: Packed) -> None:
        """Keep blocks until what the coder saves is more than its model, or for too long."""
        self._waiting.append(outcome)
        self._saved += outcome.plain.size - outcome.packed.size
        if self._saved > model.size or (self._saved and not self._has_to_pay):
            self._begin()
            self._write_model(model)
            self._write_waiting()
        elif sum(len(waiting.block) for waiting in self._waiting) > _MOST_WAITING:
            if self._saved:
                self._forgo()
            else:  # none of them asks for the coder, and later ones may
                self._write_waiting()

    def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for outcome in waiting:
            self._write_block(outcome, outcome.packed if self._index.model_offset else outcome.plain)

    def _forgo(self) -> None:
        """Do without the coder, whose model takes more than it saves."""
        self._forgone, self._coder = self._saved, None
        if not self._head:
            self._fingerprint = None  # nobody needs the coder
        self._write_waiting()

    @property
    def summary(self) -> ArchiveSummary:
        """What the archive has become so far; at the end of the ``with`` statement, all of it."""
        return ArchiveSummary(
            n_items=self._index.n_items,
            n_blocks=len(self._index),
            raw_bytes=self._index.n_bytes,
            file_bytes=self._n_written,
            model_bytes=self._model_bytes,
            n_blocks_by={method: len(sizes) for method, sizes in self._sizes.items()},
            bytes_by={method: sum(sizes) for method, sizes in self._sizes.items()},
            bytes_without_coder=self._bytes_without_coder,
            forgone_bytes=self._forgone,
            n_unfit=self._n_unfit,
            n_mismatches=self._n_mismatches,
            seconds=self._seconds or time.perf_counter() - self._started,
        )

    def _coded(
        self, block: bytes, n_items: int, processes: CoderProcesses | None
    ) -> tuple[Packed, bytes] | _Refusal | None:
        """The block as the coder packs it, and what it becomes then; or why the coder does not."""
        coder = self._coder  # once: another thread may do without it from now on
        if coder is None or not 1 <= n_items <= len(block):
            return None
        coder = coder if processes is None else processes.of(coder)
        try:
            code, kept = coder.encode_known(block, n_items)
            packed = Packed.of(kept, Method.CODER, code)
        except UnfitDataError:
            return _Refusal.UNFIT
        if self._verify:
            try:
                is_given_back = packed.unpacked(coder, n_items) == kept
            except DamagedArchiveError:
                is_given_back = False
            if not is_given_back:
                return _Refusal.MISMATCH
        return packed, kept

    # Frames

    def _begin(self) -> None:
        """Write the head, once; archives of the same `meta` differ by their first blocks."""
        if self._head:
            return
        self._head = Head(self._meta, self._fingerprint, self._stamp).to_frame()
        self._tag = int.from_bytes(self._head[-4:], "little")
        self._put(MAGIC)
        self._put(self._head)

    def _write_model(self, model: Packed) -> None:
        self._index.model_offset = self._n_written
        self._put(frame(FrameKind.MODEL, *model.parts(), tag=self._tag))
        self._model_bytes = self._n_written - self._index.model_offset

    def _write_block(self, outcome: _Outcome, packed: Packed) -> None:
        self._begin()
        self._sizes[packed.method].append(packed.size)
        if packed.method is Method.CODER and outcome.told is not None:
            self.comparisons.append(outcome.told)
        block = PackedBlock(self._index.n_items, outcome.n_items, packed)
        content = frame(FrameKind.BLOCK, *block.parts(), tag=self._tag)
        self._index.append(BlockEntry.of(block, self._n_written, int.from_bytes(content[-4:], "little")))
        self._put(content)

    def _finish(self) -> None:
        if self._waiting or (self._has_to_pay and not self._head):
            self._forgo()
        self._begin()
        index = b""
        if len(self._index) >= LEAST_INDEXED_BLOCKS:
            self._put(self._head)
            index = frame(FrameKind.INDEX, self._index.to_bytes(), tag=self._tag)
            self._put(index)
        self._put(end_frame(len(index), self._tag, self._checksum))
        assert self._stream is not None
        self._stream.flush()
        self._seconds = time.perf_counter() - self._started

    def _put(self, content: bytes) -> None:
        assert self._stream is not None
        self._checksum = google_crc32c.extend(self._checksum, content)
        self._n_written += len(content)
        if isinstance(self._target, (str, Path)):
            with storage_errors(self._target):
                _write_all(self._stream, content)
        else:
            _write_all(self._stream, content)


def _packed_model(model: bytes, level: int | None) -> Packed:
    if len(model) > MOST_MODEL_BYTES:
        raise InvalidParameterError(
            f"a model that is embedded has at most {MOST_MODEL_BYTES:,} bytes; got {len(model):,}. Leave it out, and "
            "keep the run."
        )
    return fewest(Packed.stored(model), packed_by_zstd(model, level or _MOST_LEVEL))


@final
class _AbandonedError(Exception):
    """Takes back what was begun, in place of an error that is somebody else's."""


def _write_all(stream: IO[bytes], content: bytes) -> None:
    """Write to a stream, which may take it in parts, as an unbuffered one does."""
    rest = memoryview(content)
    while rest:
        n = stream.write(rest)
        rest = rest[len(rest) if n is None else n :]
