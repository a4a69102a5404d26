"""From what a user points at to contents."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, Literal, final

import numpy as np

from latentkit.core.errors import InvalidParameterError, UnreadableDataError
from latentkit.data.arrays import read_idx, read_npz
from latentkit.data.dataset import AnyArray
from latentkit.data.endings import ending_of
from latentkit.tasks.compression.contents.family import Contents, shown
from latentkit.tasks.compression.contents.files import ArrayContents, FileContents, npy_head
from latentkit.tasks.compression.contents.folders import FolderContents
from latentkit.tasks.compression.contents.tables import table_contents

__all__ = ["open_contents"]

_IDX_HEAD: Final = 4  # bytes, and 4 for each dimension
_SNIFFED: Final = 1 << 16
_HEADED: Final = (".csv", ".tsv")  # files whose first line may name columns
_TEXTS: Final = (".txt",)  # files of texts, a text a line
_DELIMITERS: Final = re.compile(rb"[,;\t|]")
_UNREADABLE: Final = (OSError, EOFError, zlib.error)


def open_contents(source: Any, *, array: str | None = None) -> Contents:
    """Return what is to be compressed.

    Args:
        source: A folder; a file of any kind; a binary stream; or an array. Of .npz a member is taken, and written again
            as .npy; .gz is unpacked; images of a folder, or one, become pixels; a Parquet file becomes its table.
        array: Member of the .npz.
    Raises:
        UnreadableDataError: If there is nothing, or it cannot be read.
        InvalidParameterError: If `array` is given for what is no .npz.
    """
    if isinstance(source, np.ndarray):
        return _array("array.npy", source)
    if hasattr(source, "read"):
        return _stream(source)
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidParameterError(
            f"what is compressed must be an array, a path or a binary stream; got a {type(source).__name__}. Bytes "
            "become a stream with io.BytesIO(...), other data an array with numpy.asarray(...)."
        )
    path = Path(source).expanduser()
    if not path.exists():
        raise UnreadableDataError(f"{path}: there is no such file or folder.")
    ending = "" if path.is_dir() else ending_of(path)
    if array is not None and ending != ".npz":
        raise InvalidParameterError(f"{path}: array={array!r} chooses a member of a .npz, and this is none.")
    if path.is_dir() or ending == ".png":
        return FolderContents(path)
    try:
        return _file(path, ending, array)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _file(path: Path, ending: str, array: str | None) -> Contents:
    if ending == ".npz":
        return _array(f"{path.stem}.npy", read_npz(path, str(path), array=array)[0])
    contents = _in_place(path) if ending == ".npy" else _idx(path) if ending == ".idx" else None
    if contents is not None:
        return contents
    table = table_contents(path) if ending == ".parquet" else None
    if table is not None:
        return table
    is_packed = path.suffix == ".gz"
    opener: Callable[[], Any] = partial(_unpacked, path) if is_packed else partial(path.open, "rb")
    with opener() as stream:
        begin: bytes = stream.read(_SNIFFED)
    n_bytes = None if is_packed else path.stat().st_size
    items = _items(begin)
    has_header = items == "lines" and ending in _HEADED and _has_header(begin)
    name = shown(path.stem if is_packed else path.name)
    return FileContents(name, opener, items, n_bytes, has_header=has_header, has_texts=ending in _TEXTS)


def _stream(stream: IO[bytes]) -> Contents:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_Unclosed(stream))
    return FileContents("stream", lambda: nullcontext(buffered), _items(buffered.peek(_SNIFFED)), None)


def _array(name: str, array: AnyArray) -> ArrayContents:
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidParameterError(f"{name} is a masked array, whose mask would be lost. Compress data and mask.")
    rows = np.asarray(array, order="C")
    return ArrayContents(shown(name), rows, b"" if rows.ndim == 0 or rows.dtype.hasobject else npy_head(rows))


def _in_place(path: Path) -> ArrayContents | None:
    """The array of a .npy file, where it is one that can be read in place, and nothing follows it."""
    try:
        rows = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OverflowError, MemoryError):
        return None
    size, start = path.stat().st_size, getattr(rows, "offset", 0)
    if not rows.ndim or not rows.flags.c_contiguous or start + rows.nbytes != size:
        return None
    with path.open("rb") as file:
        return ArrayContents(shown(path.name), rows, file.read(start))


def _idx(path: Path) -> ArrayContents | None:
    """The array of an idx file of bytes, packed or not; None for another file of that ending."""
    try:
        rows = read_idx(path, str(path))
    except UnreadableDataError:
        return None
    if not rows.ndim or rows.dtype.itemsize != 1:
        return None
    is_packed = path.suffix == ".gz"
    with _unpacked(path) if is_packed else path.open("rb") as file:
        head = file.read(_IDX_HEAD * (1 + rows.ndim))
    return ArrayContents(shown(path.stem if is_packed else path.name), rows, head)


@contextmanager
def _unpacked(path: Path) -> Iterator[gzip.GzipFile]:
    """A .gz file, unpacked as it is read."""
    try:
        with gzip.open(path, "rb") as stream:
            yield stream
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UnreadableDataError:
    return UnreadableDataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).")


def _items(head: bytes) -> Literal["lines", "bytes"]:
    """Whether bytes begin like lines of text."""
    return "lines" if b"\n" in head and b"\0" not in head else "bytes"


def _has_header(begin: bytes) -> bool:
    """Whether the first line has cells, and none is a number."""
    line = begin.partition(b"\n")[0].strip()
    return bool(line) and not any(_is_number(cell.strip(b'" ')) for cell in _DELIMITERS.split(line))


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@final
class _Unclosed(io.RawIOBase):
    """Somebody else's stream, which stays open."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._stream.read(len(buffer))
        buffer[: len(read)] = read
        return len(read)
