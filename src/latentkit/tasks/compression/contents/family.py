"""What every kind of contents gives, and what gives it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.archive import Block, BlockEntry
from latentkit.codec.images import Pixels
from latentkit.core.errors import DamagedArchiveError
from latentkit.core.registry import Registry

__all__ = ["Contents", "Pixels", "Restorer", "ChosenItems", "Stretch", "read_listing", "restorers", "shown"]

#: Bytes of a block, and how many items they are.
Stretch: TypeAlias = tuple[bytes, int]


class Contents(ABC):
    """Something that is to be compressed.

    Attributes:
        name: What it was called.
        n_bytes: How many bytes it takes where it lies; None where that is not known before it has been read.
        has_images: Whether there are images to learn from.
        has_lines: Whether there are lines of text to learn from.
        has_texts: Whether these are texts, and no rows of a table.
        plain: The same in another form, which is taken where this one becomes larger than it is where it lies.
    """

    name: str
    n_bytes: int | None
    plain: Contents | None = None
    has_images: bool = False
    has_lines: bool = False
    has_texts: bool = False

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """Return what writing it again takes besides the blocks; ``kind`` names who reads it, ``"bytes"`` if absent."""

    @abstractmethod
    def blocks(self, most_bytes: int) -> Iterator[Stretch]:
        """Yield blocks of at most so many bytes, or of one image, and how many items each has."""

    def images(self) -> list[NDArray[np.uint8]]:
        """Return the images there are, each (height, width, channels), to learn from."""
        return []

    def lines(self, most_bytes: int) -> bytes:
        """Return the first lines of text there are, to learn from."""
        del most_bytes
        return b""


@final
@dataclass(frozen=True, slots=True)
class ChosenItems:
    """Some of the items of an archive.

    Attributes:
        parts: Which, in their order.
        leaves_out: Whether an item that is not whole is left out, as what is left of a damaged archive; else it is an
            error.
    """

    parts: tuple[range, ...]
    leaves_out: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def within(self, block: Block | BlockEntry) -> list[range]:
        """Return places of the chosen items among those of a block; one that ends no item is of the next."""
        first, end = block.first, block.first + max(1, block.n_items)
        cut = (range(max(part.start, first) - first, min(part.stop, end) - first) for part in self.parts)
        return [part for part in cut if part]


class Restorer(ABC):
    """Writes contents again as they were.

    Args:
        meta: As :meth:`Contents.meta` gave it; it comes from a file.

    Attributes:
        n_listed: Bytes at the start that are needed for any item, and are of none.
        n_headers: Items at the start that stand before any others, such as the header of a table.

    Raises:
        DamagedArchiveError: If it is none.
    """

    n_listed: int = 0
    n_headers: int = 0

    @abstractmethod
    def __init__(self, meta: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def write(self, blocks: Iterable[Block], target: Path, selection: ChosenItems | None = None) -> list[Path]:
        """Write a file or a folder, whole or not at all, and return what was written.

        Args:
            blocks: All of them; of a selection, those that have its items, and those of the first :attr:`n_listed`
                bytes.
            target: Where to.
            selection: Which items; None for all that there are.
        """

    @abstractmethod
    def stream(self, blocks: Iterable[Block], target: IO[bytes], selection: ChosenItems | None = None) -> None:
        """Write the bytes of a file one after the other; see :meth:`write`.

        Raises:
            UnsupportedOperationError: If it is no file.
        """


def read_listing(blocks: Iterator[Block], n_bytes: int) -> bytes:
    """Return the first bytes of an archive, which are of no item.

    Raises:
        DamagedArchiveError: If they are not so many.
    """
    listing = bytearray()
    while len(listing) < n_bytes:
        block = next(blocks, None)
        if block is None or block.first or block.n_items:
            raise DamagedArchiveError("its listing is not whole.")
        listing += block.content
    if len(listing) > n_bytes:
        raise DamagedArchiveError("its listing is longer than it says.")
    return bytes(listing)


def shown(name: str) -> str:
    """Return the name of a file as text that can be written, whatever bytes it is."""
    return name.encode(errors="replace").decode()


#: By the kind that the meta of an archive names.
restorers: Registry[Callable[[Mapping[str, Any]], Restorer]] = Registry("kind of contents")
