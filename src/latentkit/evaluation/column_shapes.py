"""Does each column of a synthetic table spread as the real one does?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentkit.evaluation.mixed_table import MixedTable, check_tables, code_categories

__all__ = ["ColumnShapes", "column_shapes", "total_variation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnShapes:
    """How far the columns of two tables are apart, one by one.

    Attributes:
        distances: By column, in [0, 1]: Kolmogorov-Smirnov for numbers, total variation for categories.
        n_real: Real rows.
        n_synthetic: Synthetic rows.
    """

    distances: dict[str, float]
    n_real: int
    n_synthetic: int

    @property
    def score(self) -> float:
        """Mean over the columns of 1 - distance; 1 is best."""
        return 1.0 - self.error_percent / 100.0

    @property
    def error_percent(self) -> float:
        """Mean distance in percent; lower is better."""
        return 100.0 * float(np.mean(list(self.distances.values())))

    @property
    def computed_with(self) -> str:
        """What the figure rests on."""
        return (
            f"Kolmogorov-Smirnov and total variation distances of {len(self.distances)} columns, "
            f"{self.n_real:,} real and {self.n_synthetic:,} synthetic rows"
        )


def column_shapes(real: MixedTable, synthetic: MixedTable) -> ColumnShapes:
    r"""Distance between the distributions of each column.

    .. math:: d = \sup_x |F(x) - G(x)| \quad \text{(numbers)}, \qquad
              d = \tfrac{1}{2} \sum_k |p_k - q_k| \quad \text{(categories)}

    Symmetric, 0 for equal tables, and blind to everything between columns: a table whose columns were shuffled one by
    one has 0 everywhere. Missing is a category of its own. In a column of numbers the missing cells stand at one end of
    the axis, below all numbers or above them, wherever the distance is larger: it is then at least the difference
    between the shares of missing cells, and the ordinary distance where none is missing.

    Args:
        real: The rows to be like; at least 1.
        synthetic: A table with the same columns; at least 1 row.

    Returns:
        The distances, in [0, 1]. Without missing cells 1 - distance is KSComplement or TVComplement of sdmetrics,
        which leaves missing cells out.

    Raises:
        InvalidParameterError: If the columns differ.

    Example:
        >>> real, new = (
        ...     MixedTable(values=[[x, 0] for x in column], is_categorical=[False, True], names=["age", "sex"])
        ...     for column in ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 9.0])
        ... )
        >>> column_shapes(real, new).distances
        {'age': 0.25, 'sex': 0.0}
    """
    check_tables(real=real, synthetic=synthetic)
    distances = {}
    for name, kind in zip(real.names, real.is_categorical, strict=True):
        a, b = real.column(name), synthetic.column(name)
        distances[name] = total_variation(*code_categories(a, b)[0]) if kind else _kolmogorov_smirnov(a, b)
    return ColumnShapes(distances=distances, n_real=real.n, n_synthetic=synthetic.n)


def total_variation(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Half the sum of the differences between the frequencies of two columns of codes from 0.

    Example:
        >>> total_variation(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 7]))
        0.25
    """
    codes = np.concatenate((a, b))
    if codes.max() > 4 * len(codes):  # tables of cells that hardly occur are not made
        codes = np.unique(codes, return_inverse=True)[1]
    p, q = (np.bincount(part, minlength=codes.max() + 1) / len(part) for part in (codes[: len(a)], codes[len(a) :]))
    return 0.5 * float(np.abs(p - q).sum())


def _kolmogorov_smirnov(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    known = [np.sort(cells[~np.isnan(cells)]) for cells in (a, b)]
    grid = np.concatenate(known)
    # distribution functions that end at the share of cells that are there: missing stands above all numbers
    f, g = (np.searchsorted(part, grid, side="right") / len(cells) for part, cells in zip(known, (a, b), strict=True))
    missing = len(known[1]) / len(b) - len(known[0]) / len(a)
    above, below = np.abs(f - g), np.abs(f - g + missing)
    return float(np.max(np.concatenate((above, below, [abs(missing)]))))
