"""Folders of images and whatever lies beside them: names, times and permissions are kept."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from latentkit.tasks.compression.contents.family import (
    ChosenItems,
    Contents,
    Pixels,
    Restorer,
    Stretch,
    read_listing,
    restorers,
    shown,
)
from latentkit.tasks.compression.contents.pictures import PngPicture, read_picture, written_picture

__all__ = ["FolderContents", "FolderRestorer"]

_KIND: Final = "folder"
_PERMISSIONS: Final = 0o777
#: What a path may not have in it, since it could lead out of the folder.
_BARRED: Final = "\\:\0" if os.name == "nt" else "\0"
_MOST_LISTED: Final = 1 << 28  # bytes of a listing
_MOST_PARTS: Final = 500  # of a path
_MOST_NAME: Final = 255  # bytes of one of them, which no file system exceeds


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
    picture: PngPicture | None

    def to_json(self) -> list[Any]:
        picture = None if self.picture is None else self.picture.to_json()
        return [self.path, self.n_bytes, self.mode, self.time, picture]

    @classmethod
    def of(cls, told: Any) -> _Entry:
        """The entry of JSON values, which come from a file: its path stays inside the folder."""
        try:
            path, n_bytes, mode, time, picture = told
            parts = PurePosixPath(path).parts
            is_plain = "/".join(parts) == path and ".." not in parts and not any(mark in path for mark in _BARRED)
            is_short = len(parts) <= _MOST_PARTS and all(len(os.fsencode(part)) <= _MOST_NAME for part in parts)
            if not parts or not is_plain or not is_short:
                raise DamagedArchiveError(f"{shown(path)!r} is no name of a file inside a folder.")
            found = None if picture is None else PngPicture.of(picture)
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
    own compression may differ. All other files come back to the byte. Links and empty folders are left out.

    Args:
        place: The folder, or the image file.

    Raises:
        UnreadableDataError: If there is no file.
    """

    def __init__(self, place: Path) -> None:
        self._is_file = not place.is_dir()
        self._folder = place.parent if self._is_file else place
        paths = [place] if self._is_file else sorted(_files(place))
        if not paths:
            raise UnreadableDataError(f"{place}: there is no file in it.")
        self.name = shown(place.resolve().name)
        entries = [self._entry(path) for path in paths]
        # images of one size beside each other, so that blocks hold many
        self._entries = sorted(entries, key=lambda entry: entry.picture.shape if entry.picture else ())
        self._listing = json.dumps([entry.to_json() for entry in self._entries], separators=(",", ":")).encode()
        self.has_images = any(entry.picture is not None for entry in entries)
        self.n_bytes = sum(path.stat().st_size for path in paths)

    def meta(self) -> dict[str, Any]:
        told = {"kind": _KIND, "name": self.name, "listing": len(self._listing)}
        return {**told, "is_file": True} if self._is_file else told

    def blocks(self, most_bytes: int) -> Iterator[Stretch]:
        for start in range(0, len(self._listing), most_bytes):
            yield self._listing[start : start + most_bytes], 0
        for kind, entries in itertools.groupby(self._entries, key=lambda entry: entry.picture and entry.picture.shape):
            for together in _groups(list(entries), most_bytes - (0 if kind is None else Pixels.HEAD)):
                if kind is not None:
                    yield Pixels.block(np.stack([self._pixels(entry) for entry in together])), len(together)
                elif len(together) == 1 and together[0].n_bytes:
                    yield from self._as_it_is(together[0], most_bytes)
                else:
                    yield b"".join(self._content(entry) for entry in together), len(together)

    def images(self) -> list[NDArray[np.uint8]]:
        return [self._pixels(entry) for entry in self._entries if entry.picture is not None]

    def _entry(self, path: Path) -> _Entry:
        try:
            status, read = path.stat(), read_picture(path, MOST_BLOCK_BYTES - Pixels.HEAD)
        except OSError as error:
            raise UnreadableDataError(f"{path}: cannot be read ({error.strerror or error}).") from error
        picture, n_bytes = (None, status.st_size) if read is None else (read[0], read[1].nbytes)
        name = path.relative_to(self._folder).as_posix()
        return _Entry(name, n_bytes, stat.S_IMODE(status.st_mode) & _PERMISSIONS, max(0, status.st_mtime_ns), picture)

    def _pixels(self, entry: _Entry) -> NDArray[np.uint8]:
        read = read_picture(self._folder / entry.path, entry.n_bytes)
        if read is None or read[0] != entry.picture:
            raise UnreadableDataError(f"{self._folder / entry.path}: it was changed while it was read.")
        return read[1]

    def _content(self, entry: _Entry) -> bytes:
        return b"".join(piece for piece, _ in self._as_it_is(entry, max(1, entry.n_bytes)))

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
        self._is_file, n_listed = bool(meta.get("is_file")), meta.get("listing")
        if type(n_listed) is not int or not 0 < n_listed <= _MOST_LISTED:
            raise DamagedArchiveError("it does not say how its files are listed.")
        self.n_listed = n_listed

    def stream(self, blocks: Iterable[Block], target: IO[bytes], selection: ChosenItems | None = None) -> None:
        if not self._is_file:
            raise UnsupportedOperationError("a folder cannot be written to a stream. Give a place for it: -o FOLDER")
        with tempfile.TemporaryDirectory() as folder:
            (file,) = self.write(blocks, Path(folder, "image"), selection)
            target.write(file.read_bytes())

    def write(self, blocks: Iterable[Block], target: Path, selection: ChosenItems | None = None) -> list[Path]:
        if not self._is_file and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InvalidParameterError(f"{target} is there already. Choose a new folder, or an empty one.")
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            try:
                files = stage / "files"
                files.mkdir()
                entries = self._fill(files, blocks, selection)
                if not entries:
                    raise DamagedArchiveError("none of its files is whole.")
                if self._is_file:
                    (files / entries[0].path).replace(target)
                    return [target]
                if target.exists():
                    target.rmdir()
                files.replace(target)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        return [target / entry.path for entry in entries]

    def _fill(self, folder: Path, blocks: Iterable[Block], selection: ChosenItems | None) -> list[_Entry]:
        """Write files, and return which; what a block has is of the files whose numbers it has."""
        rest = iter(blocks)
        entries = _listed(rest, self.n_listed)
        if not entries or (self._is_file and len(entries) != 1):
            raise DamagedArchiveError("its listing is not of the files that it says it holds.")
        chosen = ChosenItems((range(len(entries)),)) if selection is None else selection
        written: list[_Entry] = []
        for first, group in itertools.groupby(rest, key=lambda block: block.first):
            try:
                for entry, pieces in _files_of(entries, first, group, chosen):
                    _write(folder / entry.path, entry, pieces)
                    written.append(entry)
            except DamagedArchiveError:
                if not chosen.leaves_out:
                    raise
        if len(written) != len(chosen) and not chosen.leaves_out:
            raise DamagedArchiveError("it ends before its last file does.")
        return written


