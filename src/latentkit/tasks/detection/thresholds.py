"""From scores to alarms: cuts with a rate, a tail or a guarantee, p-values, and many tests at once.

Scores are higher for odder rows. Reference scores are those of rows that the detector was not trained on; what is said
of false alarms holds if these rows are normal and come from where the normal rows to be judged come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.core.parameters import check_real

__all__ = [
    "Calibration",
    "Tail",
    "auto_cut",
    "benjamini_hochberg",
    "best_cut",
    "conformal_calibration",
    "conformal_cut",
    "conformal_p_values",
    "fit_tail",
    "rate_cut",
    "repeated_confidence",
    "verdict_confidence",
]

Floats = NDArray[np.float64]

#: Share of the reference scores whose excesses the tail is fitted to.
TAIL_SHARE: Final = 0.1
_SHAPE: Final = -0.15  # of the tail of scores of which some are odd
_ROUNDS: Final = 20  # of leaving out what is above a cut
_FEWEST: Final = 10  # excesses that a tail is fitted to


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How a cut was come by.

    Attributes:
        rule: In words.
        cut: Score in nats above which a row is odd.
        n_rows: Rows that it was learnt from.
        f1: With labels: F1 score on the half that the cut was not chosen on; else None.
    """

    rule: str
    cut: float
    n_rows: int
    f1: float | None = None


def rate_cut(scores: Floats, contamination: float) -> float:
    r"""Cut that this share of the reference rows lies above.

    .. math:: t = F_n^{-1}(1 - c)

    Args:
        scores: Of the reference rows, shape (n,).
        contamination: Share c of odd rows, above 0, at most 0.5.
    Returns:
        A number; a row is odd if its score is above it.
    Raises:
        InvalidParameterError: If the share is out of range.

    Example:
        >>> scores = np.arange(10.0)
        >>> cut = rate_cut(scores, 0.2)
        >>> int((scores > cut).sum())
        2
    """
    check_real("contamination", contamination, low=0.0, high=0.5, inclusive=(False, True))
    return float(np.quantile(_checked(scores), 1.0 - contamination))


def conformal_cut(scores: Floats, false_alarms: float) -> float:
    r"""Cut above which a normal row lies with at most a given probability, whatever the distribution of scores.

    .. math:: t = s_{(\lceil (n + 1)(1 - \alpha) \rceil)}, \qquad P(s_{new} > t) \le \alpha

    The probability is over the reference rows and the new one together, which must be exchangeable: drawn alike, and
    none of them trained on.

    Args:
        scores: Of normal reference rows, shape (n,).
        false_alarms: Rate alpha, between 0 and 1.
    Raises:
        DataError: If there are too few rows for so low a rate; the number that is needed is named.
    References:
        Vovk et al., 2005, Algorithmic Learning in a Random World; Bates et al., 2023, Testing for outliers with
        conformal p-values, arXiv:2104.08279.

    Example:
        >>> conformal_cut(np.arange(99.0), 0.05)
        94.0
    """
    check_real("false_alarms", false_alarms, low=0.0, high=1.0, inclusive=(False, False))
    ordered = np.sort(_checked(scores))
    place = math.ceil((len(ordered) + 1) * (1.0 - false_alarms) - 1e-9)
    if place > len(ordered):
        needed = math.ceil(1.0 / false_alarms - 1e-9) - 1
        raise DataError(
            f"a false-alarm rate of {false_alarms:g} is guaranteed from {needed} held-out normal rows on; there are "
            f"{len(ordered)}. Hold out more rows, or allow a higher rate."
        )
    return float(ordered[place - 1])


def conformal_calibration(scores: Floats, false_alarms: float) -> Calibration:
    """Cut of :func:`conformal_cut` by these reference scores, with how it was come by."""
    return Calibration(
        rule=f"conformal: at most {false_alarms:g} of normal rows",
        cut=conformal_cut(scores, false_alarms),
        n_rows=len(scores),
    )


