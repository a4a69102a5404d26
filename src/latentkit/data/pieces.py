"""Data in pieces: what is too large for the memory is read again and again, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, final

import numpy as np

from latentkit.core.errors import UnreadableDataError
from latentkit.data.dataset import Dataset, Kind
from latentkit.data.parts import take_examples
from latentkit.data.table.frames import join_tables
from latentkit.data.table.selection import Selection
from latentkit.data.tables import encode_labels, finish_table

__all__ = ["PIECE", "ParquetPieces", "Pieces", "WholePieces"]

Arrow: TypeAlias = Any

#: Rows of a piece.
PIECE = 65_536


class Pieces(Protocol):
    """Data that can be gone through as often as wanted, a piece at a time."""

    @property
    def n(self) -> int:
        """Number of rows."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was recognised or left out, a sentence each."""
        ...

    def __iter__(self) -> Iterator[Dataset]:
        """Yield the rows in their order."""
        ...

    def take(self, rows: Sequence[int]) -> Dataset:
        """Return some rows, in the order asked for."""
        ...


@final
@dataclass(frozen=True)
class WholePieces:
    """Data in memory, cut into pieces.

    Attributes:
        dataset: All of them.
        size: Rows of a piece.
    """

    dataset: Dataset
    size: int = PIECE

    @property
    def n(self) -> int:
        return self.dataset.n

    @property
    def notes(self) -> tuple[str, ...]:
        return self.dataset.notes

    def __iter__(self) -> Iterator[Dataset]:
        if self.n <= self.size:
            yield self.dataset
            return
        for start in range(0, self.n, self.size):
            yield self.take(range(start, min(start + self.size, self.n)))

    def take(self, rows: Sequence[int]) -> Dataset:
        return take_examples(self.dataset, list(rows))


@final
@dataclass(frozen=True)
class ParquetPieces:
    """A Parquet file, of which only a piece is in memory at a time.

    Attributes:
        path: The file.
        kind: What its tables are taken for.
        labels: Column with the labels; it is left out of the data.
        selection: Columns that are left out.
        shaped: What is done to each piece.
        size: Rows of a piece, at most.
    """

    path: Path
    kind: Kind
    labels: str | None = None
    selection: Selection | None = None
    shaped: Callable[[Dataset], Dataset] = lambda dataset: dataset
    size: int = PIECE

    def __post_init__(self) -> None:
        if not self.n:
            raise UnreadableDataError(f"{self.path}: the table has no rows. Give a file with data")
        with self._opened() as file:  # the columns are those of all pieces
            self._dataset(file.schema_arrow.empty_table(), 0)

    @property
    def n(self) -> int:
        with self._opened() as file:
            return int(file.metadata.num_rows)

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def __iter__(self) -> Iterator[Dataset]:
        with self._opened() as file:
            start = 0
            for table in self._tables(file.iter_batches(batch_size=self.size)):
                yield self.shaped(self._dataset(table, start))
                start += len(table)

    def take(self, rows: Sequence[int]) -> Dataset:
        wanted = np.asarray(rows, np.int64)
        order = np.argsort(wanted, kind="stable")
        found, parts, start = wanted[order], [], 0
        with self._opened() as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                if np.searchsorted(found, start) < np.searchsorted(found, stop):
                    at = start
                    for batch in file.iter_batches(batch_size=self.size, row_groups=[group]):
                        inside = found[(found >= at) & (found < at + len(batch))] - at
                        parts += [batch.take(_indices(inside))] if len(inside) else []
                        at += len(batch)
                start = stop
        import pyarrow as pa

        table = pa.Table.from_batches(parts).take(_indices(np.argsort(order, kind="stable")))
        return self.shaped(self._dataset(table, 0))

    def _tables(self, batches: Iterator[Arrow]) -> Iterator[Arrow]:
        """Tables of about the size of a piece, also of a file of many small groups of rows."""
        import pyarrow as pa

        kept: list[Arrow] = []
        for batch in batches:
            kept.append(pa.Table.from_batches([batch]))
            if sum(map(len, kept)) + self.size // 2 > self.size:
                yield join_tables(kept)
                kept = []
        if kept:
            yield join_tables(kept)

    def _dataset(self, table: Arrow, start: int) -> Dataset:
        table, values = finish_table(table, str(self.path), [], labels=self.labels, selection=self.selection)
        source = str(self.path) if not start else f"{self.path}, counted from row {start}"
        codes, names = (None, None) if values is None else encode_labels(values)
        return Dataset(table, source, self.kind, codes, names)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.path, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnreadableDataError(
                f"{self.path}: the .parquet file cannot be read ({text}). Check its format, or read it with pandas and "
                "give the frame"
            ) from error


def _indices(rows: Any) -> Arrow:
    import pyarrow as pa

    return pa.array(rows)