restorers.register(_KIND)(FolderRestorer)


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder and of those in it; links, and what is neither file nor folder, are left out."""

    def refuse(error: OSError) -> None:
        raise UnreadableDataError(f"{error.filename}: cannot be read ({error.strerror}).") from error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (path for path in (Path(place, name) for name in names) if path.is_file() and not path.is_symlink())


def _groups(entries: Sequence[_Entry], most_bytes: int) -> Iterator[list[_Entry]]:
    """Entries that fit into a block together; one that does not fit is alone."""
    together: list[_Entry] = []
    n_bytes = 0
    for entry in entries:
        if together and n_bytes + entry.n_bytes > most_bytes:
            yield together
            together, n_bytes = [], 0
        together.append(entry)
        n_bytes += entry.n_bytes
    yield together


def _files_of(
    entries: Sequence[_Entry], first: int, blocks: Iterator[Block], chosen: ChosenItems
) -> Iterator[tuple[_Entry, Iterable[bytes]]]:
    """Yield the chosen files that blocks have, which all begin with the same one, and what is in each, in pieces."""
    block = next(blocks)
    own = entries[first : first + max(1, block.n_items)]
    if len(own) < max(1, block.n_items):
        raise DamagedArchiveError("it holds more than the files of its listing.")
    has_pixels = own[0].picture is not None
    for entry in own:
        if (entry.picture is not None) is not has_pixels:
            raise DamagedArchiveError(f"{shown(entry.path)}: what belongs to another file stands in its place.")
    parts = chosen.within(block)
    if has_pixels and not block.n_items:
        raise DamagedArchiveError(f"{shown(own[0].path)}: its pixels are in parts.")
    if not has_pixels and len(own) == 1:
        # a file that is larger than a block is alone in those that have parts of it
        yield from ((own[0], _pieces(own[0], itertools.chain([block], blocks))) for _ in parts)
        return
    content = memoryview(Pixels.content(block.content) if has_pixels else block.content)
    ends = [0, *itertools.accumulate(entry.n_bytes for entry in own)]
    if len(content) != ends[-1] or next(blocks, None) is not None:
        told = "holds more than" if len(content) > ends[-1] else "does not have all of"
        raise DamagedArchiveError(f"{shown(own[0].path)}: its block {told} the files of its listing.")
    for number in itertools.chain(*parts):
        piece = bytes(content[ends[number] : ends[number + 1]])
        picture = own[number].picture
        yield own[number], [piece if picture is None else written_picture(picture, piece)]


def _pieces(entry: _Entry, blocks: Iterable[Block]) -> Iterator[bytes]:
    """What is in a file, block by block, if it is all there."""
    left = entry.n_bytes
    is_ended = False
    for block in blocks:
        left, is_ended = left - len(block.content), is_ended or block.n_items > 0
        yield block.content
    if left or not is_ended:
        told = "holds more than" if left < 0 else "does not have all of"
        raise DamagedArchiveError(f"{shown(entry.path)}: its block {told} the files of its listing.")


def _write(place: Path, entry: _Entry, pieces: Iterable[bytes]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with place.open("xb") as file:
            for piece in pieces:
                file.write(piece)
    except DamagedArchiveError:
        place.unlink()
        raise
    place.chmod(entry.mode)
    os.utime(place, ns=(entry.time, entry.time))


def _listed(blocks: Iterator[Block], n_bytes: int) -> list[_Entry]:
    listing = read_listing(blocks, n_bytes)
    try:
        told = json.loads(listing)
    except (ValueError, RecursionError) as error:
        raise DamagedArchiveError("its listing of files is damaged.") from error
    if not isinstance(told, list):
        raise DamagedArchiveError("its listing of files is damaged.")
    entries = [_Entry.of(entry) for entry in told]
    paths = {entry.path for entry in entries}
    folders = {"/".join(parts[:n]) for parts in (path.split("/") for path in paths) for n in range(1, len(parts))}
    if len(paths) < len(entries) or paths & folders:
        raise DamagedArchiveError("its listing names a file twice, or as a folder, too.")
    return entries