def conformal_p_values(scores: Floats, reference: Floats) -> Floats:
    r"""How often a normal row would be at least as odd, whatever the distribution of scores.

    .. math:: p = \frac{1 + \#\{i : s_i \ge s\}}{n + 1}, \qquad P(p \le \alpha) \le \alpha

    Args:
        scores: Of the rows to judge, shape (m,).
        reference: Of normal rows that were not trained on, shape (n,).
    Returns:
        Shape (m,), at least 1 / (n + 1).
    References:
        Bates et al., 2023, Testing for outliers with conformal p-values, arXiv:2104.08279.

    Example:
        >>> conformal_p_values(np.array([0.5, 9.0]), np.arange(9.0)).tolist()
        [0.9, 0.1]
    """
    ordered = np.sort(_checked(reference))
    above = len(ordered) - np.searchsorted(ordered, np.asarray(scores, np.float64), side="left")
    p_values: Floats = (1.0 + above.astype(np.float64)) / (len(ordered) + 1.0)
    return p_values


def benjamini_hochberg(p_values: Floats, rate: float) -> NDArray[np.bool_]:
    r"""Which of many rows to call odd, so that of those called odd at most this share is normal, on average.

    .. math:: k = \max\{i : p_{(i)} \le \alpha i / m\}

    Conformal p-values of one batch share their reference rows, which makes them depend on each other in the way that
    keeps the guarantee (Bates et al., theorem 2).

    Args:
        p_values: Of the rows, shape (m,).
        rate: False discovery rate alpha, between 0 and 1.
    Returns:
        True for the rows with the k smallest p-values, shape (m,).
    References:
        Benjamini and Hochberg, 1995, Controlling the False Discovery Rate. Bates et al., 2023, arXiv:2104.08279.

    Example:
        >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.9]), 0.05).tolist()
        [True, False, False, False]
    """
    check_real("rate", rate, low=0.0, high=1.0, inclusive=(False, False))
    p = np.asarray(p_values, np.float64)
    ordered = np.sort(p)
    passed = np.flatnonzero(ordered <= rate * np.arange(1, len(p) + 1) / max(1, len(p)))
    return p <= ordered[passed[-1]] if len(passed) else np.zeros(len(p), np.bool_)


@final
@dataclass(frozen=True, slots=True)
class Tail:
    r"""The upper tail of reference scores: a generalised Pareto distribution of what exceeds a base.

    .. math:: P(s > b + y) = \phi \left(1 + \xi \frac{y}{\sigma}\right)^{-1/\xi}

    Attributes:
        base: b, the score that a share :math:`\phi` of the reference exceeds.
        share: :math:`\phi`.
        scale: :math:`\sigma`, at least 0; 0 where all excesses are 0.
        shape: :math:`\xi`; above 0 for tails heavier than an exponential, below for tails that end.
    """

    base: float
    share: float
    scale: float
    shape: float

    def exceedance(self, scores: Floats) -> Floats:
        """Probability that a reference row scores higher, for scores from the base on; below it, at least `share`."""
        excess = np.asarray(scores, np.float64) - self.base
        if self.scale == 0.0:
            return np.where(excess > 0, 0.0, self.share)
        inside = np.maximum(excess, 0.0) / self.scale
        if abs(self.shape) < 1e-9:
            return self.share * np.exp(-inside)
        stretched = np.maximum(1.0 + self.shape * inside, 0.0)
        with np.errstate(divide="ignore"):
            return self.share * np.where(stretched > 0, stretched ** (-1.0 / self.shape), 0.0)

    def cut(self, probability: float) -> float:
        """Score that a reference row exceeds with this probability, from above 0 to `share`."""
        check_real("probability", probability, low=0.0, high=self.share, inclusive=(False, True))
        ratio = probability / self.share
        if abs(self.shape) < 1e-9:
            return self.base - self.scale * math.log(ratio)
        return self.base + self.scale * (math.exp(-self.shape * math.log(ratio)) - 1.0) / self.shape


