"""What every kind of contents gives, and what gives it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.archive import Block
from latentkit.codec.images import Pixels
from latentkit.core.registry import Registry

__all__ = ["Contents", "Pixels", "Restorer", "Stretch", "restorers", "shown"]

#: Bytes of a block, and how many items they are.
Stretch: TypeAlias = tuple[bytes, int]


class Contents(ABC):
    """Something that is to be compressed.

    Attributes:
        name: What it was called.
        n_bytes: How many bytes it takes where it lies; None where that is not known before it has been read.
        has_images: Whether there are images to learn from.
        has_lines: Whether there are lines of text to learn from.
    """

    name: str
    n_bytes: int | None
    has_images: bool = False
    has_lines: bool = False

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


class Restorer(ABC):
    """Writes contents again as they were.

    Args:
        meta: As :meth:`Contents.meta` gave it; it comes from a file.

    Raises:
        DamagedArchiveError: If it is none.
    """

    @abstractmethod
    def __init__(self, meta: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def write(self, blocks: Iterable[Block], target: Path) -> list[Path]:
        """Write a file or a folder, whole or not at all, and return what was written."""

    @abstractmethod
    def stream(self, blocks: Iterable[Block], target: IO[bytes]) -> None:
        """Write the bytes of a file one after the other.

        Raises:
            UnsupportedOperationError: If it is no file.
        """


def shown(name: str) -> str:
    """Return the name of a file as text that can be written, whatever bytes it is."""
    return name.encode(errors="replace").decode()


#: By the kind that the meta of an archive names.
restorers: Registry[Callable[[Mapping[str, Any]], Restorer]] = Registry("kind of contents")
