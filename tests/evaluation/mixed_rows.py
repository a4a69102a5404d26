"""Tables of mixed kinds for tests, drawn from one distribution."""

from __future__ import annotations

import numpy as np

from latentkit.evaluation import MixedTable

NAMES = ("age", "pay", "job", "town")
KINDS = np.array([False, False, True, True])


def table(values, kinds=KINDS, names=None) -> MixedTable:
    kinds = np.asarray(kinds)
    return MixedTable(values=values, is_categorical=kinds, names=names or NAMES[: len(kinds)])


def rows(n: int, seed: int, *, shift: float = 0.0, missing: float = 0.1) -> MixedTable:
    """Two numbers and two categories that hang together, with holes in one of each."""
    rng = np.random.default_rng(seed)
    job = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    age = np.round(20 + 10 * job + 8 * rng.normal(size=n) + 10 * shift)
    pay = np.exp(0.05 * age + 0.3 * rng.normal(size=n) + shift)
    town = (rng.integers(0, 3, n) + job) % 5 + (rng.random(n) < shift)
    values = np.column_stack((age, pay, job, town)).astype(float)
    holes = rng.random((n, 2)) < missing
    values[holes[:, 0], 1] = np.nan
    values[holes[:, 1], 3] = np.nan
    return table(values)


def shuffled(given: MixedTable, seed: int = 0) -> MixedTable:
    """The same columns, each in an order of its own."""
    rng = np.random.default_rng(seed)
    return table(np.column_stack([rng.permutation(column) for column in given.values.T]))


def renamed(given: MixedTable, seed: int = 0) -> MixedTable:
    """The same categories under other codes."""
    values = given.values.copy()
    order = np.random.default_rng(seed).permutation(9).astype(float)
    for place in np.flatnonzero(given.is_categorical):
        known = ~np.isnan(values[:, place])
        values[known, place] = order[values[known, place].astype(int)]
    return table(values)