def fit_tail(scores: Floats, *, share: float = TAIL_SHARE) -> Tail:
    r"""Fit the tail of reference scores, so that alarms can be rarer than one in as many rows as there are.

    The shape and scale are those of the probability-weighted moments of the excesses y, sorted ascending,

    .. math:: a_0 = \bar y, \quad a_1 = \frac{1}{n} \sum_i \frac{n - i}{n - 1} y_{(i)}, \qquad
              \xi = 2 - \frac{a_0}{a_0 - 2 a_1}, \quad \sigma = \frac{2 a_0 a_1}{a_0 - 2 a_1}

    which exist for every sample and are better than maximum likelihood below some 500 excesses.

    Args:
        scores: Of reference rows, shape (n,).
        share: Of the scores whose excesses are fitted, between 0 and 1.
    Raises:
        DataError: If there are fewer than 10 excesses.
    References:
        Hosking and Wallis, 1987, Parameter and Quantile Estimation for the Generalized Pareto Distribution. Siffer et
        al., 2017, Anomaly Detection in Streams with Extreme Value Theory.

    Example:
        >>> tail = fit_tail(np.random.default_rng(0).exponential(size=100_000))
        >>> abs(tail.shape) < 0.1, abs(tail.cut(1e-4) - math.log(1e4)) < 0.6
        (True, True)
    """
    check_real("share", share, low=0.0, high=1.0, inclusive=(False, False))
    ordered = np.sort(_checked(scores))
    n = round(share * len(ordered))
    if n < _FEWEST:
        raise DataError(
            f"a tail is fitted to at least {_FEWEST} scores, and {share:g} of {len(ordered)} are {n}. Give at least "
            f"{math.ceil(_FEWEST / share)} rows, or a rate."
        )
    base = float(ordered[-n - 1])
    excess = ordered[-n:] - base
    first = float(excess.mean())
    second = float((np.arange(n - 1, -1, -1) / (n - 1) * excess).mean())
    gap = first - 2.0 * second
    if first <= 0.0 or gap <= 1e-12 * first:
        return Tail(base, n / len(ordered), max(first, 0.0), 0.0)
    return Tail(base, n / len(ordered), 2.0 * first * second / gap, 2.0 - first / gap)


def auto_cut(scores: Floats, *, rate: float = 0.01, is_clean: bool) -> float:
    r"""Cut that normal rows exceed at about a given rate, from the tail of the reference scores.

    Where all reference rows are normal it is that of :func:`fit_tail`. Where some are not, the upper scores are not
    those of normal rows: the tail is then that of a generalised Pareto distribution of what exceeds the median, of a
    shape between that of a normal and that of an exponential distribution and a scale that two quantiles tell,

    .. math:: t = q_{1/2} + (q_{3/4} - q_{1/2}) \frac{(1 / 2 r)^\xi - 1}{2^\xi - 1}, \qquad \xi = -0.15

    Scores above the cut are then left out, all but the share r that normal rows have there, until the cut stays. For
    normal and exponential scores it leaves .1 and 3 % of them above instead of 1 %, and a fifth of odd rows hardly
    moves it.

    Args:
        scores: Of reference rows, shape (n,).
        rate: Share of normal rows above the cut, above 0, at most 0.1.
        is_clean: Whether all reference rows are normal.

    Example:
        >>> scores = np.random.default_rng(0).exponential(size=10_000)
        >>> [round(auto_cut(scores, is_clean=kind) / math.log(100), 1) for kind in (True, False)]
        [1.0, 0.8]
    """
    check_real("rate", rate, low=0.0, high=TAIL_SHARE, inclusive=(False, True))
    values = _checked(scores)
    if is_clean and round(TAIL_SHARE * len(values)) >= _FEWEST:
        return fit_tail(values).cut(min(rate, round(TAIL_SHARE * len(values)) / len(values)))
    cut = _quantile_cut(values, rate, 0.0)
    for _ in range(_ROUNDS):
        kept = values[values <= cut]
        lower = _quantile_cut(kept, rate, rate)
        if lower >= cut:  # only what is odd shall go
            break
        cut = lower
    return cut


def _quantile_cut(values: Floats, rate: float, missing: float) -> float:
    """The cut that quantiles tell, of values whose highest share `missing` is not there."""
    middle, upper = np.quantile(values, np.array([0.5, 0.75]) / (1.0 - missing))
    stretch = ((0.5 / rate) ** _SHAPE - 1.0) / (2.0**_SHAPE - 1.0)
    return float(middle + (upper - middle) * stretch)


