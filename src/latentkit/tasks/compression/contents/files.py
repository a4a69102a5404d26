"""Files: arrays of images and of other numbers, lines of text, and any bytes."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.archive import MOST_BLOCK_BYTES, Block
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError, UnsupportedOperationError
from latentkit.core.files import atomic_path, storage_errors
from latentkit.tasks.compression.contents.family import ChosenItems, Contents, Pixels, Restorer, Stretch, restorers

__all__ = ["ArrayContents", "FileContents", "FileRestorer", "item_ends", "npy_head"]

Items: TypeAlias = Literal["images", "rows", "lines", "bytes"]
_ITEMS: Final = ("images", "rows", "lines", "bytes")
_MOST_CHANNELS: Final = 4
_NAME: Final = "stream"
#: Where the number of rows stands in the head of a .npy file; in that of an idx file it is the second word.
_NPY_ROWS: Final = re.compile(rb"(['\"]shape['\"]\s*:\s*\(\s*)(\d+)")
_NPY_MAGIC: Final = b"\x93NUMPY"
_IDX_MAGIC: Final = b"\0\0"


@final
class ArrayContents(Contents):
    """An array, as the file of it: a head, and rows in the order of the first axis.

    Args:
        name: What the file was called.
        array: Rows in C order; bytes of images (n, height, width) or (n, height, width, up to 4) are coded as such.
        head: Bytes of the file before them.
    """

    def __init__(self, name: str, array: NDArray[Any], head: bytes) -> None:
        if array.ndim == 0 or array.dtype.hasobject:
            told = "Python objects" if array.dtype.hasobject else f"one {array.dtype} and no rows"
            raise InvalidParameterError(f"{name} is an array of {told}. Give an array of numbers with a first axis.")
        self.name, self._array, self._head = name, array, head
        self.n_bytes = len(head) + array.nbytes
        is_grid = array.ndim == 3 or (array.ndim == 4 and array.shape[3] <= _MOST_CHANNELS)
        is_bytes = array.dtype.kind in "ub" and array.dtype.itemsize == 1
        fits = Pixels.HEAD + array.nbytes // max(1, len(array)) <= MOST_BLOCK_BYTES
        self.has_images = is_bytes and is_grid and fits and array.size > 0
        self._items: Items = "images" if self.has_images else "rows" if fits else "bytes"

    def meta(self) -> dict[str, Any]:
        return _meta(self.name, self._items, self._head)

    def blocks(self, most_bytes: int) -> Iterator[Stretch]:
        n = len(self._array)
        if not self._array.nbytes:
            return
        of_a_row = self._array.nbytes // n
        if self._items == "bytes":  # rows so long are cut like any bytes
            yield from _pieces(io.BytesIO(self._array.tobytes()), most_bytes)
            return
        step = max(1, (most_bytes - Pixels.HEAD) // of_a_row)
        n_blocks = -(-n // step)
        for number in range(n_blocks):
            rows = self._array[number * n // n_blocks : (number + 1) * n // n_blocks]
            yield self._block(rows), len(rows)

    def _block(self, rows: NDArray[Any]) -> bytes:
        if not self.has_images:
            return rows.tobytes()
        block = Pixels.block(rows)
        return block if rows.dtype == np.uint8 else bytes(block)  # what is true or false is nothing in between

    def images(self) -> list[NDArray[np.uint8]]:
        if not self.has_images:
            return []
        array = self._array.view(np.uint8)
        return list(array.reshape(*array.shape[:3], -1))


@final
class FileContents(Contents):
    """A file of lines, or of any bytes, from a stream.

    Args:
        name: What it was called.
        opener: Opens a stream of its bytes; called once for each pass.
        items: ``"lines"`` or ``"bytes"``.
        n_bytes: How many there are, if that is known.
        has_header: Whether the first line names the columns of the others.
        has_texts: Whether its lines, if it has any, are texts.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], AbstractContextManager[Any]],
        items: Literal["lines", "bytes"],
        n_bytes: int | None,
        *,
        has_header: bool = False,
        has_texts: bool = False,
    ) -> None:
        self.name, self.n_bytes, self._opener, self._items = name, n_bytes, opener, items
        self.has_lines, self._has_header = items == "lines", has_header
        self.has_texts = self.has_lines and has_texts

    def meta(self) -> dict[str, Any]:
        told = _meta(self.name, self._items, b"")
        return {**told, "header": True} if self._has_header else told

    def blocks(self, most_bytes: int) -> Iterator[Stretch]:
        with self._opener() as stream:
            yield from (_pieces if self._items == "bytes" else _lines)(stream, most_bytes)

    def lines(self, most_bytes: int) -> bytes:
        if self._items != "lines":
            return b""
        with self._opener() as stream:
            return next((block for block, _ in _lines(stream, most_bytes)), b"")


