"""Folders of images and whatever lies beside them: names, times and permissions are kept."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.archive import MOST_BLOCK_BYTES, Block
from latentkit.core.errors import (
    DamagedArchiveError,
    InvalidParameterError,
    UnreadableDataError,
    UnsupportedOperationError,
)
from latentkit.core.files import storage_errors
from latentkit.tasks.compression.contents.family import Contents, Pixels, Restorer, Stretch, restorers
from latentkit.tasks.compression.contents.pictures import Picture, read_picture, written_picture

__all__ = ["FolderContents", "FolderRestorer"]

_KIND: Final = "folder"
_PERMISSIONS: Final = 0o777
_MOST_LISTED: Final = 1 << 28  # bytes of a listing


@final
@dataclass(frozen=True, slots=True)
class _Entry:
    """A file of a folder.

    Attributes:
        path: From the folder on, with slashes.
        n_bytes: Of its content in the archive: pixels, or the file as it is.
        mode: Permissions.
        time: Of the last change, nanoseconds since 1970.
        picture: Whose pixels they are; None where the file is kept as it is.
    """

    path: str
    n_bytes: int
    mode: int
    time: int
    picture: Picture | None

    def to_json(self) -> list[Any]:
        picture = None if self.picture is None else self.picture.to_json()
        return [self.path, self.n_bytes, self.mode, self.time, picture]

    @classmethod
    def of(cls, told: Any) -> _Entry:
        """The entry of JSON values, which come from a file: its path stays inside the folder."""
        try:
            path, n_bytes, mode, time, picture = told
            parts = PurePosixPath(path).parts
            is_inside = parts and not PurePosixPath(path).is_absolute() and ".." not in parts
            if not is_inside or any(mark in path for mark in "\\:\0"):
                raise DamagedArchiveError(f"{path!r} is no name of a file inside a folder.")
            found = None if picture is None else Picture.of(picture)
            sizes = (n_bytes, mode, time)
            if not all(type(number) is int and number >= 0 for number in sizes) or time >= 1 << 63:
                raise ValueError(sizes)
            if found is not None and found.n_bytes != n_bytes:
                raise ValueError(n_bytes)
        except (TypeError, ValueError) as error:
            if isinstance(error, DamagedArchiveError):
                raise
            raise DamagedArchiveError("its listing of files is damaged.") from error
        return cls(path, n_bytes, mode & _PERMISSIONS, time, found)


@final
class FolderContents(Contents):
    """The files of a folder and of those in it, or one image file.

    PNG files of 8 bits become pixels, and what they hold besides: they come back as PNG files of the same pixels, whose
    own compression may differ. All other files come back to the byte. Links are left out.

    Args:
        place: The folder, or the image file.

    Raises:
        UnreadableDataError: If there is no file.
    """

    def __init__(self, place: Path) -> None:
        self._is_file = not place.is_dir()
        self._folder = place.parent if self._is_file else place
        paths = [place] if self._is_file else sorted(path for path in place.rglob("*") if _is_plain(path))
        if not paths:
            raise UnreadableDataError(f"{place}: there is no file in it.")
        self.name = place.resolve().name
        entries = [self._entry(path) for path in paths]
        # images of one size beside each other, so that blocks hold many
        self._entries = sorted(entries, key=lambda entry: entry.picture.shape if entry.picture else ())
        self.has_images = any(entry.picture is not None for entry in entries)
        self.n_bytes = sum(path.stat().st_size for path in paths)

    def meta(self) -> dict[str, Any]:
        told = {"kind": _KIND, "name": self.name, "n_files": len(self._entries)}
        return {**told, "is_file": True} if self._is_file else told

    def blocks(self, most_bytes: int) -> Iterator[Stretch]:
        listing = json.dumps([entry.to_json() for entry in self._entries], separators=(",", ":")).encode()
        for start in range(0, len(listing), most_bytes):
            yield listing[start : start + most_bytes], 0
        yield b"", 0  # the listing ends
        waiting: list[NDArray[np.uint8]] = []
        n_waiting = Pixels.HEAD
        for entry in self._entries:
            shape = None if entry.picture is None else entry.picture.shape
            if waiting and (waiting[0].shape != shape or n_waiting + entry.n_bytes > most_bytes):
                yield Pixels.block(np.stack(waiting)), len(waiting)
                waiting, n_waiting = [], Pixels.HEAD
            if entry.picture is None:
                yield from self._as_it_is(entry, most_bytes)
            else:
                waiting.append(self._pixels(entry))
                n_waiting += entry.n_bytes
        if waiting:
            yield Pixels.block(np.stack(waiting)), len(waiting)

    def images(self) -> list[NDArray[np.uint8]]:
        return [self._pixels(entry) for entry in self._entries if entry.picture is not None]

    def _entry(self, path: Path) -> _Entry:
        try:
            status, read = path.stat(), read_picture(path)
        except OSError as error:
            raise UnreadableDataError(f"{path}: cannot be read ({error.strerror or error}).") from error
        if read is not None and read[1].nbytes + Pixels.HEAD > MOST_BLOCK_BYTES:
            read = None
        picture, n_bytes = (None, status.st_size) if read is None else (read[0], read[1].nbytes)
        name = path.relative_to(self._folder).as_posix()
        return _Entry(name, n_bytes, stat.S_IMODE(status.st_mode) & _PERMISSIONS, max(0, status.st_mtime_ns), picture)

    def _pixels(self, entry: _Entry) -> NDArray[np.uint8]:
        read = read_picture(self._folder / entry.path)
        if read is None or read[0] != entry.picture:
            raise UnreadableDataError(f"{self._folder / entry.path}: it was changed while it was read.")
        return read[1]

    def _as_it_is(self, entry: _Entry, most_bytes: int) -> Iterator[Stretch]:
        left = entry.n_bytes
        with (self._folder / entry.path).open("rb") as file:
            while piece := file.read(min(most_bytes, left)):
                left -= len(piece)
                yield piece, int(left == 0)
        if left:
            raise UnreadableDataError(f"{self._folder / entry.path}: it was changed while it was read.")


@final
class FolderRestorer(Restorer):
    """Writes a folder again, or one image file."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._is_file = bool(meta.get("is_file"))

    def stream(self, blocks: Iterable[Block], target: IO[bytes]) -> None:
        raise UnsupportedOperationError("a folder cannot be written to a stream. Give a place for it: -o FOLDER")

    def write(self, blocks: Iterable[Block], target: Path) -> list[Path]:
        if not self._is_file and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidParameterError(f"{target} is there already. Choose a new folder, or an empty one.")
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            try:
                entries = self._fill(stage / "files", blocks)
                if self._is_file:
                    if len(entries) != 1:
                        raise DamagedArchiveError("it is not the one file that it says it is.")
                    (stage / "files" / entries[0].path).replace(target)
                    return [target]
                if target.exists():
                    target.rmdir()
                (stage / "files").replace(target)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        return [target / entry.path for entry in entries]

    def _fill(self, folder: Path, blocks: Iterable[Block]) -> list[_Entry]:
        rest = iter(blocks)
        entries = _listed(rest)
        content = b""
        for entry in entries:
            place = folder / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                raise DamagedArchiveError(f"it holds {entry.path} twice.")
            if entry.picture is not None:
                content = content or Pixels.content(_next(rest))
                if len(content) < entry.n_bytes:
                    raise DamagedArchiveError(f"{entry.path}: its pixels are missing.")
                place.write_bytes(written_picture(entry.picture, content[: entry.n_bytes]))
                content = content[entry.n_bytes :]
            elif content:
                raise DamagedArchiveError(f"{entry.path}: pixels of another file stand in its place.")
            else:
                with place.open("wb") as file:
                    while file.tell() < entry.n_bytes:
                        file.write(_next(rest))
                    if file.tell() > entry.n_bytes:
                        raise DamagedArchiveError(f"{entry.path}: it is longer than it should be.")
            place.chmod(entry.mode)
            os.utime(place, ns=(entry.time, entry.time))
        if content or next(rest, None) is not None:
            raise DamagedArchiveError("it holds more than the files of its listing.")
        return entries


restorers.register(_KIND)(FolderRestorer)


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _listed(blocks: Iterator[Block]) -> list[_Entry]:
    listing = bytearray()
    while part := _next(blocks):
        listing += part
        if len(listing) > _MOST_LISTED:
            raise DamagedArchiveError("its listing of files is too long.")
    try:
        told = json.loads(listing)
    except (ValueError, RecursionError) as error:
        raise DamagedArchiveError("its listing of files is damaged.") from error
    if not isinstance(told, list):
        raise DamagedArchiveError("its listing of files is damaged.")
    return [_Entry.of(entry) for entry in told]


def _next(blocks: Iterator[Block]) -> bytes:
    block = next(blocks, None)
    if block is None:
        raise DamagedArchiveError("it ends before its last file does.")
    return block.content
