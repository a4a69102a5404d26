"""How many rows are coded at once, and whether they get bits back: what stands in front of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final, final

from latentkit.core.errors import DamagedArchiveError

__all__ = ["Round", "read", "written"]

_MOST_DIGITS: Final = 56  # bits that come before the last digit of a number


@final
@dataclass(frozen=True, slots=True)
class Round:
    """Rows that are coded at once, one in each lane.

    Attributes:
        n: How many.
        gives_back: Whether their latent variables are popped; else they are the means, roughly.
    """

    n: int
    gives_back: bool


def written(rounds: list[Round]) -> bytes:
    """For each run of equal rounds: twice its number of rows, and 1 where bits are given back; how often. 0 ends it.

    Whole numbers in base 128, the lowest digit first; all but the last have their highest bit set (LEB128).

    Example:
        >>> written([Round(1, gives_back=False), Round(200, gives_back=True), Round(200, gives_back=True)]).hex()
        '020191030200'
    """
    digits = bytearray()
    for these, run in groupby(rounds):
        for value in (2 * these.n + these.gives_back, len(list(run))):
            rest = value
            while rest >= 128:
                digits.append(128 | rest & 127)
                rest >>= 7
            digits.append(rest)
    return bytes(digits) + b"\0"


def read(content: bytes, n: int, most: int) -> tuple[list[Round], int]:
    """Return rounds of n rows in all and `most` at most in each, and how many bytes tell it.

    Raises:
        DamagedArchiveError: If they do not tell that.
    """
    place, rounds, left = 0, [], n

    def number() -> int:
        nonlocal place
        value, shift = 0, 0
        while place < len(content) and shift <= _MOST_DIGITS:
            digit = content[place]
            place += 1
            value |= (digit & 127) << shift
            if digit < 128:
                return value
            shift += 7
        raise DamagedArchiveError("the sizes of its rounds cannot be read.")

    while code := number():
        these, times = Round(code >> 1, gives_back=bool(code & 1)), number()
        left -= these.n * times
        if not 1 <= these.n <= most or not times or left < 0:
            raise DamagedArchiveError(f"its rounds are not of {n:,} rows in {most:,} lanes.")
        rounds += [these] * times
    if left:
        raise DamagedArchiveError(f"its rounds are not of {n:,} rows in {most:,} lanes.")
    return rounds, place
