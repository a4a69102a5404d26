"""Whether one model finds the same rows more probable than another: tests on pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation.evaluation import GROUPS, Evaluation
from latentkit.evaluation.figures import Figure, normal_interval
from latentkit.evaluation.inputs import Numbers, check_pair

__all__ = ["ComparedPair", "Comparison", "PairedDifference", "holm", "paired_difference"]

#: Name of the figure that pairs of rows decide.
LIKELIHOOD = "log p(x)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """How much larger the values of the first model are, row by row.

    Attributes:
        mean: Mean of the differences, first minus second.
        standard_error: Of `mean`, over the rows.
        p_value: Of the paired t test, two-sided: how probable so large a mean is where the true one is 0.
        wilcoxon_p_value: Of Wilcoxon's signed-rank test, two-sided, which asks about ranks and so heeds no single row.
        share: Share of the rows whose first value is the larger one; ties count half.
        n: Rows.
    """

    mean: float
    standard_error: float
    p_value: float
    wilcoxon_p_value: float
    share: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean, normal over the rows."""
        return normal_interval(self.mean, self.standard_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPair:
    """Two models on the same rows.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        difference: How much larger log p(x) of the first is, nats; None where they cannot be compared.
        p_value: Of the paired t test, after Holm's correction for all pairs; None likewise.
        note: What to heed, or why there is no difference.
    """

    first: str
    second: str
    difference: PairedDifference | None
    p_value: float | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        difference = self.difference
        more = {} if difference is None else {"share": difference.share, "interval": list(difference.interval)}
        return {**asdict(self), **more}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """Models side by side, measured on the same rows.

    Attributes:
        evaluations: Figures of each model, by its name.
        pairs: Tests of log p(x), row by row, of each pair.
        left_out: Why some models could not be measured, by name.
    """

    evaluations: dict[str, Evaluation]
    pairs: tuple[ComparedPair, ...]
    left_out: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models that were measured."""
        return tuple(self.evaluations)

    @property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """Figures by name, of each the models that have it."""
        found: dict[str, dict[str, Figure]] = {}
        for group in GROUPS:
            for name, evaluation in self.evaluations.items():
                for figure in evaluation.of_group(group)[0]:
                    found.setdefault(figure.name, {})[name] = figure
        return found

    def best(self, figure: str) -> str | None:
        """Name of the model whose interval of a figure is clear of all others; None where there is no such model.

        Of log p(x) pairs decide: the model must be ahead of each other one with a p-value of at most 0.05.
        """
        found = self.figures[figure]
        if len(found) < max(2, len(self.evaluations)):
            return None
        if figure == LIKELIHOOD:
            return next((name for name in found if self._is_ahead(name)), None)
        for name, own in found.items():
            others = [other for key, other in found.items() if key != name]
            if all(_is_clear(own, other) for other in others):
                return name
        return None

    def _is_ahead(self, name: str) -> bool:
        """Whether a model is ahead of each other one in its pairs."""
        own = [pair for pair in self.pairs if name in (pair.first, pair.second)]
        return bool(own) and all(
            pair.difference is not None
            and pair.p_value is not None
            and pair.p_value <= 0.05
            and (pair.difference.mean > 0) == (pair.first == name)
            for pair in own
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "models": {name: evaluation.to_dict() for name, evaluation in self.evaluations.items()},
            "pairs": [pair.to_dict() for pair in self.pairs],
            "best": {name: self.best(name) for name in self.figures},
            "left_out": self.left_out,
        }


def _is_clear(own: Figure, other: Figure) -> bool:
    """Whether one figure is better than another beyond both intervals."""
    if own.interval is None or other.interval is None or own.bound != "neither" or other.bound != "neither":
        return False
    match own.better:
        case "higher":
            return own.interval[0] > other.interval[1]
        case "lower":
            return own.interval[1] < other.interval[0]
        case "nearer to the floor":
            if own.floor is None or other.floor is None:
                return False
            farthest = max(abs(end - own.floor) for end in own.interval)
            low, high = other.interval
            nearest = 0.0 if low <= other.floor <= high else min(abs(end - other.floor) for end in other.interval)
            return farthest < nearest
        case _:
            return False


def paired_difference(first: Numbers, second: Numbers) -> PairedDifference:
    r"""Compare two sets of values of the same rows.

    .. math:: d_i = a_i - b_i, \qquad t = \bar d \, \sqrt n / s_d

    The rows differ much more from each other than models do on one row, so that pairs tell models apart where the
    intervals of their means overlap.

    Args:
        first: Values a of one model, shape (n,), n at least 2.
        second: Values b of the other on the same rows, shape (n,).

    Returns:
        The mean difference with both tests. Where all differences are 0 both p-values are 1.

    Raises:
        InvalidParameterError: If the shapes differ, there are fewer than 2 rows, or a value is not finite.

    References:
        Wilcoxon, 1945, Individual Comparisons by Ranking Methods.

    Example:
        >>> found = paired_difference(np.array([1.0, 2.0, 3.5]), np.array([0.0, 1.5, 3.0]))
        >>> round(found.mean, 4), round(found.p_value, 4), found.share
        (0.6667, 0.0572, 1.0)
    """
    from scipy.stats import t, wilcoxon

    a, b = (values.reshape(len(values), -1) for values in (first, second))
    a, b = check_pair(("first", a), ("second", b), at_least=2)
    if a.shape[1] != 1:
        raise InvalidParameterError(f"there must be one value for each row; got shape {tuple(first.shape)}.")
    differences = (a - b)[:, 0].cpu().numpy()
    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1) / math.sqrt(n))
    equal = not differences.any()
    if error == 0.0:
        p_value = 1.0 if equal else 0.0
    else:
        p_value = float(2.0 * t.sf(abs(mean) / error, n - 1))
    return PairedDifference(
        mean=mean,
        standard_error=error,
        p_value=p_value,
        wilcoxon_p_value=1.0 if equal else float(wilcoxon(differences).pvalue),
        share=float(np.mean(differences > 0) + 0.5 * np.mean(differences == 0)),
        n=n,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return p-values of several tests, made larger so that all of them together err as rarely as one.

    .. math:: \tilde p_{(k)} = \max_{j \le k} \min(1, (m - j + 1) \, p_{(j)})

    Args:
        p_values: Of m tests.

    References:
        Holm, 1979, A Simple Sequentially Rejective Multiple Test Procedure.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    result, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        result[index] = largest
    return result
