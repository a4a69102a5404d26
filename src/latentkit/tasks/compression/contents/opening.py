"""From what a user points at to contents."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, Literal, final

import numpy as np

from latentkit.core.errors import InvalidParameterError, UnreadableDataError
from latentkit.data.arrays import read_idx, read_npz
from latentkit.data.dataset import AnyArray
from latentkit.data.endings import ending_of
from latentkit.tasks.compression.contents.family import Contents
from latentkit.tasks.compression.contents.files import ArrayContents, FileContents, npy_head
from latentkit.tasks.compression.contents.folders import FolderContents

__all__ = ["open_contents"]

_IDX_HEAD: Final = 4  # bytes, and 4 for each dimension
_SNIFFED: Final = 1 << 16


def open_contents(source: Any, *, array: str | None = None) -> Contents:
    """Return what is to be compressed.

    Args:
        source: A folder; a file of any kind; a binary stream; or an array. Of .npz a member is taken, and written again
            as .npy; .gz is unpacked; images of a folder, or one, become pixels.
        array: Member of the .npz.
    Raises:
        UnreadableDataError: If there is nothing, or it cannot be read.
        InvalidParameterError: If `array` is given for what is no .npz.
    """
    if isinstance(source, np.ndarray):
        rows = np.ascontiguousarray(source)
        return ArrayContents("array.npy", rows, npy_head(rows))
    if hasattr(source, "read"):
        return _stream(source)
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
    except OSError as error:
        raise UnreadableDataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _file(path: Path, ending: str, array: str | None) -> Contents:
    if ending == ".npz":
        rows = np.ascontiguousarray(read_npz(path, str(path), array=array)[0])
        return ArrayContents(f"{path.stem}.npy", rows, npy_head(rows))
    if ending == ".npy":
        mapped = _mapped(path)
        if mapped is not None:
            with path.open("rb") as file:
                return ArrayContents(path.name, mapped, file.read(path.stat().st_size - mapped.nbytes))
    if ending == ".idx" and path.suffix != ".gz":
        rows = read_idx(path, str(path))
        head = path.read_bytes()[: _IDX_HEAD * (1 + rows.ndim)]
        if rows.dtype.itemsize == 1:
            return ArrayContents(path.name, rows, head)
    is_packed = path.suffix == ".gz"
    opener: Callable[[], Any] = partial(gzip.open, path, "rb") if is_packed else partial(path.open, "rb")
    with opener() as stream:
        begin: bytes = stream.read(_SNIFFED)
    n_bytes = None if is_packed else path.stat().st_size
    return FileContents(path.stem if is_packed else path.name, opener, _items(begin), n_bytes)


def _stream(stream: IO[bytes]) -> Contents:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(_Unclosed(stream))
    return FileContents("stream", lambda: nullcontext(buffered), _items(buffered.peek(_SNIFFED)), None)


def _mapped(path: Path) -> AnyArray | None:
    """The array of a .npy file, where it is one that can be read in place."""
    try:
        rows: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        return None
    return rows if rows.ndim and rows.flags.c_contiguous and rows.nbytes < path.stat().st_size else None


def _items(head: bytes) -> Literal["lines", "bytes"]:
    """Whether bytes begin like lines of text."""
    return "lines" if b"\n" in head and b"\0" not in head else "bytes"


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
