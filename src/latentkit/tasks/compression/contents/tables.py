"""Parquet files as tables: names, types and values are kept, and written as a Parquet file again."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, final

from latentkit.codec.archive import MOST_BLOCK_BYTES, Block
from latentkit.core.errors import ArchiveError, DamagedArchiveError, UnreadableDataError
from latentkit.core.files import atomic_path, storage_errors
from latentkit.tasks.compression.contents.family import (
    ChosenItems,
    Contents,
    Restorer,
    Stretch,
    read_listing,
    restorers,
    shown,
)
from latentkit.tasks.compression.contents.files import FileContents, item_ends
from latentkit.tasks.compression.contents.table_text import TableText

__all__ = ["TableContents", "TableRestorer", "table_contents"]

Arrow: TypeAlias = Any

_KIND: Final = "table"
_MOST_LISTED: Final = 1 << 28
_AT_ONCE: Final = 4096  # rows that are made text of
_GROUP_BYTES: Final = 64 << 20  # of text, of the rows that are written together
_LEAST_BLOCK: Final = 1 << 10


@final
class TableContents(Contents):
    """The table of a Parquet file.

    A table that would not come back as it was, in names, types, values and what else is told of them, is kept as the
    bytes of its file, and so is one whose text takes more than the file.

    Args:
        path: Of the file.
        text: How its rows are written.
    """

    has_lines = True

    def __init__(self, path: Path, text: TableText) -> None:
        self.name, self.n_bytes = shown(path.name), path.stat().st_size
        self._path, self._text = path, text
        self.plain = self._bytes = FileContents(self.name, partial(path.open, "rb"), "bytes", self.n_bytes)

    def meta(self) -> dict[str, Any]:
        if not self._is_kept:
            return self._bytes.meta()
        return {"kind": _KIND, "name": self.name, "listing": len(self._listing)}

    def blocks(self, most_bytes: int) -> Iterator[Stretch]:
        if not self._is_kept:
            yield from self._bytes.blocks(most_bytes)
            return
        for start in range(0, len(self._listing), most_bytes):
            yield self._listing[start : start + most_bytes], 0
        rest = b""
        for text in self._texts():
            if text is None:
                raise UnreadableDataError(f"{self._path}: it was changed while it was read.")
            rest += text
            while len(rest) > most_bytes:
                # a row that is longer than a block is one
                end = rest.rfind(b"\n", 0, most_bytes) + 1 or rest.index(b"\n") + 1
                yield rest[:end], rest.count(b"\n", 0, end)
                rest = rest[end:]
        if rest:
            yield rest, rest.count(b"\n")

    def lines(self, most_bytes: int) -> bytes:
        found = b""
        for text in self._texts():
            if text is None or len(found) > most_bytes:
                break
            found += text
        return found

    @cached_property
    def _listing(self) -> bytes:
        return self._text.to_bytes()

    @cached_property
    def _is_kept(self) -> bool:
        """Whether the table comes back: it is written as it will be, and compared, beforehand."""
        with tempfile.TemporaryDirectory() as folder:
            place, checksum = Path(folder, "table.parquet"), 0
            with _Writer(place, self._text) as writer:
                for text in self._texts():
                    if text is None or len(text) > MOST_BLOCK_BYTES // 2:
                        return False
                    writer.write(text)
                    checksum = zlib.crc32(text, checksum)
            return _checksum(place, self._text) == checksum

    def _texts(self) -> Iterator[bytes | None]:
        from pyarrow import parquet

        with parquet.ParquetFile(self._path) as file:
            yield from map(self._text.text, file.iter_batches(batch_size=_AT_ONCE))


@final
@restorers.register(_KIND)
class TableRestorer(Restorer):
    """Writes a table as a Parquet file, and compares what can be read from it."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        n_listed = meta.get("listing")
        if type(n_listed) is not int or not 0 < n_listed <= _MOST_LISTED:
            raise DamagedArchiveError("it does not say what the columns of its table are.")
        self.n_listed = n_listed

    def write(self, blocks: Iterable[Block], target: Path, selection: ChosenItems | None = None) -> list[Path]:
        with atomic_path(target) as temporary, storage_errors(target):
            self._fill(temporary, blocks, selection)
        return [target]

    def stream(self, blocks: Iterable[Block], target: IO[bytes], selection: ChosenItems | None = None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, "table.parquet")
            self._fill(place, blocks, selection)
            with place.open("rb") as file:
                shutil.copyfileobj(file, target)

    def _fill(self, place: Path, blocks: Iterable[Block], selection: ChosenItems | None) -> None:
        rest, checksum = iter(blocks), 0
        table = TableText.from_bytes(read_listing(rest, self.n_listed))
        with _Writer(place, table) as writer:
            for block in rest:
                ends = item_ends(block.content, block.n_items, are_lines=True)
                parts = [range(block.n_items)] if selection is None else selection.within(block)
                for part in parts:
                    text = block.content[ends[part.start] : ends[part.stop]]
                    writer.write(text)
                    checksum = zlib.crc32(text, checksum)
        if _checksum(place, table) != checksum:
            raise ArchiveError("this version of pyarrow does not write the table as it was. Take that which packed it.")


def table_contents(path: Path) -> TableContents | None:
    """Return the table of a Parquet file; None if there is none in it that could be kept as such."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            text = TableText.of(schema, _categories(file, schema))
    except (pa.ArrowException, OSError, ValueError):
        return None
    return None if text is None else TableContents(path, text)


def _categories(file: Arrow, schema: Arrow) -> Iterator[Arrow]:
    """Batches of the columns of categories alone."""
    import pyarrow as pa

    names = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    if len(set(schema.names)) < len(schema):
        raise ValueError("names that are there twice choose no columns")
    return iter(file.iter_batches(batch_size=_AT_ONCE, columns=names)) if names else iter(())


def _checksum(place: Path, table: TableText) -> int | None:
    """Checksum of the text of a Parquet file; None if it is of another table, or does not come back from its text."""
    from pyarrow import parquet

    checksum = 0
    with parquet.ParquetFile(place) as file:
        schema = file.schema_arrow
        if file.metadata.num_rows and TableText.of(schema, _categories(file, schema)) != table:
            return None
        if not schema.equals(table.schema, check_metadata=True):
            return None
        for batch in file.iter_batches(batch_size=_AT_ONCE):
            text = table.text(batch)
            if text is None:
                return None
            checksum = zlib.crc32(text, checksum)
    return checksum


@final
class _Writer:
    """Writes rows as they come, many together."""

    def __init__(self, place: Path, table: TableText) -> None:
        from pyarrow import parquet

        self._table, self._batches, self._n_bytes = table, list[Arrow](), 0
        self._writer = parquet.ParquetWriter(place, table.schema, compression="zstd")

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def write(self, text: bytes) -> None:
        self._batches.append(self._table.batch(text))
        self._n_bytes += len(text)
        if self._n_bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._batches:
            table = pa.Table.from_batches(self._batches)
            self._writer.write_table(table, row_group_size=max(1, len(table)))
        self._batches, self._n_bytes = [], 0
