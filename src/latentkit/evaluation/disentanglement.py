"""Does one latent dimension hold one factor? Scores of codes against known factors of variation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.parameters import check_choice, check_integer, check_real
from latentkit.core.seeds import derive_seed
from latentkit.evaluation.factors import CodesAndFactors, bin_columns, check_codes_and_factors
from latentkit.evaluation.inputs import Numbers

__all__ = [
    "Dci",
    "FactorVaeScore",
    "MutualInformationGap",
    "SapScore",
    "dci",
    "factor_vae_score",
    "mutual_information_gap",
    "sap_score",
]

Predictor = Literal["forest", "boosting", "lasso"]

_GATHERED = 1 << 21  # codes gathered in one pass of the FactorVAE score


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualInformationGap:
    """MIG.

    Attributes:
        score: Mean of `per_factor`, in [0, 1], higher is better.
        per_factor: Gap of each factor, shape (factors,).
        information: Mutual information of each code and factor, nats, shape (latent, factors).
        entropy: Entropy of each factor, nats, shape (factors,).
        n: Rows.
        n_bins: Bins of each code.
    """

    score: float
    per_factor: NDArray[np.float64]
    information: NDArray[np.float64]
    entropy: NDArray[np.float64]
    n: int
    n_bins: int

    @property
    def computed_with(self) -> str:
        """What the figure rests on."""
        return f"{self.n:,} rows, {self.n_bins} bins of equal width per latent dimension"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dci:
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: Whether each dimension matters for one factor only, in [0, 1], higher is better.
        completeness: Whether each factor is held by one dimension only, in [0, 1], higher is better.
        informativeness: How well the factors are predicted on held-out rows, mean over the factors: share of right
            classes in [0, 1], or R^2, at most 1, with "lasso"; higher is better.
        importance: Importance of each dimension for each factor, columns sum to 1, shape (latent, factors).
        predictor: "forest", "boosting" or "lasso".
        n_train: Rows that the predictors were fitted on.
        n_test: Rows of `informativeness`.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: NDArray[np.float64]
    predictor: str
    n_train: int
    n_test: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return f"{self.predictor} predictors, {self.n_train:,} rows to fit and {self.n_test:,} to judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorVaeScore:
    """FactorVAE score.

    Attributes:
        score: Share of held-out votes that name the right factor, in [0, 1], higher is better.
        chance: Share of the most frequent factor among those votes: what ignoring the codes gives.
        n_active: Latent dimensions that vary enough to vote.
        n_votes: Votes that fitted the table, and votes that were judged.
        batch_size: Rows per vote.
        n: Rows.
    """

    score: float
    chance: float
    n_active: int
    n_votes: tuple[int, int]
    batch_size: int
    n: int

    @property
    def computed_with(self) -> str:
        """What the figure rests on."""
        return (
            f"{self.n:,} rows, {self.n_votes[0]:,} votes to fit and {self.n_votes[1]:,} to judge of {self.batch_size} "
            f"rows, {self.n_active} active dimensions"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SapScore:
    """Separated attribute predictability.

    Attributes:
        score: Mean of `per_factor`, in [0, 1], higher is better.
        per_factor: Gap of each factor, shape (factors,).
        predictability: Score of predicting each factor from each dimension alone, shape (latent, factors).
        predictor: "linear regression" or "linear classifier".
        n: Rows.
    """

    score: float
    per_factor: NDArray[np.float64]
    predictability: NDArray[np.float64]
    predictor: str
    n: int

    @property
    def computed_with(self) -> str:
        """What the figure rests on."""
        return f"{self.n:,} rows, {self.predictor} from one dimension"


def mutual_information_gap(codes: Numbers, factors: Numbers, *, n_bins: int = 20) -> MutualInformationGap:
    r"""Gap between the two dimensions that know most about a factor, MIG.

    .. math:: \frac{1}{K} \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    with z_(1) and z_(2) the dimensions of largest and second-largest mutual information with factor v_k. In [0, 1],
    higher is better: 1 where one dimension alone determines each factor. Mutual information is that of the counts,
    codes cut into bins of equal width; it is biased upwards by about (bins - 1)(classes - 1) / (2 n) nats for each
    dimension, which the gap cancels for the most part. A dimension whose range is set by an outlier has few bins left.

    Args:
        codes: Posterior means (as is customary) or draws, shape (n, latent), at least 2 dimensions.
        factors: Integers (classes) or real numbers (cut into `n_bins` bins as well), shape (n, factors).
        n_bins: Bins per dimension, at least 2; 20 as in disentanglement_lib.

    Returns:
        The score and what it is the mean of.

    Raises:
        InvalidParameterError: If the shapes do not fit, a number is not finite, or a factor has a single value.

    References:
        Chen et al., 2018, Isolating Sources of Disentanglement, arXiv:1802.04942. Locatello et al., 2019,
        arXiv:1811.12359 (the bins).

    Example:
        >>> factors = np.stack(np.meshgrid(range(5), range(5)), -1).reshape(-1, 2)
        >>> round(mutual_information_gap(factors.astype(float), factors).score, 6)
        1.0
    """
    from scipy.stats import entropy
    from sklearn.metrics import mutual_info_score

    data = check_codes_and_factors(codes, factors, n_bins=n_bins, least_codes=2)
    bins = bin_columns(data.codes, n_bins)
    information = np.array([[mutual_info_score(v, z) for v in data.classes.T] for z in bins.T])
    entropies = np.array([entropy(np.bincount(v)) for v in data.classes.T])
    per_factor = _gaps(information) / entropies
    return MutualInformationGap(
        score=float(per_factor.mean()),
        per_factor=per_factor,
        information=information,
        entropy=entropies,
        n=len(bins),
        n_bins=n_bins,
    )


def dci(
    codes: Numbers,
    factors: Numbers,
    *,
    predictor: Predictor = "forest",
    test_fraction: float = 1 / 3,
    n_bins: int = 20,
    seed: int = 0,
) -> Dci:
    r"""Disentanglement, completeness and informativeness, from predictors of the factors.

    .. math::
        D = \sum_j \rho_j (1 - H_K(P_{j \cdot})), \quad C = \sum_k (1 - H_d(\tilde P_{\cdot k})) / K

    with R the importances of d dimensions for K factors, P its rows and P~ its columns normed to sum 1, H_b the entropy
    with base b, and rho_j the share of dimension j in all importance. Both lie in [0, 1], higher is better. All
    three are biased downwards at small samples: noise spreads importance, and predictors learn less. Figures of
    different predictors cannot be compared. Read them together: where codes know nothing, a lasso may keep a single
    weight, which is perfectly disentangled and informs of nothing.

    Args:
        codes: Posterior means, shape (n, latent).
        factors: Integers (classes), or real numbers, shape (n, factors); trees take real ones in `n_bins` bins.
        predictor: "forest" (random forest of 50 trees with at least 5 rows in a leaf), "boosting" (scikit-learn's
            gradient boosting, as in disentanglement_lib; minutes for factors of many classes) or "lasso" (on
            standardised numbers, the penalty cross-validated; for factors that are ordered).
        test_fraction: Share of rows held out for `informativeness`, in (0, 1).
        n_bins: Bins of a real-valued factor, for the trees.
        seed: Decides the held-out rows and the trees.

    Returns:
        The three figures and the importances.

    Raises:
        InvalidParameterError: If the shapes do not fit, a number is not finite, a factor has a single value, or an
            option is out of range.

    References:
        Eastwood and Williams, 2018, A Framework for the Quantitative Evaluation of Disentangled Representations, ICLR.

    Example:
        >>> factors = np.random.default_rng(0).normal(size=(300, 2))
        >>> result = dci(factors, factors, predictor="lasso")
        >>> result.disentanglement > 0.9, result.informativeness > 0.9
        (True, True)
    """
    from sklearn.model_selection import train_test_split

    check_choice("predictor", predictor, tuple(_PREDICTORS))
    check_real("test_fraction", test_fraction, low=0.0, high=1.0, inclusive=(False, False))
    data = check_codes_and_factors(codes, factors, n_bins=n_bins)
    state = derive_seed(seed, "dci") % 2**32
    fit, held_out = train_test_split(np.arange(len(data.codes)), test_size=test_fraction, random_state=state)
    columns, qualities = zip(
        *(_PREDICTORS[predictor](data, k, fit, held_out, state) for k in range(data.classes.shape[1])), strict=True
    )
    importance = np.stack(columns, axis=1)
    weights = importance.sum(1) / max(importance.sum(), np.finfo(float).tiny)
    return Dci(
        disentanglement=float((weights * _concentration(importance)).sum()),
        completeness=float(_concentration(importance.T).mean()),
        informativeness=float(np.mean(qualities)),
        importance=importance,
        predictor=predictor,
        n_train=len(fit),
        n_test=len(held_out),
    )


def factor_vae_score(
    codes: Numbers,
    factors: Numbers,
    *,
    n_votes: tuple[int, int] = (10_000, 5_000),
    batch_size: int = 64,
    threshold: float = 0.05,
    seed: int = 0,
) -> FactorVaeScore:
    r"""Accuracy of naming the factor that was held fixed from the dimension that then varies least.

    .. math:: d^* = \arg\min_d \frac{Var(z_d | v_k = c)}{Var(z_d)}, \qquad vote (d^*, k)

    A table fitted on votes maps each dimension to its most frequent factor, and is judged on other votes. In [0, 1],
    higher is better; chance is about 1 / factors. The rows of a vote are drawn with replacement from the rows that
    have the value: where few do, variances are too small for every dimension alike and the score is noisy. Rows should
    cover the grid of factors: factors that go together cannot be told apart.

    Args:
        codes: Posterior means, shape (n, latent).
        factors: Integers (classes), shape (n, factors), at least 2 factors.
        n_votes: Votes to fit the table, and votes to judge it.
        batch_size: Rows per vote, at least 2.
        threshold: Dimensions of smaller variance over all rows do not vote; 0.05 as in disentanglement_lib.
        seed: Decides the votes.

    Returns:
        The score beside chance. Where no dimension is active, the score is 0.

    Raises:
        InvalidParameterError: If the shapes do not fit, factors are real numbers or fewer than 2, a number is not
            finite, a factor has a single value, or an option is out of range.

    References:
        Kim and Mnih, 2018, Disentangling by Factorising, arXiv:1802.05983.

    Example:
        >>> factors = np.stack(np.meshgrid(range(5), range(5)), -1).reshape(-1, 2)
        >>> factor_vae_score(factors.astype(float), factors, n_votes=(100, 100)).score
        1.0
    """
    for name, count in zip(("n_votes[0]", "n_votes[1]"), n_votes, strict=True):
        check_integer(name, count, low=1)
    check_integer("batch_size", batch_size, low=2)
    check_real("threshold", threshold, low=0.0)
    data = check_codes_and_factors(codes, factors, n_bins=2)
    n_factors = data.classes.shape[1]
    if data.is_real or n_factors < 2:
        raise InvalidParameterError(
            f"a factor is held fixed at a class: factors must be at least 2 columns of integers; got {n_factors} "
            f"{'of real numbers' if data.is_real else 'columns'}. Bin real factors first."
        )
    spread = data.codes.var(0)
    active = np.flatnonzero(spread > threshold)
    kept = data.codes[:, active] / np.sqrt(spread[active])
    rng = np.random.default_rng(derive_seed(seed, "factor-vae"))
    n = sum(n_votes)
    fixed = rng.integers(n_factors, size=n)
    if not len(active):
        table = np.zeros((1, n_factors), dtype=np.int64)
        score, chance = 0.0, _chance(fixed[n_votes[0] :])
    else:
        winners = _least_varying(kept, data.classes, fixed, batch_size, rng)
        table = np.zeros((len(active), n_factors), dtype=np.int64)
        np.add.at(table, (winners[: n_votes[0]], fixed[: n_votes[0]]), 1)
        judged = fixed[n_votes[0] :]
        score, chance = float((table.argmax(1)[winners[n_votes[0] :]] == judged).mean()), _chance(judged)
    return FactorVaeScore(
        score=score,
        chance=chance,
        n_active=len(active),
        n_votes=(n_votes[0], n_votes[1]),
        batch_size=batch_size,
        n=len(data.codes),
    )


def sap_score(
    codes: Numbers, factors: Numbers, *, test_fraction: float = 1 / 3, threshold: float = 1e-12, seed: int = 0
) -> SapScore:
    r"""Gap between the two dimensions that predict a factor best by a line, SAP.

    .. math:: \frac{1}{K} \sum_k (S_{(1) k} - S_{(2) k})

    with S_jk the squared correlation for real-valued factors, and the accuracy on held-out rows of a linear
    classifier (one against the rest, classes weighted equally) for classes. In [0, 1], higher is better. Classes in an
    order (positions, sizes) are predicted badly by lines one against the rest: give them as real numbers. A squared
    correlation is biased upwards by about 1 / n; an accuracy is noisy where classes have few rows.

    Args:
        codes: Posterior means, shape (n, latent), at least 2 dimensions.
        factors: Integers (classes) or real numbers, shape (n, factors).
        test_fraction: Share of rows held out for the accuracies, in (0, 1).
        threshold: Dimensions of a variance up to this predict nothing.
        seed: Decides the held-out rows.

    Returns:
        The score and what it is the mean of.

    Raises:
        InvalidParameterError: If the shapes do not fit, a number is not finite, a factor has a single value, or an
            option is out of range.

    References:
        Kumar et al., 2018, Variational Inference of Disentangled Latent Concepts, arXiv:1711.00848.

    Example:
        >>> factors = np.stack(np.meshgrid(range(5), range(5)), -1).reshape(-1, 2).astype(float)
        >>> round(sap_score(factors, factors).score, 6)
        1.0
    """
    check_real("test_fraction", test_fraction, low=0.0, high=1.0, inclusive=(False, False))
    check_real("threshold", threshold, low=0.0)
    data = check_codes_and_factors(codes, factors, n_bins=2, least_codes=2)
    is_active = data.codes.var(0) > threshold
    predictability = np.zeros((data.codes.shape[1], data.values.shape[1]))
    if data.is_real:
        z, v = _standardised(data.codes), _standardised(data.values)
        predictability[is_active] = np.square(z.T @ v / len(z))[is_active]
    else:
        z = _standardised(data.codes)
        for j in np.flatnonzero(is_active):
            for k in range(predictability.shape[1]):
                predictability[j, k] = _line_accuracy(z[:, j], data.classes[:, k], test_fraction, seed)
    per_factor = _gaps(predictability)
    return SapScore(
        score=float(per_factor.mean()),
        per_factor=per_factor,
        predictability=predictability,
        predictor="linear regression" if data.is_real else "linear classifier",
        n=len(data.codes),
    )


def _gaps(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest minus second-largest entry of each column."""
    second, first = np.sort(scores, axis=0)[-2:]
    result: NDArray[np.float64] = first - second
    return result


