"""Is a synthetic table as good to learn from as the real one?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import derive_seed
from latentkit.evaluation.mixed_table import MixedTable, check_tables
from latentkit.evaluation.table_learners import table_learners
from latentkit.evaluation.two_sample import area_under_curve

__all__ = ["LearnerScore", "train_synthetic_test_real"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerScore:
    """How well a learner predicts real rows, trained on synthetic and on real ones.

    Attributes:
        learner: Name among `table_learners`.
        target: Column that is predicted.
        measure: "AUC" (mean of one-against-rest over the classes), "R2" or "RMSE" (in units of the target).
        synthetic: Trained on synthetic rows.
        real: Trained on real rows: the ceiling.
        n_train: Real rows of training.
        n_synthetic: Synthetic rows of training.
        n_test: Real rows that are predicted.
    """

    learner: str
    target: str
    measure: str
    synthetic: float
    real: float
    n_train: int
    n_synthetic: int
    n_test: int

    @property
    def computed_with(self) -> str:
        """What the figures rest on."""
        return (
            f"{self.learner} learner of {self.target!r}, {self.n_synthetic:,} synthetic or {self.n_train:,} real rows "
            f"to train, {self.n_test:,} real rows to test"
        )


def train_synthetic_test_real(
    train: MixedTable,
    synthetic: MixedTable,
    test: MixedTable,
    *,
    target: str,
    learners: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[LearnerScore, ...]:
    """Train learners on synthetic rows and on real ones, and test both on other real rows.

    Args:
        train: Real rows, those of the model's training.
        synthetic: A table with the same columns.
        test: Real rows that neither the model nor a learner has seen.
        target: Column to predict from all others: classes are judged by the area under the ROC curve, each class
            against the rest and averaged, numbers by R2 and the root mean squared error. Rows in which it is missing
            are left out.
        learners: Names of `table_learners`; all of them by default. Their settings are fixed, not tuned.
        seed: Of the learners.

    Returns:
        One score per learner for classes, two for numbers. A class that the synthetic rows lack is guessed: 0.5.

    Raises:
        InvalidParameterError: If the columns differ, a table has too few rows in which the target is known, the test
            rows hold one class only, or a name is unknown.

    References:
        Esteban et al., 2017, Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs,
        arXiv:1706.02633, section 4 (train on synthetic, test on real).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> def rows(n):
        ...     x = rng.normal(size=n)
        ...     return MixedTable(values=np.c_[x, x > 0], is_categorical=[False, True], names=["x", "y"])
        >>> (score,) = train_synthetic_test_real(rows(90), rows(90), rows(90), target="y", learners=["linear"])
        >>> score.measure, score.synthetic, score.real
        ('AUC', 1.0, 1.0)
    """
    check_tables(train=train, synthetic=synthetic, test=test)
    wanted = [(name, table_learners[name]) for name in (table_learners if learners is None else learners)]
    place = train.place(target)
    is_target = np.arange(len(train.names)) == place
    if is_target.all():
        raise InvalidParameterError(f"there is no column beside {target!r} to predict it from.")
    classify = bool(train.is_categorical[place])
    sets: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for name, table in (("train", train), ("synthetic", synthetic), ("test", test)):
        known = table.values[~np.isnan(table.values[:, place])]
        if len(known) < 2:
            raise InvalidParameterError(f"{name} must have at least 2 rows in which {target!r} is not missing.")
        sets[name] = known[:, ~is_target], known[:, place]
    if classify and len(np.unique(sets["test"][1])) < 2:
        raise InvalidParameterError(f"the test rows must hold at least 2 classes of {target!r}; got one.")
    n_classes = len(np.unique(sets["train"][1])) if classify else 0
    state = derive_seed(seed, "table-learners") % 2**32
    kinds = train.is_categorical[~is_target]
    result = []
    for name, learner in wanted:
        measured = [
            _class_scores(learner(kinds, n_classes, state), *sets[source], *sets["test"])
            if classify
            else _number_scores(learner(kinds, n_classes, state), *sets[source], *sets["test"])
            for source in ("synthetic", "train")
        ]
        result += [
            LearnerScore(
                learner=name,
                target=target,
                measure=measure,
                synthetic=measured[0][measure],
                real=measured[1][measure],
                n_train=len(sets["train"][0]),
                n_synthetic=len(sets["synthetic"][0]),
                n_test=len(sets["test"][0]),
            )
            for measure in measured[0]
        ]
    return tuple(result)


def _class_scores(
    learner: Any, x: NDArray[Any], y: NDArray[Any], x_test: NDArray[Any], y_test: NDArray[Any]
) -> dict[str, float]:
    classes = np.unique(y_test)
    scores = np.zeros((len(x_test), len(classes)))
    known = np.unique(y)
    if len(known) > 1:
        probabilities = learner.fit(x, y).predict_proba(x_test)
        _, ours, theirs = np.intersect1d(classes, known, return_indices=True)
        scores[:, ours] = probabilities[:, theirs]
    areas = [
        area_under_curve(column[y_test == label], column[y_test != label])[0]
        for label, column in zip(classes, scores.T, strict=True)
    ]
    return {"AUC": float(np.mean(areas))}


def _number_scores(
    learner: Any, x: NDArray[Any], y: NDArray[Any], x_test: NDArray[Any], y_test: NDArray[Any]
) -> dict[str, float]:
    error = float(np.mean((learner.fit(x, y).predict(x_test) - y_test) ** 2))
    spread = float(y_test.var())
    return {"R2": 1.0 - error / spread if spread else float("nan"), "RMSE": error**0.5}
