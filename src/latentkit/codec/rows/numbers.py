"""Whole numbers as bytes, small ones as few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from latentkit.core.errors import DamagedArchiveError

__all__ = ["NumberReader", "written_numbers"]

_MOST_SHIFT: Final = 56


def written_numbers(numbers: Sequence[int]) -> bytes:
    """Return the bytes of whole numbers, at least 0, one after the other.

    Each is written in base 128, the lowest digit first; all digits but the last have their highest bit set (LEB128).

    Example:
        >>> written_numbers([5, 300]).hex()
        '05ac02'
    """
    digits = bytearray()
    for number in numbers:
        while number >= 128:
            digits.append(128 | number & 127)
            number >>= 7
        digits.append(number)
    return bytes(digits)


@final
class NumberReader:
    """Reads what :func:`written_numbers` wrote, and what follows it.

    Args:
        content: Bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 0

    def next(self) -> int:
        """Return the next number.

        Raises:
            DamagedArchiveError: If there is none.
        """
        value, shift = 0, 0
        while self._place < len(self._content) and shift < _MOST_SHIFT:
            digit = self._content[self._place]
            self._place += 1
            value |= (digit & 127) << shift
            if digit < 128:
                return value
            shift += 7
        raise DamagedArchiveError("its numbers cannot be read.")

    def several(self, n: int) -> list[int]:
        """Return the next n numbers.

        Raises:
            DamagedArchiveError: If there are fewer.
        """
        if n > len(self._content):
            raise DamagedArchiveError("its numbers cannot be read.")
        return [self.next() for _ in range(n)]

    def rest(self, n: int) -> tuple[bytes, bytes]:
        """Return the next n bytes, and all that follow.

        Raises:
            DamagedArchiveError: If there are fewer.
        """
        end = self._place + n
        if end > len(self._content):
            raise DamagedArchiveError("it ends before what is written in full.")
        return self._content[self._place : end], self._content[end:]