def best_cut(scores: Floats, labels: NDArray[np.bool_]) -> float:
    r"""Cut with the largest F1 score on labelled rows, half-way between two scores.

    .. math:: F_1 = \frac{2 \, TP}{2 \, TP + FP + FN}

    Args:
        scores: Shape (n,).
        labels: True for odd rows, shape (n,); both kinds must be there.
    Raises:
        DataError: If the labels are of one kind only.
    References:
        van Rijsbergen, 1979, Information Retrieval.

    Example:
        >>> best_cut(np.array([0.0, 1.0, 2.0, 3.0]), np.array([False, False, True, True]))
        1.5
    """
    values, odd = _checked(scores), np.asarray(labels, bool)
    if odd.shape != values.shape or odd.all() or not odd.any():
        raise DataError(
            f"a cut is chosen by labels of both kinds, one for each of {len(values)} scores; got {odd.size} labels, "
            f"{int(odd.sum())} of them odd."
        )
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], np.cumsum(odd[order])
    ends = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    f1 = 2.0 * hits[ends] / (ends + 1 + odd.sum())
    place = ends[int(np.argmax(f1))]
    return float(ranked[place] - 1.0 if place == len(ranked) - 1 else 0.5 * (ranked[place] + ranked[place + 1]))


def repeated_confidence(scores: Floats, reference: Floats, cut: float) -> Floats:
    r"""How sure the verdict on each row is: how often it would be the same with another sample of reference rows.

    .. math:: P(\text{odd}) = 1 - B(n - n_c; n, p), \qquad p = \frac{1 + \#\{i : s_i \le s\}}{n + 2}

    with B the distribution function of the binomial distribution and :math:`n_c` the number of reference scores above
    the cut; the confidence is that probability for rows above the cut, and the rest to 1 for those below. It says
    little of cuts that hardly a reference row exceeds: see :func:`verdict_confidence`.

    Args:
        scores: Of the rows, shape (m,).
        reference: Of the reference rows, shape (n,).
        cut: Above which a row is odd.
    References:
        Perini et al., 2020, Quantifying the Confidence of Anomaly Detectors in Their Example-Wise Predictions.

    Example:
        >>> repeated_confidence(np.array([0.0, 98.5, 500.0]), np.arange(100.0), 97.5).round(2).tolist()
        [1.0, 0.41, 0.74]
    """
    from scipy.stats import binom

    ordered = np.sort(_checked(reference))
    values = np.asarray(scores, np.float64)
    n = len(ordered)
    below = np.searchsorted(ordered, values, side="right")
    p = (1.0 + below) / (n + 2.0)
    is_odd: Floats = 1.0 - binom.cdf(n - int((ordered > cut).sum()), n, p)
    return np.where(values > cut, is_odd, 1.0 - is_odd)


def verdict_confidence(scores: Floats, cut: float, n_reference: int) -> Floats:
    r"""How sure the verdict on each row is, of scores that are nats of an exponential tail.

    .. math:: \Phi\left(\frac{|s - t|}{\sigma}\right), \qquad \sigma^2 = \frac{1 + L^2}{k}, \qquad
              k = \phi n, \quad L = \max(0, t - \log(1 / \phi))

    A cut t was learnt from n reference rows, of which a share :math:`\phi` of a tenth makes the tail: with other rows
    the place where that begins would differ by :math:`1 / \sqrt{k}` nats and its scale by as much relatively, which
    counts L times. The confidence is the normal probability that such a cut leaves the verdict as it is.

    Args:
        scores: Of the rows, nats, shape (m,).
        cut: Above which a row is odd, nats.
        n_reference: Number n of reference rows, at least 1.
    References:
        Weissman, 1978, Estimation of Parameters and Large Quantiles Based on the k Largest Observations.

    Example:
        >>> verdict_confidence(np.array([0.0, 4.5, 9.0]), 4.6, 1000).round(2).tolist()
        [1.0, 0.66, 1.0]
    """
    from scipy.special import ndtr

    k = max(1.0, TAIL_SHARE * n_reference)
    spread = math.sqrt((1.0 + max(0.0, cut + math.log(TAIL_SHARE)) ** 2) / k)
    sure: Floats = ndtr(np.abs(np.asarray(scores, np.float64) - cut) / spread)
    return sure


def _checked(scores: Floats) -> Floats:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not len(values):
        raise InvalidParameterError(f"scores must be one number a row, shape (n,), n at least 1; got {values.shape}.")
    if not np.isfinite(values).all():
        raise InvalidParameterError(
            f"score {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite. A detector never gives such a score."
        )
    return values
