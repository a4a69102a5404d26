"""How many rows are coded at once, and whether they get bits back: what stands in front of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final, final

from latentkit.codec.numbers import NumberReader, written_numbers
from latentkit.core.errors import DamagedArchiveError

__all__ = ["Round", "read", "written"]

_MOST_DIGITS: Final = 9  # of a number


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

    Example:
        >>> written([Round(1, gives_back=False), Round(200, gives_back=True), Round(200, gives_back=True)]).hex()
        '020191030200'
    """
    runs = ((2 * these.n + these.gives_back, len(list(run))) for these, run in groupby(rounds))
    return written_numbers(*chain.from_iterable(runs), 0)


def read(content: bytes, n: int, most: int) -> tuple[list[Round], int]:
    """Return rounds of n rows in all and `most` at most in each, and how many bytes tell it.

    Raises:
        DamagedArchiveError: If they do not tell that.
    """
    numbers = NumberReader(content, most_digits=_MOST_DIGITS, message="the sizes of its rounds cannot be read.")
    rounds, left = list[Round](), n
    while code := numbers.next():
        these, times = Round(code >> 1, gives_back=bool(code & 1)), numbers.next()
        left -= these.n * times
        if not 1 <= these.n <= most or not times or left < 0:
            raise DamagedArchiveError(f"its rounds are not of {n:,} rows in {most:,} lanes.")
        rounds += [these] * times
    if left:
        raise DamagedArchiveError(f"its rounds are not of {n:,} rows in {most:,} lanes.")
    return rounds, numbers.place
