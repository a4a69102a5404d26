"""Arrays of whole numbers, most of them 0, as few bytes, by an arithmetic coder that learns from what it has coded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DamagedArchiveError

__all__ = ["MOST_ENTRIES", "packed_arrays", "unpacked_arrays"]

Integers = NDArray[np.int64]

#: Numbers that all arrays together have at most: each takes time.
MOST_ENTRIES: Final = 1 << 19

_MOST_DIMENSIONS: Final = 4
_MOST_BITS: Final = 62  # of a magnitude
_N_CLASSES: Final = 8  # of how rare numbers are that are not 0
_SIGN: Final = _N_CLASSES**2  # contexts of a bit: first those of whether a number is 0, then its sign,
_LENGTHS: Final = _SIGN + 1  # whether its magnitude has more bits than so many,
_DIGITS: Final = _LENGTHS + _MOST_BITS + 1  # and each of so many
_N_CONTEXTS: Final = _DIGITS + _MOST_BITS * (_MOST_BITS + 1)

_EVEN: Final = 1 << 23  # a chance of 2^15 in 2^16 of a 1, behind which stand 8 bits: how many bits it is the mean of
_SLOWEST: Final = 250
_LEAST: Final = 16  # chance, of 2^16
_WORD: Final = (1 << 32) - 1


def packed_arrays(arrays: Mapping[str, Integers]) -> bytes:
    """Return the numbers of arrays as bytes, in the order of their names, which are not kept.

    A number is a bit that tells whether it is 0, foretold by how many are among those before it in its row and in its
    column; its sign; and its magnitude, first how many bits this has. The chance of a bit is the mean of what came
    before in the same context of the same array. What all numbers of an array can be divided by is told once.

    Args:
        arrays: Of one to four dimensions, at most 2^19 numbers in all. Rows run along the last one.

    Example:
        >>> weights = np.zeros((100, 64), np.int64)
        >>> weights[:, 3] = 5
        >>> code = packed_arrays({"weights": weights})
        >>> len(code) < 50, bool((unpacked_arrays(code, ["weights"])["weights"] == weights).all())
        (True, True)
    """
    writer, sizes = _Writer(), [_EVEN] * _N_CONTEXTS
    for name in sorted(arrays):
        array = arrays[name]
        for size in (array.ndim, *array.shape):
            _code(writer, sizes, 0, size)
        step = max(int(np.gcd.reduce(array, axis=None)), 1)
        _code(writer, sizes, 0, step - 1)
        _code_matrix(writer, (array // step).reshape(-1, array.shape[-1]).tolist() if array.size else [])
    return writer.to_bytes()


def unpacked_arrays(content: bytes, names: Iterable[str]) -> dict[str, Integers]:
    """Return the arrays that became these bytes.

    Args:
        content: What :func:`packed_arrays` gave.
        names: Of the arrays.

    Raises:
        DamagedArchiveError: If no arrays of so many numbers became these bytes.
    """
    reader, sizes = _Reader(content), [_EVEN] * _N_CONTEXTS
    arrays, n_entries = dict[str, Integers](), 0
    for name in sorted(names):
        n_dimensions = _code(reader, sizes, 0, 0)
        if not 1 <= n_dimensions <= _MOST_DIMENSIONS:
            raise DamagedArchiveError("its model cannot be: its numbers are no arrays.")
        shape = [_code(reader, sizes, 0, 0) for _ in range(n_dimensions)]
        size = math.prod(shape)
        step = _code(reader, sizes, 0, 0) + 1
        n_entries += size
        if min(shape) < 0 or max(shape) > MOST_ENTRIES or n_entries > MOST_ENTRIES or step < 1:
            raise DamagedArchiveError(f"its model cannot be: it has more than {MOST_ENTRIES:,} numbers.")
        matrix = [[0] * shape[-1] for _ in range(size // shape[-1])] if size else []
        _code_matrix(reader, matrix)
        arrays[name] = np.array(matrix, np.int64).reshape(shape) * step
    reader.check_end()
    return arrays


class _Bits(Protocol):
    """Codes bits, or reads them."""

    def code(self, chances: list[int], context: int, bit: int) -> int:
        """Return the bit, which is no matter where it is read, and learn from it."""


def _code_matrix(bits: _Bits, matrix: list[list[int]]) -> None:
    """Code the numbers of a matrix, or read them into it."""
    chances = [_EVEN] * _N_CONTEXTS
    in_column = [0] * len(matrix[0]) if matrix else []
    for n_before, row in enumerate(matrix):
        in_row = 0
        for place, value in enumerate(row):
            context = _rarity(in_column[place], n_before) * _N_CLASSES + _rarity(in_row, place)
            row[place] = _code(bits, chances, context, value)
            if row[place]:
                in_column[place] += 1
                in_row += 1


def _rarity(count: int, n: int) -> int:
    """About the logarithm of how many numbers there are for one that is not 0."""
    return min(((n + 2) // (2 * count + 1)).bit_length(), _N_CLASSES - 1)


def _code(bits: _Bits, chances: list[int], context: int, value: int) -> int:
    """Code a number, or read it."""
    if not bits.code(chances, context, int(value != 0)):
        return 0
    is_negative = bits.code(chances, _SIGN, int(value < 0))
    magnitude, n_bits = abs(value), 1
    while n_bits < _MOST_BITS and bits.code(chances, _LENGTHS + n_bits, int(magnitude >> n_bits > 0)):
        n_bits += 1
    found = 1
    for place in reversed(range(n_bits - 1)):
        bit = bits.code(chances, _DIGITS + n_bits * _MOST_BITS + place, magnitude >> place & 1)
        found = found << 1 | bit
    return -found if is_negative else found


def _learnt(chance: int, bit: int) -> int:
    """The chance of a 1 after one more bit."""
    share, n = chance >> 8, chance & 255
    share += ((bit << 16) - share) * 2 // (2 * n + 3)
    return min(max(share, _LEAST), (1 << 16) - _LEAST) << 8 | min(n + 1, _SLOWEST)


@final
class _Writer:
    """Narrows a range of 32 bits down, bit by bit; what its ends share is written."""

    def __init__(self) -> None:
        self._low, self._high, self._bytes = 0, _WORD, bytearray()

    def code(self, chances: list[int], context: int, bit: int) -> int:
        chance = chances[context]
        middle = self._low + ((self._high - self._low) * (chance >> 8) >> 16)
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        chances[context] = _learnt(chance, bit)
        while not (self._low ^ self._high) >> 24:
            self._bytes.append(self._high >> 24)
            self._low, self._high = self._low << 8 & _WORD, self._high << 8 & _WORD | 255
        return bit

    def to_bytes(self) -> bytes:
        """The code: as many bytes more as tell a number in the range, behind which zeros are read."""
        n_bytes = next(n for n in range(5) if self._first(n) <= self._high)
        return bytes(self._bytes) + self._first(n_bytes).to_bytes(4, "big")[:n_bytes]

    def _first(self, n_bytes: int) -> int:
        """The first number, from the low end of the range on, of which no more bytes are not 0."""
        rest = 8 * (4 - n_bytes)
        return -(-self._low >> rest) << rest


@final
class _Reader:
    """Reads what :class:`_Writer` wrote."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = content, 4
        self._low, self._high = 0, _WORD
        self._value = int.from_bytes(content[:4].ljust(4, b"\0"), "big")

    def code(self, chances: list[int], context: int, bit: int) -> int:
        chance = chances[context]
        middle = self._low + ((self._high - self._low) * (chance >> 8) >> 16)
        bit = int(self._value <= middle)
        if bit:
            self._high = middle
        else:
            self._low = middle + 1
        chances[context] = _learnt(chance, bit)
        while not (self._low ^ self._high) >> 24:
            self._low, self._high = self._low << 8 & _WORD, self._high << 8 & _WORD | 255
            following = self._content[self._place] if self._place < len(self._content) else 0
            self._value = self._value << 8 & _WORD | following
            self._place += 1
        return bit

    def check_end(self) -> None:
        """See that the content ends where its numbers do.

        Raises:
            DamagedArchiveError: If it does not.
        """
        if self._place < len(self._content) or self._place - 4 > len(self._content):
            raise DamagedArchiveError("its model cannot be: its numbers do not end where they have to.")
