"""Blocks of images: pixels, and what tells them from other bytes."""

from __future__ import annotations

from typing import Any, Final, final

from numpy.typing import NDArray

from latentkit.core.errors import DamagedArchiveError

__all__ = ["Pixels"]


@final
class Pixels(bytes):
    """A block of images of one size: height and width in 32 bits each, little-endian, and the pixels.

    The bytes say nothing else than those of any block. That they are of this class says that whoever made them knows
    them to be pixels: a coder that approximates takes no others, however alike they are.
    """

    HEAD: Final = 8

    @classmethod
    def block(cls, images: NDArray[Any]) -> Pixels:
        """Return a block of images, shape (n, height, width, ...), of one byte a number.

        Example:
            >>> import numpy as np
            >>> Pixels.block(np.full((2, 1, 3), 9, np.uint8)).hex(" ")
            '01 00 00 00 03 00 00 00 09 09 09 09 09 09'
        """
        height, width = images.shape[1:3]
        return cls(cls.head(int(height), int(width)) + images.tobytes())

    @classmethod
    def head(cls, height: int, width: int) -> bytes:
        """Return what a block of images of a size begins with."""
        return height.to_bytes(4, "little") + width.to_bytes(4, "little")

    @classmethod
    def content(cls, block: bytes) -> bytes:
        """Return the pixels of a block.

        Raises:
            DamagedArchiveError: If it is none.
        """
        if len(block) < cls.HEAD:
            raise DamagedArchiveError("a block of images has no size.")
        return block[cls.HEAD :]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return int.from_bytes(self[:4], "little"), int.from_bytes(self[4 : self.HEAD], "little")
