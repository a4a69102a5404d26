"""Files: arrays of images and of other numbers, lines of text, and any bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.archive import MOST_BLOCK_BYTES, Block
from latentkit.core.errors import DamagedArchiveError, InvalidParameterError
from latentkit.core.files import atomic_path, storage_errors
from latentkit.tasks.compression.contents.family import Contents, Pixels, Restorer, Stretch, restorers

__all__ = ["ArrayContents", "FileContents", "FileRestorer", "npy_head"]

Items: TypeAlias = Literal["images", "rows", "lines", "bytes"]
_ITEMS: Final = ("images", "rows", "lines", "bytes")
_MOST_CHANNELS: Final = 4
_NAME: Final = "stream"


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

    def meta(self) -> dict[str, Any]:
        return _meta(self.name, "images" if self.has_images else "rows", self._head)

    def blocks(self, most_bytes: int) -> Iterator[Stretch]:
        n = len(self._array)
        if not self._array.nbytes:
            return
        of_a_row = self._array.nbytes // n
        if not self.has_images and of_a_row > most_bytes:  # rows so long are cut like any bytes
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
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], AbstractContextManager[Any]],
        items: Literal["lines", "bytes"],
        n_bytes: int | None,
    ) -> None:
        self.name, self.n_bytes, self._opener, self._items = name, n_bytes, opener, items
        self.has_lines = items == "lines"

    def meta(self) -> dict[str, Any]:
        return _meta(self.name, self._items, b"")

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
            self._head = meta.get("head", "").encode("latin-1")
        except (AttributeError, UnicodeEncodeError) as error:
            raise DamagedArchiveError("it does not say which file it holds.") from error

    def write(self, blocks: Iterable[Block], target: Path) -> list[Path]:
        with atomic_path(target) as temporary, temporary.open("wb") as file, storage_errors(target):
            self.stream(blocks, file)
        return [target]

    def stream(self, blocks: Iterable[Block], target: IO[bytes]) -> None:
        target.write(self._head)
        for block in blocks:
            target.write(Pixels.content(block.content) if self.items == "images" else block.content)

    def array(self, blocks: Iterable[Block]) -> NDArray[Any]:
        """Return the array that the file is of.

        Raises:
            InvalidParameterError: If it is not a .npy file.
        """
        with io.BytesIO() as file:
            self.stream(blocks, file)
            file.seek(0)
            try:
                array: NDArray[Any] = np.load(file, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise InvalidParameterError(
                    f"{self.name} is no array of numpy: say where to write it, with path=."
                ) from error
        return array


for _items in _ITEMS:
    restorers.register(_items)(FileRestorer)


def npy_head(array: NDArray[Any]) -> bytes:
    """Return what a .npy file has before the rows of an array."""
    with io.BytesIO() as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        return file.getvalue()


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
