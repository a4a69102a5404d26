"""Rows, tables and pictures with a few odd ones among them, for detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

#: Columns of :func:`numbers`: three that say the same in other units, three times.
COLUMNS = ("a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3")


def numbers(n: int, *, seed: int = 0) -> np.ndarray:
    """Rows of three hidden numbers, each seen three times with a fifth of noise."""
    rng = np.random.default_rng(seed)
    hidden = np.repeat(rng.normal(size=(n, 3)), 3, axis=1)
    seen = hidden * np.tile([1.0, -1.0, 1.0], 3) + 0.2 * rng.normal(size=(n, 9))
    return seen * np.tile([1.0, 20.0, 0.01], 3) + np.tile([0.0, 100.0, 1.0], 3)


def swapped(X: np.ndarray, row: int, first: int, second: int) -> np.ndarray:
    """One row in which two columns are exchanged, each in the units of the other."""
    centre, spread = X.mean(0), X.std(0)
    units = (X[row] - centre) / spread
    units[[first, second]] = units[[second, first]]
    return (units * spread + centre)[None]


def animals(n: int = 500, *, seed: int = 0, holes: float = 0.05) -> pd.DataFrame:
    """A table of mixed kinds: what an animal has on its skin and how it moves follows from what it is."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["cat", "dog", "owl", "eel"], n, p=[0.3, 0.3, 0.2, 0.2])
    skin = pd.Series(kind).map({"cat": "fur", "dog": "fur", "owl": "feathers", "eel": "slime"}).to_numpy(object)
    weight = np.select([kind == "cat", kind == "dog", kind == "owl"], [4.0, 20.0, 1.0], 3.0) * rng.lognormal(0, 0.1, n)
    frame = pd.DataFrame(
        {
            "kind": kind.astype(object),
            "skin": skin,
            "weight": weight.round(3),
            "length": (20 * weight ** (1 / 3) + rng.normal(size=n)).round(2),
            "colour": rng.choice(["black", "brown", "white"], n).astype(object),
        }
    )
    for column in ("kind", "weight", "colour"):
        frame.loc[rng.random(n) < holes, column] = None if column != "weight" else np.nan
    return frame


def impossible(frame: pd.DataFrame) -> pd.DataFrame:
    """One row of a combination that there is not, of categories that are common each."""
    row = frame[(frame["kind"] == "cat") & frame["weight"].notna() & frame["colour"].notna()].head(1).copy()
    row["skin"] = "feathers"
    return row


def digits(n: int = 600, *, start: int = 0) -> np.ndarray:
    """Pictures of digits, 8 by 8, from 0 to 1."""
    images: Any = load_digits().images[start : start + n]
    return (images / 16.0).astype(np.float32)


def patched(image: np.ndarray, top: int = 3, left: int = 3) -> np.ndarray:
    """A picture of which a patch of 3 by 3 is inverted."""
    other = image.copy()
    other[top : top + 3, left : left + 3] = 1.0 - other[top : top + 3, left : left + 3]
    return other
