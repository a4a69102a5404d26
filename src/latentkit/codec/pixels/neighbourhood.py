"""The pixels that are known before another one, and the order in which many can be coded at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_integer

__all__ = ["Neighbourhood"]

Integers = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Pixels around another one that come before it, row by row and from left to right.

    Attributes:
        offsets: Rows and columns from there to each, (dy, dx): dy is below 0, or 0 with dx below 0.

    Raises:
        InvalidParameterError: If one does not come before.

    Example:
        >>> near = Neighbourhood.within(2)
        >>> near.offsets
        ((-1, -1), (-1, 0), (-1, 1), (0, -2), (0, -1))
        >>> [front.tolist() for front in near.fronts(2, 3)]  # two pixels are coded at once where that can be
        [[0], [1], [2, 3], [4], [5]]
    """

    offsets: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        late = [(dy, dx) for dy, dx in self.offsets if dy > 0 or (dy == 0 and dx >= 0)]
        if late or not self.offsets:
            raise InvalidParameterError(f"neighbours come before a pixel, and there is at least one; got {late}.")

    @classmethod
    def within(cls, reach: int) -> Neighbourhood:
        r"""Return all with :math:`|x| + 2|y| \le r + 1` and :math:`|x| \le r`, a wedge that is wider than high.

        Args:
            reach: r, columns to each side, at least 2.
        """
        reach = check_integer("reach", reach, low=2)
        rows, columns = range(-(reach + 1) // 2, 1), range(-reach, reach + 1)
        return cls(tuple((y, x) for y in rows for x in columns if (y < 0 or x < 0) and abs(x) - 2 * y <= reach + 1))

    @property
    def up(self) -> int:
        """How many rows above the pixel are looked at."""
        return max(-dy for dy, _ in self.offsets)

    @property
    def side(self) -> int:
        """How many columns to each side are looked at."""
        return max(abs(dx) for _, dx in self.offsets)

    @property
    def skew(self) -> int:
        """Columns by which a row has to be ahead of the one below it."""
        return max((dx // -dy + 1 for dy, dx in self.offsets if dy < 0), default=0) if self.up else 0

    def fronts(self, height: int, width: int) -> list[Integers]:
        r"""Return the pixels of an image in the order of time, :math:`t = x + s y`, with the skew s.

        All of one time know their neighbours when those of earlier times are known.

        Returns:
            Places y * width + x, one array for each time.
        """
        skew = max(1, self.skew)
        y, x = np.divmod(np.arange(height * width), max(1, width))
        order = np.argsort(x + skew * y, kind="stable")
        times = (x + skew * y)[order]
        return [front for front in np.split(order, np.flatnonzero(np.diff(times)) + 1) if len(front)]
