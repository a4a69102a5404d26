"""Symbols one after the other, in lanes: what is put first is taken first."""

from __future__ import annotations

import math
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.ans import AnsStack
from latentkit.codec.frequencies import FrequencyTables

__all__ = ["MOST_LANES", "SymbolReader", "SymbolWriter"]

Integers = NDArray[np.int64]

MOST_LANES: Final = 256
_WASTE: Final = 38.0  # bits of a lane that tell nothing
_PATIENCE: Final = 128.0  # bits that are worth one of waste


@final
class SymbolWriter:
    """Collects symbols, and codes them when all are there: an entropy coder writes the last one first.

    The number of lanes, which each cost some 38 bits, is the largest whose cost stays below one in 128.

    Example:
        >>> writer, coin = SymbolWriter(), FrequencyTables(np.array([[3, 1]]), 2)
        >>> writer.put(coin, np.zeros(5, int), np.array([0, 1, 0, 0, 1]))
        >>> content, n_lanes = writer.finish()
        >>> SymbolReader(content, n_lanes).take(coin, np.zeros(5, int))
        array([0, 1, 0, 0, 1])
    """

    def __init__(self) -> None:
        self._parts: list[tuple[FrequencyTables, NDArray[np.uint16], NDArray[np.uint16]]] = []
        self._bits = 0.0

    def put(self, tables: FrequencyTables, which: Integers, symbols: Integers) -> None:
        """Append symbols, each of its table, shape (n,)."""
        self._bits += tables.bits(which, symbols)
        self._parts.append((tables, which.astype(np.uint16), symbols.astype(np.uint16)))

    def finish(self) -> tuple[bytes, int]:
        """Return the code, and how many lanes it has."""
        n_lanes = min(MOST_LANES, max(1, math.floor(self._bits / (_WASTE * _PATIENCE))))
        stack = AnsStack(n_lanes)
        for tables, which, symbols in reversed(self._parts):
            n_whole = len(which) - len(which) % n_lanes
            if n_whole < len(which):
                stack.push(tables, which[n_whole:].astype(np.int64), symbols[n_whole:].astype(np.int64))
            if n_whole:
                rows = [part[:n_whole].astype(np.int64).reshape(-1, n_lanes)[::-1] for part in (which, symbols)]
                stack.push(tables, rows[0], rows[1])
        return stack.to_bytes(), n_lanes


@final
class SymbolReader:
    """Takes symbols in the order in which they were put.

    Args:
        content: What :meth:`SymbolWriter.finish` gave.
        n_lanes: How many lanes it has.

    Raises:
        DamagedArchiveError: If these are no bytes of so many lanes.
    """

    def __init__(self, content: bytes, n_lanes: int) -> None:
        self._stack = AnsStack.from_bytes(content, n_lanes)

    @property
    def is_done(self) -> bool:
        """Whether all that was put has been taken."""
        return self._stack.is_fresh

    def take(self, tables: FrequencyTables, which: Integers) -> Integers:
        """Return the next symbols, each of its table, shape (n,).

        Raises:
            DamagedArchiveError: If there are no more.
        """
        symbols, n_lanes = np.empty(len(which), np.int64), self._stack.n_lanes
        for first in range(0, len(which), n_lanes):
            symbols[first : first + n_lanes] = self._stack.pop(tables, which[first : first + n_lanes])
        return symbols
