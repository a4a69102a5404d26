"""Whole numbers as bytes, small ones as few."""

from __future__ import annotations

from typing import final

from latentkit.core.errors import DamagedArchiveError

__all__ = ["NumberReader", "written_numbers"]


def written_numbers(*numbers: int) -> bytes:
    """Return the bytes of whole numbers, at least 0, one after the other.

    Each is written in base 128, the lowest digit first; all digits but the last have their highest bit set (LEB128).

    Example:
        >>> written_numbers(5, 300).hex()
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
        most_digits: Of a number.
        message: What is said where a number cannot be read.

    Attributes:
        place: How many bytes have been read.
    """

    def __init__(self, content: bytes, *, most_digits: int = 8, message: str = "its numbers cannot be read.") -> None:
        self._content, self._most_digits, self._message = content, most_digits, message
        self.place = 0

    def next(self) -> int:
        """Return the next number.

        Raises:
            DamagedArchiveError: If there is none.
        """
        value = 0
        for number, digit in enumerate(self._content[self.place : self.place + self._most_digits]):
            value |= (digit & 127) << 7 * number
            if digit < 128:
                self.place += number + 1
                return value
        raise DamagedArchiveError(self._message)

    def several(self, n: int) -> list[int]:
        """Return the next n numbers.

        Raises:
            DamagedArchiveError: If there are fewer.
        """
        if n > len(self._content):
            raise DamagedArchiveError(self._message)
        return [self.next() for _ in range(n)]

    def rest(self, n: int) -> tuple[bytes, bytes]:
        """Return the next n bytes, and all that follow.

        Raises:
            DamagedArchiveError: If there are fewer.
        """
        end = self.place + n
        if end > len(self._content):
            raise DamagedArchiveError("it ends before what is written in full.")
        return self._content[self.place : end], self._content[end:]
