"""Are new rows still like those that a model has learnt from? Column by column, and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_real
from latentkit.evaluation.column_shapes import total_variation
from latentkit.evaluation.mixed_table import MixedTable, check_tables

__all__ = ["ColumnDrift", "Drift", "measure_drift"]

Floats = NDArray[np.float64]

_EXPECTED: Final = 5.0  # rows of a category in either table; rarer ones count as one


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """How one column of a batch differs from the reference.

    Attributes:
        name: Of the column.
        difference: Largest difference of the two distribution functions of numbers, or total variation of categories,
            in [0, 1].
        missing: Share of missing cells in the batch, less that in the reference.
        p_value: That rows of one distribution differ as much, in their values or in what is missing of them.
        has_drifted: Whether it is below what all tests together allow.
    """

    name: str
    difference: float
    missing: float
    p_value: float
    has_drifted: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A batch of rows beside a reference.

    Attributes:
        columns: Every column, the smallest p-value first.
        score_p_value: That anomaly scores of one distribution differ as much; None where none were given.
        score_has_drifted: Whether it is below what all tests together allow; None where none were given.
        has_drifted: Whether anything has.
        false_alarm_rate: Probability, at most, that `has_drifted` is True for rows of the same distribution.
        n_reference: Rows of the reference.
        n_batch: Rows of the batch.
    """

    columns: tuple[ColumnDrift, ...]
    score_p_value: float | None
    score_has_drifted: bool | None
    has_drifted: bool
    false_alarm_rate: float
    n_reference: int
    n_batch: int


def measure_drift(
    reference: MixedTable,
    batch: MixedTable,
    *,
    false_alarm_rate: float = 0.05,
    scores: tuple[Floats, Floats] | None = None,
) -> Drift:
    r"""Test whether a batch comes from the distribution of the reference.

    .. math:: D_c = \sup_t |F_c(t) - G_c(t)|, \qquad
              \chi^2_k = \sum_{t, a} \frac{(n_{ta} - n_{t\cdot} n_{\cdot a} / n)^2}{n_{t\cdot} n_{\cdot a} / n}

    Numbers are compared by the two-sample Kolmogorov-Smirnov test, categories by the chi-squared test of the table of
    counts, rare ones as one; what is missing by the chi-squared test of the counts of missing cells. Columns one by one
    do not see that they no longer go together: for that, give anomaly scores of both tables, which are compared by the
    Kolmogorov-Smirnov test. All p-values are held against one false-alarm rate by Holm's method, whatever the columns
    have to do with each other.

    Args:
        reference: Rows of the distribution that was learnt; held-out ones where scores are given.
        batch: New rows, with the same columns.
        false_alarm_rate: Probability, at most, of finding drift where there is none, between 0 and 1.
        scores: Anomaly scores of the rows of the reference and of the batch, shapes (n_reference,) and (n_batch,).
    Raises:
        InvalidParameterError: If the columns differ, a table has fewer than 2 rows, or scores do not fit.
    References:
        Holm, 1979, A Simple Sequentially Rejective Multiple Test Procedure. Rabanser et al., 2019, Failing Loudly,
        arXiv:1810.11953 (tests of single dimensions find most shifts).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> old, new = (
        ...     MixedTable(values=rng.normal(size=(200, 2)) + shift, is_categorical=[False, False], names=["a", "b"])
        ...     for shift in ([0, 0], [0, 1])
        ... )
        >>> [(column.name, column.has_drifted) for column in measure_drift(old, new).columns]
        [('b', True), ('a', False)]
    """
    check_real("false_alarm_rate", false_alarm_rate, low=0.0, high=1.0, inclusive=(False, False))
    check_tables(2, reference=reference, batch=batch)
    tests: list[tuple[float, float, float]] = []
    for cells, new, kind in zip(reference.values.T, batch.values.T, reference.is_categorical, strict=True):
        known, fresh = cells[~np.isnan(cells)], new[~np.isnan(new)]
        difference, p_value = _of_categories(known, fresh) if kind else _of_numbers(known, fresh)
        gaps = np.array([[len(cells) - len(known), len(known)], [len(new) - len(fresh), len(fresh)]], float)
        missing = float(gaps[1, 0] / len(new) - gaps[0, 0] / len(cells))
        # two tests of one column: the smaller p-value, twice
        tests.append((difference, missing, min(1.0, 2.0 * min(p_value, _chi_squared(gaps)))))
    p_values = [p_value for *_, p_value in tests]
    if scores is not None:
        if any(np.shape(part) != (table.n,) for part, table in zip(scores, (reference, batch), strict=True)):
            raise InvalidParameterError(
                f"scores must be two arrays of shape ({reference.n},) and ({batch.n},); got "
                f"{' and '.join(str(np.shape(part)) for part in scores)}."
            )
        p_values.append(_of_numbers(np.asarray(scores[0], float), np.asarray(scores[1], float))[1])
    found = _holm(p_values, false_alarm_rate)
    columns = [
        ColumnDrift(name=name, difference=difference, missing=missing, p_value=p_value, has_drifted=drifted)
        for name, (difference, missing, p_value), drifted in zip(reference.names, tests, found, strict=False)
    ]
    return Drift(
        columns=tuple(sorted(columns, key=lambda column: (column.p_value, -column.difference))),
        score_p_value=None if scores is None else p_values[-1],
        score_has_drifted=None if scores is None else found[-1],
        has_drifted=any(found),
        false_alarm_rate=false_alarm_rate,
        n_reference=reference.n,
        n_batch=batch.n,
    )


def _of_numbers(known: Floats, fresh: Floats) -> tuple[float, float]:
    """Largest difference of the distribution functions, and its p-value; no difference where there is nothing."""
    from scipy.stats import ks_2samp

    if not min(len(known), len(fresh)):
        return 0.0, 1.0
    test = ks_2samp(known, fresh, method="asymp" if max(len(known), len(fresh)) > 1000 else "auto")
    return float(test.statistic), float(test.pvalue)


def _of_categories(known: Floats, fresh: Floats) -> tuple[float, float]:
    """Total variation of the shares of codes, and the p-value of their counts."""
    if not min(len(known), len(fresh)):
        return 0.0, 1.0
    codes, places = np.unique(np.concatenate([known, fresh]), return_inverse=True)
    halves = places[: len(known)], places[len(known) :]
    counts = np.stack([np.bincount(part, minlength=len(codes)) for part in halves]).astype(float)
    expected = counts.sum(0) * min(len(known), len(fresh)) / counts.sum()
    rare = expected < _EXPECTED
    pooled = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
    return total_variation(*halves), _chi_squared(pooled)


def _chi_squared(counts: Floats) -> float:
    """P-value of independence of the rows and columns of counts; 1 where there is nothing to compare."""
    from scipy.stats import chi2_contingency

    counts = counts[:, counts.sum(0) > 0]
    if counts.shape[1] < 2 or (counts.sum(1) == 0).any():
        return 1.0
    return float(chi2_contingency(counts).pvalue)


def _holm(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which of the hypotheses to reject so that none is rejected wrongly with more than this probability."""
    found = [False] * len(p_values)
    for rank, place in enumerate(np.argsort(p_values, kind="stable").tolist()):
        if p_values[place] > rate / (len(p_values) - rank):
            break
        found[place] = True
    return found