def _concentration(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """One minus the entropy of each row, normed to sum 1, relative to the uniform row; 0 for rows of zeros."""
    from scipy.stats import entropy

    if rows.shape[1] == 1:
        return np.ones(len(rows))
    uniform = np.full(rows.shape[1], 1.0)
    normed = np.where(rows.sum(1, keepdims=True) > 0, rows, uniform)
    result: NDArray[np.float64] = 1.0 - entropy(normed, axis=1, base=rows.shape[1])
    return result


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std(0)
    result: NDArray[np.float64] = (values - values.mean(0)) / np.where(spread > 0, spread, 1.0)
    return result


def _line_accuracy(z: NDArray[np.float64], classes: NDArray[np.int64], test_fraction: float, seed: int) -> float:
    from sklearn.model_selection import train_test_split
    from sklearn.svm import LinearSVC

    state = derive_seed(seed, "sap") % 2**32
    fit, held_out = train_test_split(np.arange(len(z)), test_size=test_fraction, random_state=state)
    if len(np.unique(classes[fit])) < 2:
        return float((classes[held_out] == classes[fit][0]).mean())
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
    return float(machine.fit(z[fit, None], classes[fit]).score(z[held_out, None], classes[held_out]))


def _least_varying(
    codes: NDArray[np.float64],
    classes: NDArray[np.int64],
    fixed: NDArray[np.int64],
    batch_size: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Dimension of least variance in each vote, among rows that agree with a random row in the fixed factor."""
    orders = np.argsort(classes, axis=0, kind="stable")
    chosen = rng.integers(len(codes), size=len(fixed))
    winners = np.empty(len(fixed), dtype=np.int64)
    step = max(1, _GATHERED // (batch_size * codes.shape[1]))
    for k in range(classes.shape[1]):
        sorted_classes = classes[orders[:, k], k]
        votes = np.flatnonzero(fixed == k)
        for part in np.split(votes, range(step, len(votes), step)):
            value = classes[chosen[part], k]
            first, last = (np.searchsorted(sorted_classes, value, side) for side in ("left", "right"))
            places = first[:, None] + (rng.random((len(part), batch_size)) * (last - first)[:, None]).astype(np.int64)
            winners[part] = codes[orders[places, k]].var(1).argmin(1)
    return winners


def _chance(votes: NDArray[np.int64]) -> float:
    return float(np.bincount(votes).max() / len(votes))


_Judged = tuple[NDArray[np.float64], float]


def _trees(machine: Any, data: CodesAndFactors, k: int, fit: NDArray[np.int64], held_out: NDArray[np.int64]) -> _Judged:
    classes = data.classes[:, k]
    if len(np.unique(classes[fit])) < 2:
        # nothing to learn: no dimension matters, and the one class is the prediction
        return np.zeros(data.codes.shape[1]), float((classes[held_out] == classes[fit][0]).mean())
    machine.fit(data.codes[fit], classes[fit])
    return machine.feature_importances_, float(machine.score(data.codes[held_out], classes[held_out]))


def _forest(data: CodesAndFactors, k: int, fit: NDArray[np.int64], held_out: NDArray[np.int64], state: int) -> _Judged:
    from sklearn.ensemble import RandomForestClassifier

    return _trees(
        RandomForestClassifier(50, max_features=None, min_samples_leaf=5, random_state=state), data, k, fit, held_out
    )


def _boosting(
    data: CodesAndFactors, k: int, fit: NDArray[np.int64], held_out: NDArray[np.int64], state: int
) -> _Judged:
    from sklearn.ensemble import GradientBoostingClassifier

    return _trees(GradientBoostingClassifier(random_state=state), data, k, fit, held_out)


def _lasso(data: CodesAndFactors, k: int, fit: NDArray[np.int64], held_out: NDArray[np.int64], state: int) -> _Judged:
    from sklearn.linear_model import LassoCV

    z, v = _standardised(data.codes), _standardised(data.values)[:, k]
    machine = LassoCV(cv=5, random_state=state).fit(z[fit], v[fit])
    weights = np.abs(machine.coef_)
    return weights / max(weights.sum(), np.finfo(float).tiny), float(machine.score(z[held_out], v[held_out]))


_PREDICTORS = {"forest": _forest, "boosting": _boosting, "lasso": _lasso}