@final
class FileRestorer(Restorer):
    """Writes a file again.

    Attributes:
        name: What it was called.
        items: What its items are: ``"images"`` or ``"rows"`` of an array, ``"lines"``, ``"bytes"``.
    """

    def __init__(self, meta: Mapping[str, Any]) -> None:
        try:
            self.name, self.items = str(meta.get("name", _NAME)), meta.get("kind", "bytes")
            self._head: bytes = meta.get("head", "").encode("latin-1")
        except (AttributeError, UnicodeEncodeError) as error:
            raise DamagedArchiveError("it does not say which file it holds.") from error
        self.n_headers = int(self.items == "lines" and meta.get("header") is True)

    def write(self, blocks: Iterable[Block], target: Path, selection: ChosenItems | None = None) -> list[Path]:
        with atomic_path(target) as temporary, temporary.open("wb") as file, storage_errors(target):
            self.stream(blocks, file, selection)
        return [target]

    def stream(self, blocks: Iterable[Block], target: IO[bytes], selection: ChosenItems | None = None) -> None:
        target.write(self._head if selection is None else self._head_of(selection))
        for block in blocks:
            content = Pixels.content(block.content) if self.items == "images" else block.content
            if selection is None:
                target.write(content)
                continue
            for part in selection.within(block) if block.n_items else ():
                ends = item_ends(content, block.n_items, are_lines=self.items == "lines")
                target.write(content[ends[part.start] : ends[part.stop]])

    def array(self, blocks: Iterable[Block], selection: ChosenItems | None = None) -> NDArray[Any]:
        """Return the array that the file is of.

        Raises:
            InvalidParameterError: If it is not a .npy file.
        """
        with io.BytesIO() as file:
            self.stream(blocks, file, selection)
            file.seek(0)
            try:
                array: NDArray[Any] = np.load(file, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise InvalidParameterError(
                    f"{self.name} is no array of numpy: say where to write it, with path=."
                ) from error
        return array

    def _head_of(self, selection: ChosenItems) -> bytes:
        """The head of an array of the items that are chosen."""
        if not self._head:
            return b""
        if self.items == "bytes":
            if selection.leaves_out:
                return self._head
            raise UnsupportedOperationError(f"rows of {self.name} are longer than a block: take all of it.")
        head = _head_of_rows(self._head, len(selection))
        if head is None:
            raise DamagedArchiveError("what stands before its rows is the head of no array.")
        return head


for _items in _ITEMS:
    restorers.register(_items)(FileRestorer)


def npy_head(array: NDArray[Any]) -> bytes:
    """Return what a .npy file has before the rows of an array."""
    with io.BytesIO() as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        return file.getvalue()


def item_ends(content: bytes, n_items: int, *, are_lines: bool) -> list[int]:
    """Return where the items of a block begin, and where the last of them ends.

    Args:
        content: Of the block.
        n_items: How many items it has.
        are_lines: Whether they are lines; else all are of one size.
    Raises:
        DamagedArchiveError: If it has not so many.
    """
    if are_lines:
        ends = [0, *(np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n")) + 1).tolist()]
        ends += [len(content)] if ends[-1] < len(content) else []
    else:
        ends = [len(content) * number // max(1, n_items) for number in range(n_items + 1)]
    if len(ends) != n_items + 1 or (not are_lines and len(content) % max(1, n_items)):
        raise DamagedArchiveError(f"a block does not have the {n_items:,} items that it says.")
    return ends


def _head_of_rows(head: bytes, n: int) -> bytes | None:
    """The head of an array as it is with n rows, or with no more than it has; None for the head of none."""
    if head.startswith(_IDX_MAGIC) and len(head) >= 8:
        return head[:4] + n.to_bytes(4, "big") + head[8:]
    found = _NPY_ROWS.search(head)
    if not head.startswith(_NPY_MAGIC) or found is None:
        return None
    changed = head[: found.start(2)] + b"%d" % n + head[found.end(2) :]
    # blanks stand before the end of the line, so that what follows begins where it did
    changed = changed[:-1] + b" " * (len(head) - len(changed)) + changed[-1:]
    start = 10 if head[6] == 1 else 12
    try:
        shape = ast.literal_eval(changed[start:].decode("utf-8" if head[6] > 2 else "latin-1").strip())["shape"]
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, KeyError):
        return None
    return changed if shape[:1] == (n,) and len(changed) == len(head) else None


def _meta(name: str, items: Items, head: bytes) -> dict[str, Any]:
    """What is not the commonest, so that small files do not grow by it; a head has a character a byte."""
    told = {"kind": items, "name": name, "head": head.decode("latin-1")}
    usual = {"kind": "bytes", "name": _NAME, "head": ""}
    return {key: value for key, value in told.items() if value != usual[key]}


def _lines(stream: IO[bytes], most_bytes: int) -> Iterator[Stretch]:
    rest = b""
    while read := stream.read(most_bytes - len(rest)):
        rest += read
        # a line longer than a block is cut
        end = rest.rfind(b"\n") + 1 or (len(rest) if len(rest) == most_bytes else 0)
        if len(rest) == most_bytes:
            yield rest[:end], max(1, rest.count(b"\n", 0, end))
            rest = rest[end:]
    if rest:
        yield rest, rest.count(b"\n") + (not rest.endswith(b"\n"))


def _pieces(stream: IO[bytes], most_bytes: int) -> Iterator[Stretch]:
    while piece := stream.read(most_bytes):
        yield piece, len(piece)
