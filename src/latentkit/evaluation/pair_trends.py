"""Do the columns of a synthetic table hang together as the real ones do?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from latentkit.core.parameters import check_choice
from latentkit.evaluation.column_shapes import total_variation
from latentkit.evaluation.mixed_table import MixedTable, check_tables, code_categories

__all__ = ["PairRule", "PairTrends", "cramers_v", "pair_associations", "pair_trends"]

PairRule = Literal["equal_width", "own_width", "associated"]

_OWN = "10 bins of equal width over each table's own range, as sdmetrics"
_DESCRIPTIONS: dict[str, str] = {
    "equal_width": "rule equal_width: all pairs, 10 bins of equal width over the real range",
    "own_width": f"rule own_width: all pairs, {_OWN} 0.11 to 0.26",
    "associated": "rule associated: pairs with |correlation| > 0.5 or Cramer's V > 0.3 in the real rows, "
    f"{_OWN} since 0.27",
}
_CORRELATION, _ASSOCIATION = 0.5, 0.3
_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairTrends:
    """How far the pairs of columns of two tables are apart.

    Attributes:
        differences: Of each pair, in [0, 1], shape (columns, columns): symmetric, NaN on the diagonal and for pairs
            that the rule leaves out.
        names: Of the columns.
        rule: "equal_width", "own_width" or "associated".
        n_pairs: Pairs that count.
        n_real: Real rows.
        n_synthetic: Synthetic rows.
    """

    differences: NDArray[np.float64]
    names: tuple[str, ...]
    rule: str
    n_pairs: int
    n_real: int
    n_synthetic: int

    @property
    def score(self) -> float:
        """Mean over the pairs of 1 - difference; 1 is best, NaN where no pair counts."""
        return 1.0 - self.error_percent / 100.0

    @property
    def error_percent(self) -> float:
        """Mean difference in percent; lower is better, NaN where no pair counts."""
        return 100.0 * float(np.nanmean(self.differences)) if self.n_pairs else float("nan")

    @property
    def computed_with(self) -> str:
        """What the figure rests on."""
        of_all = len(self.names) * (len(self.names) - 1) // 2
        return (
            f"{_DESCRIPTIONS[self.rule]}; {self.n_pairs} of {of_all} pairs, "
            f"{self.n_real:,} real and {self.n_synthetic:,} synthetic rows"
        )


def pair_trends(real: MixedTable, synthetic: MixedTable, *, rule: PairRule = "equal_width") -> PairTrends:
    r"""Difference between the joint distributions of each pair of columns.

    .. math:: d = \tfrac{1}{2} |\rho - \rho'| \quad \text{(two numbers)}, \qquad
              d = \tfrac{1}{2} \sum_{kl} |p_{kl} - q_{kl}| \quad \text{(any other pair)}

    with Pearson's correlation \rho, and contingency tables p and q in which numbers stand in 10 bins of equal width.
    Three rules are in use, and their figures cannot be compared with each other:

    - ``"equal_width"`` takes every pair, and bins over the range of the real column, the outer ones open. It needs no
      luck with outliers of the synthetic table, and is the one to prefer.
    - ``"own_width"`` takes every pair, and bins over each table's own range, whose largest value has a bin to itself:
      sdmetrics 0.11 to 0.26, which the papers of 2023 to 2025 used.
    - ``"associated"`` is the same for the pairs that hang together in the real rows, by an absolute correlation above
      0.5 or Cramer's V above 0.3: sdmetrics since 0.27.

    Missing is a category, and a bin, of its own; correlations are those of the rows in which both cells are there. A
    column without spread correlates 0 with any other. (sdmetrics puts missing numbers into the last bin, leaves out
    pairs with a constant column and draws 50,000 rows of larger tables.)

    Args:
        real: The rows to be like; at least 2.
        synthetic: A table with the same columns; at least 2 rows.
        rule: See above.

    Returns:
        The differences, pair by pair, and their mean.

    Raises:
        InvalidParameterError: If the columns differ or the rule is unknown.

    Example:
        >>> real, new = (
        ...     MixedTable(values=rows, is_categorical=[True, True], names=["a", "b"])
        ...     for rows in ([[0, 0], [1, 1]], [[0, 0], [0, 1], [1, 0], [1, 1]])
        ... )
        >>> pair_trends(real, new).error_percent
        50.0
    """
    check_choice("rule", rule, get_args(PairRule))
    check_tables(2, real=real, synthetic=synthetic)
    codes = [_codes(real, synthetic, name, rule) for name in real.names]
    differences = np.full((len(codes), len(codes)), np.nan)
    for i, j in itertools.combinations(range(len(codes)), 2):
        if real.is_categorical[[i, j]].any():
            (a, c), (b, d) = codes[i], codes[j]
            if rule == "associated" and not cramers_v(a, b) > _ASSOCIATION:
                continue
            base = max(int(b.max()), int(d.max())) + 1
            difference = total_variation(a * base + b, c * base + d)
        else:
            correlation = _correlation(real.values[:, [i, j]])
            if rule == "associated" and not abs(correlation) > _CORRELATION:
                continue
            difference = abs(correlation - _correlation(synthetic.values[:, [i, j]])) / 2.0
        differences[i, j] = differences[j, i] = difference
    return PairTrends(
        differences=differences,
        names=real.names,
        rule=rule,
        n_pairs=int((~np.isnan(differences)).sum()) // 2,
        n_real=real.n,
        n_synthetic=synthetic.n,
    )


def pair_associations(table: MixedTable, *, like: MixedTable | None = None) -> NDArray[np.float64]:
    r"""Cramer's V of each pair of columns: how much they tell about each other, whatever their kinds.

    .. math:: V = \sqrt{\frac{\chi^2 / n}{\min(K, L) - 1}}

    with :math:`\chi^2` of the contingency table of K by L values that occur. In [0, 1]; 0 for independent columns, up
    to the noise of few rows. Numbers stand in at most 10 bins bounded by quantiles, a frequent value in one of its
    own; missing is a value.

    Args:
        table: At least 1 row.
        like: Table of the same columns whose quantiles bound the bins; `table` itself by default.

    Returns:
        Symmetric, shape (columns, columns), 1 on the diagonal.

    Raises:
        InvalidParameterError: If the columns differ.

    References:
        Cramer, 1946, Mathematical Methods of Statistics, section 21.9.

    Example:
        >>> table = MixedTable(values=[[0, 5.0], [1, 6.0]] * 9, is_categorical=[True, False], names=["a", "b"])
        >>> pair_associations(table).round(3).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    like = table if like is None else like
    check_tables(table=table, like=like)
    codes = []
    for name, kind in zip(table.names, table.is_categorical, strict=True):
        cells, reference = table.column(name), like.column(name)
        if kind:
            codes.append(code_categories(cells)[0][0])
        else:
            known = reference[~np.isnan(reference)]
            codes.append(_binned(cells, _quantile_edges(known)))
    result = np.eye(len(codes))
    for i, j in itertools.combinations(range(len(codes)), 2):
        result[i, j] = result[j, i] = cramers_v(codes[i], codes[j])
    return result


