"""Can a classifier tell samples from real rows?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer
from latentkit.core.seeds import derive_seed
from latentkit.evaluation.inputs import Numbers, check_pair
from latentkit.evaluation.mixed_table import MixedTable, check_tables
from latentkit.evaluation.table_learners import boosting, linear

__all__ = ["TwoSampleAuc", "area_under_curve", "two_sample_auc"]

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSampleAuc:
    """How well a classifier tells the sets apart on rows that it has not seen.

    Attributes:
        auc: Area under the ROC curve, in [0, 1], mean over the folds; nearer to 0.5 is better.
        standard_error: Its standard error for the classifiers that were fitted (the folds' placements, by DeLong).
        classifier: "boosting" or "linear".
        n_folds: Folds of the cross-validation.
        n_real: Real rows.
        n_generated: Generated rows.
    """

    auc: float
    standard_error: float
    classifier: str
    n_folds: int
    n_real: int
    n_generated: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval, cut to [0, 1]."""
        return tuple(np.clip(self.auc + _NORMAL_95 * self.standard_error * np.array([-1.0, 1.0]), 0.0, 1.0).tolist())

    @property
    def computed_with(self) -> str:
        """What the figure rests on."""
        return (
            f"{self.classifier} classifier, {self.n_folds}-fold cross-validation, "
            f"{self.n_real:,} real and {self.n_generated:,} generated rows"
        )


def two_sample_auc(
    real: Numbers | MixedTable,
    generated: Numbers | MixedTable,
    *,
    classifier: Literal["boosting", "linear"] = "boosting",
    n_folds: int = 5,
    seed: int = 0,
) -> TwoSampleAuc:
    """Classifier two-sample test: area under the ROC curve of telling samples from real rows, cross-validated.

    .. math:: AUC = P(f(y) > f(x)) + P(f(y) = f(x)) / 2

    with f the classifier's score for "generated", fitted without the rows x (real) and y (generated) that it is judged
    on. In [0, 1]: 0.5 where nothing tells the sets apart, 1 where everything does, and values a little below 0.5 by
    chance. Nearer to 0.5 is better. It is biased towards 0.5 for few rows, for which the classifier learns less, so an
    AUC of 0.5 proves little where rows are few.

    Args:
        real: Features, or rows of numbers as they are, shape (n_real, features), at least `n_folds` rows; or a mixed
            table, whose categories and missing cells the classifier gets as such.
        generated: Shape (n_generated, features), at least `n_folds` rows; or a mixed table of the same columns.
        classifier: "boosting" is scikit-learn's histogram gradient boosting, which sees interactions; "linear" is
            logistic regression on standardised features and one-hot categories, which sees shifts.
        n_folds: At least 2.
        seed: Decides the folds.

    Returns:
        The area with its interval.

    Raises:
        InvalidParameterError: If the shapes do not fit, rows are too few, a number is not finite, or an option is
            unknown.

    References:
        Lopez-Paz and Oquab, 2017, Revisiting Classifier Two-Sample Tests, arXiv:1610.06545. DeLong et al., 1988
        (standard error).

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> two_sample_auc(x, x + 9.0, classifier="linear").auc
        1.0
    """
    from sklearn.model_selection import StratifiedKFold

    check_choice("classifier", classifier, ("boosting", "linear"))
    check_integer("n_folds", n_folds, low=2)
    if isinstance(real, MixedTable) and isinstance(generated, MixedTable):
        check_tables(n_folds, real=real, generated=generated)
        a, b, kinds = real.values, generated.values, real.is_categorical
    elif isinstance(real, MixedTable) or isinstance(generated, MixedTable):
        raise InvalidParameterError("real and generated must both be mixed tables, or both be arrays of numbers.")
    else:
        pair = check_pair(("real", real), ("generated", generated), at_least=n_folds)
        a, b = (rows.cpu().numpy() for rows in pair)
        kinds = np.zeros(a.shape[1], bool)
    rows, labels = np.concatenate((a, b)), np.repeat((0, 1), (len(a), len(b)))
    state = derive_seed(seed, "two-sample") % 2**32
    areas, variances = [], []
    for fit, held_out in StratifiedKFold(n_folds, shuffle=True, random_state=state).split(rows, labels):
        scores = _classifier(classifier, kinds, state).fit(rows[fit], labels[fit]).predict_proba(rows[held_out])[:, 1]
        area, error = area_under_curve(scores[labels[held_out] == 1], scores[labels[held_out] == 0])
        areas.append(area)
        variances.append(error**2)
    return TwoSampleAuc(
        auc=float(np.mean(areas)),
        standard_error=math.sqrt(sum(variances)) / n_folds,
        classifier=classifier,
        n_folds=n_folds,
        n_real=len(a),
        n_generated=len(b),
    )


def area_under_curve(positive: NDArray[Any], negative: NDArray[Any]) -> tuple[float, float]:
    """Return the probability that a positive exceeds a negative (ties count half), and its standard error by DeLong.

    The standard error is 0 where the sets do not overlap, and infinite where one of them has a single number.

    Example:
        >>> area_under_curve(np.array([2.0, 4.0]), np.array([1.0, 3.0]))
        (0.75, 0.353...)
    """
    from scipy.stats import rankdata

    m, n = len(positive), len(negative)
    ranks = rankdata(np.concatenate((positive, negative)))
    # share of negatives below each positive, and of positives above each negative
    below = (ranks[:m] - rankdata(positive)) / n
    above = 1.0 - (ranks[m:] - rankdata(negative)) / m
    variance = below.var(ddof=1) / m + above.var(ddof=1) / n if min(m, n) > 1 else math.inf
    return float(below.mean()), math.sqrt(variance)


def _classifier(name: str, is_categorical: NDArray[np.bool_], seed: int) -> Any:
    if name == "linear":
        return linear(is_categorical, 2, seed)
    return boosting(is_categorical, 2, seed, learning_rate=0.2, max_iter=50)
