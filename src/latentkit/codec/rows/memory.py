"""Rows that were seen before, found again by a number that many rows share with few others."""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.codec.rows.conditional import N_KIN
from latentkit.core.errors import DamagedArchiveError

__all__ = ["MEMORY_PRECISION", "RowMemory"]

Integers = NDArray[np.int64]

#: Bits of the frequency of an entry, and of whether there is one.
MEMORY_PRECISION: Final = 24
_MOST_ROWS: Final = 1 << 20  # of all entries, so that each has slots
_MOST_COUNT: Final = 1 << 30


@final
class RowMemory:
    r"""Keys that were seen, how often, and the last rows that had them.

    A key that is found again has the probability :math:`n_k / n` of being one that was seen :math:`n_k` times; rows of
    the same key are its *kin*, and tell what else the row may be.

    Args:
        keys: Numbers, each once.
        counts: How often each was seen, at least once.
        rows: Symbols of the last rows of each key, -1 for those that are not kept, shape (keys, kin, columns).
        found: Keys that were seen before, among so many rows, from which the first rows are foretold.
        missed: And those that were not.

    Raises:
        DamagedArchiveError: If these do not fit together.
    """

    def __init__(self, keys: Integers, counts: Integers, rows: Integers, found: int, missed: int) -> None:
        n = len(keys)
        if counts.shape != (n,) or rows.ndim != 3 or rows.shape[:2] != (n, N_KIN) or min(found, missed) < 0:
            raise DamagedArchiveError("the rows that it remembers do not fit together.")
        if counts.min(initial=1) < 1 or counts.max(initial=1) > _MOST_ROWS or counts.sum() > _MOST_ROWS:
            raise DamagedArchiveError("it remembers more rows than it can.")
        self._entries = {key: number for number, key in enumerate(keys.tolist())}
        if len(self._entries) != n:
            raise DamagedArchiveError("it remembers a row twice.")
        if max(found, missed) > _MOST_COUNT:
            raise DamagedArchiveError("it remembers more rows than it can.")
        self._keys, self._counts, self._rows = keys.tolist(), counts.tolist(), list(rows)
        self._found, self._missed = found, missed
        self._width = rows.shape[2]
        self._index()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def n_rows(self) -> int:
        """How many rows were seen."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def chance(self) -> int:
        """Slots of 2^24 that a row has whose key was seen before."""
        whole = 1 << MEMORY_PRECISION
        share = (2 * self._found + 1) * whole // (2 * (self._found + self._missed) + 2)
        return min(max(share, 1 << 8), whole - (1 << 8))

    def entries(self, keys: Integers) -> Integers:
        """Return the number of each key's entry, -1 for keys that were not seen."""
        return np.array([self._entries.get(key, -1) for key in keys.tolist()], np.int64)

    def intervals(self, entries: Integers) -> tuple[Integers, Integers]:
        """Return starts and frequencies, of 2^24, of entries."""
        ends = self._slots[entries + 1]
        starts = self._slots[entries]
        return starts, ends - starts

    def find(self, slots: Integers) -> Integers:
        """Return the entries that have these slots."""
        return np.searchsorted(self._slots, slots, "right") - 1

    def keys(self, entries: Integers) -> Integers:
        """Return the keys of entries."""
        return np.array([self._keys[entry] for entry in entries.tolist()], np.int64)

    def kin(self, entries: Integers) -> Integers:
        """Return the rows of entries, -1 throughout where an entry is -1; shape (n, kin, columns)."""
        none = np.full((N_KIN, self._width), -1, np.int64)
        rows = [none if entry < 0 else self._rows[entry] for entry in entries.tolist()]
        return np.array(rows, np.int64).reshape(-1, N_KIN, self._width)

    def learn(self, keys: Integers, is_key: NDArray[np.bool_], symbols: Integers) -> None:
        """Add rows.

        Args:
            keys: Of rows, shape (n,).
            is_key: Which of them have one.
            symbols: Of the rows, shape (n, columns).
        """
        if self.n_rows + len(keys) > _MOST_ROWS:
            return
        n_before, found = len(self), 0
        for place in np.flatnonzero(is_key).tolist():
            key = int(keys[place])
            entry = self._entries.get(key)
            row = symbols[place]
            if entry is None:
                self._entries[key] = len(self._keys)
                self._keys.append(key)
                self._counts.append(1)
                kept = np.full((N_KIN, self._width), -1, np.int64)
                kept[0] = row
                self._rows.append(kept)
            else:
                found += entry < n_before
                self._counts[entry] += 1
                before = self._rows[entry]
                self._rows[entry] = np.stack([row, *before[:-1]])
        self._found = self._found // 2 + found
        self._missed = self._missed // 2 + len(keys) - found
        self._index()

    def _index(self) -> None:
        self._ends = np.cumsum(np.array(self._counts, np.int64))
        total = int(self._ends[-1]) if self._counts else 1
        starts = np.concatenate([[0], self._ends])
        self._slots = (starts << MEMORY_PRECISION) // total
