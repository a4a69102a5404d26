"""Some examples of a set of data: chosen by number, or put aside by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from latentkit.core.seeds import derive_seed
from latentkit.data.dataset import Dataset
from latentkit.data.table.frames import take_rows

__all__ = ["drop_examples", "put_aside", "take_examples"]


def take_examples(dataset: Dataset, rows: Sequence[int]) -> Dataset:
    """Return some examples, by number, with their labels."""
    labels = None if dataset.labels is None else dataset.labels[list(rows)]
    return replace(dataset, data=take_rows(dataset.data, rows), labels=labels)


def drop_examples(dataset: Dataset, rows: Sequence[int]) -> Dataset:
    """Return all other examples than some, with their labels."""
    return take_examples(dataset, np.setdiff1d(np.arange(dataset.n), rows).tolist())


def put_aside(n: int, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of n rows stay, and which share of them, drawn by the seed, nothing looks at; both ascending.

    Example:
        >>> rest, aside = put_aside(10, 0.2, seed=0)
        >>> len(rest), len(aside), sorted([*rest, *aside]) == list(range(10))
        (8, 2, True)
    """
    order = np.random.default_rng(derive_seed(seed, "test rows")).permutation(n)
    n_aside = round(fraction * n)
    return np.sort(order[n_aside:]), np.sort(order[:n_aside])
