"""Intervals of many rows, step by step, on a stack whose lanes cost nothing to begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.ans import AnsStack
from latentkit.core.errors import DamagedArchiveError

__all__ = ["WIDTHS", "Reader", "Step", "code_of_steps"]

Integers = NDArray[np.int64]

#: Numbers of lanes that a stack may have.
WIDTHS: Final = (1, 8, 64)
_LENT: Final = 31  # bits of a word that a lane begins with

#: Starts and frequencies of a symbol of each row, and the bits of their sum.
Step = tuple[Integers, Integers, int]


def code_of_steps(steps: Sequence[Step], most: int) -> tuple[list[int], bytes]:
    """Return the code of symbols, and how it is read.

    Symbols are pushed from the last to the first. A stack begins with one lane; as soon as it holds enough words, these
    become what further lanes begin with, which therefore cost nothing.

    Args:
        steps: In the order in which they are read.
        most: How many of `WIDTHS` may be used, at least one.

    Returns:
        For each width but the first, how many steps are left to be read where it ends; and the stack.
    """
    stack, level, left = AnsStack(WIDTHS[most - 1]), 0, []
    for number, (starts, frequencies, precision) in enumerate(reversed(steps)):
        while level + 1 < most and stack.n_words >= WIDTHS[level + 1]:
            _widen(stack, level)
            level += 1
            left.append(number)
        width = WIDTHS[level]
        for place in reversed(range(0, len(starts), width)):
            stack.push_intervals(starts[place : place + width], frequencies[place : place + width], precision)
    if level + 1 < most:
        return code_of_steps(steps, level + 1)
    return left, stack.to_bytes()


@final
class Reader:
    """Reads what :func:`code_of_steps` wrote.

    Args:
        left: How many steps are left where each width but the first ends.
        content: The stack.
        n_steps: How many steps there are.

    Raises:
        DamagedArchiveError: If no stack became these bytes.
    """

    def __init__(self, left: Sequence[int], content: bytes, n_steps: int) -> None:
        if len(left) >= len(WIDTHS) or list(left) != sorted(left):
            raise DamagedArchiveError("its lanes are not those of any stack.")
        self._left = list(left)
        self._stack = AnsStack.from_bytes(content, WIDTHS[len(left)])
        self._n_left = n_steps

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return not self._left and self._stack.is_fresh

    def read(self, n: int, precision: int, choose: Callable[[Integers, slice], tuple[Integers, ...]]) -> None:
        """Read a step.

        Args:
            n: Rows.
            precision: Bits of the sum of frequencies.
            choose: Given the slots of some rows, and which they are, notes their symbols and returns starts and
                frequencies.
        """
        while self._left and self._n_left <= self._left[-1]:
            self._left.pop()
            _narrow(self._stack, len(self._left))
        width = WIDTHS[len(self._left)]
        for place in range(0, n, width):
            rows = slice(place, min(place + width, n))
            slots = self._stack.peek(rows.stop - rows.start, precision)
            starts, frequencies = choose(slots, rows)
            self._stack.pop_intervals(slots, starts, frequencies, precision)
        self._n_left -= 1


def _widen(stack: AnsStack, level: int) -> None:
    """Let further lanes begin with the words on top."""
    n_old, n_new = WIDTHS[level], WIDTHS[level + 1]
    frequencies = np.ones(n_new, np.int64)
    frequencies[:n_old] = 1 << _LENT
    # what stands in the lowest bits of the new lanes is 0
    stack.pop_intervals(stack.peek(n_new, _LENT), np.zeros(n_new, np.int64), frequencies, _LENT)


def _narrow(stack: AnsStack, level: int) -> None:
    """Give the words back that :func:`_widen` took, and leave the lanes as they were before."""
    n_old, n_new = WIDTHS[level], WIDTHS[level + 1]
    frequencies = np.ones(n_new, np.int64)
    frequencies[:n_old] = 1 << _LENT
    stack.push_intervals(np.zeros(n_new, np.int64), frequencies, _LENT)