def cramers_v(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Cramer's V of two columns of codes, shape (n,) each; 0 where one of them is constant.

    Example:
        >>> round(cramers_v(np.array([0, 0, 1, 1]), np.array([5, 5, 3, 3])), 6)
        1.0
    """
    (_, a, rows), (_, b, columns) = (np.unique(codes, return_inverse=True, return_counts=True) for codes in (a, b))
    if min(len(rows), len(columns)) < 2:
        return 0.0
    cells, counts = np.unique(a * len(columns) + b, return_counts=True)
    expected = rows[cells // len(columns)] * columns[cells % len(columns)]
    excess = float((counts.astype(np.float64) ** 2 / expected).sum()) - 1.0
    return float(np.sqrt(max(0.0, excess) / (min(len(rows), len(columns)) - 1)))


def _codes(
    real: MixedTable, synthetic: MixedTable, name: str, rule: PairRule
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One column of both tables as codes."""
    a, b = real.column(name), synthetic.column(name)
    if real.is_categorical[real.place(name)]:
        (codes_of_a, codes_of_b), _ = code_categories(a, b)
        return codes_of_a, codes_of_b
    if rule == "equal_width":
        edges = _equal_edges(a)[1:-1]
        return _binned(a, edges), _binned(b, edges)
    return _binned(a, _equal_edges(a)), _binned(b, _equal_edges(b))


def _equal_edges(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    known = cells[~np.isnan(cells)]
    return np.histogram_bin_edges(known, bins=_BINS) if len(known) else np.zeros(0)


def _quantile_edges(known: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most 9 edges; a value that fills a bin alone, such as many zeros, has an edge above it, too."""
    if not len(known):
        return np.zeros(0)
    inner = np.linspace(0.0, 1.0, _BINS + 1)[1:-1]
    edges, counts = np.unique(np.quantile(known, inner, method="lower"), return_counts=True)
    return np.sort(np.concatenate((edges, np.nextafter(edges[counts > 1], np.inf))))


def _binned(cells: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bins that begin at their edge; missing has the last code, alike for all edges of equal number."""
    return np.where(np.isnan(cells), _BINS + 2, np.searchsorted(edges, cells, side="right")).astype(np.int64)


def _correlation(pair: NDArray[np.float64]) -> float:
    both = pair[~np.isnan(pair).any(1)]
    if len(both) < 2 or (np.ptp(both, axis=0) == 0).any():
        return 0.0
    centred = both - both.mean(0)
    scale = np.abs(centred).max(0)  # squares of tiny or huge numbers stay in range
    x, y = (centred / scale).T
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))
