"""Anomaly detection: one detector for rows, tables, images and texts, behind scikit-learn's interface."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.parameters import check_real
from latentkit.core.seeds import derive_seed, generator
from latentkit.data import Dataset, learn_table_schema
from latentkit.data.table.columns import markers_of
from latentkit.estimators.detector_model import DetectorModel, fit_inside, learn_rows, number_schema
from latentkit.estimators.detector_rows import DetectorRows
from latentkit.estimators.detector_runs import DETECTOR, load_detector, save_detector
from latentkit.estimators.explanations import AnomalyExplanation, Change, explain_texts, name_changes
from latentkit.estimators.inputs import DataIntake, odd_labels
from latentkit.estimators.parameters import validate
from latentkit.estimators.randomness import draw_seed, python_random_kept
from latentkit.estimators.runs import loaders
from latentkit.estimators.vectors import VectorTasks
from latentkit.evaluation import DetectionQuality, Drift, detection_quality, measure_drift
from latentkit.tasks.detection import (
    PARTS,
    Calibration,
    OddnessScore,
    auto_cut,
    benjamini_hochberg,
    best_cut,
    check_parts,
    conformal_calibration,
    conformal_p_values,
    fit_ensemble,
    rate_cut,
    verdict_confidence,
)
from latentkit.training.progress import make_reporter

__all__ = ["AnomalyDetector"]

Floats = NDArray[np.float64]

#: Rows from which on some are held out of training to calibrate by, and how many at most.
_ENOUGH: int = 1000
_MOST_HELD_OUT: int = 2000
_MOST_JUDGED: int = 20_000  # rows of training that a cut is taken from
_MOST_HELD_SHARE: float = 0.3


@final
@dataclass(kw_only=True, eq=False, repr=False)
class AnomalyDetector(DataIntake, OutlierMixin, BaseEstimator):  # type: ignore[misc]
    r"""Finds rows that are not like the others, says how odd they are, and why.

    The score of a row is in nats: about the negative log-probability that a normal row is as odd
    (:class:`~latentkit.tasks.detection.OddnessScore`). It is put together from parts, which look at a row through a
    model that has learnt the data. Without an `estimator` that is an ensemble of small variational autoencoders,
    trained in one batched pass, and of images and texts a :class:`VAE`.

    ====================  ==========================================================================
    part                  what it looks at
    ====================  ==========================================================================
    ``exemplars``         density of the code among those of training rows (aggregated posterior)
    ``residuals``         what the reconstruction leaves over, heavy-tailed
    ``histograms``        how rare each number is on its own
    ``nearest``           distance to the nearest row of training
    ``neighbors``         mean distance to five of them
    ``wide_neighbors``    mean distance to the nearest tenth
    ``latent_neighbors``  mean distance to five, in codes and residuals together
    ``reconstruction``    -log p(x given z) of the posterior mean
    ``elbo``              the same with the divergence of the code
    ``log_likelihood``    -log p(x), importance-sampled
    ``exemplar_elbo``     ``reconstruction`` with the aggregated posterior for a prior
    ``surprise``          how improbable a text is for its length, beside the frequencies of its tokens
    ``stretch``           the same of the oddest three tokens behind each other
    ====================  ==========================================================================

    **Novelty and outliers.** A row is never compared with itself: of rows of training that are equal to it one is left
    out. So rows of training are judged as new rows are, ``fit_predict`` and ``fit().predict`` agree, and the same
    detector serves both; it is `regime` that says whether the rows of training are clean. Scores depend on a row's
    content alone: not on its batch or order.

    Args:
        estimator: The model inside: ``"auto"``, or an estimator with an encoder whose codes are vectors (VAE,
            autoencoder family, HierarchicalVAE, VAEGAN), of which a copy is fitted. Inside
            ``sklearn.frozen.FrozenEstimator`` a fitted one is taken as it is.
        contamination: Share of odd rows that is flagged among those of fit, above 0, at most 0.5; ``"auto"`` sets the
            cut where the tail of the scores leaves one normal row in a hundred.
        regime: ``"clean"``: all rows of fit are normal, and near rows decide. ``"contaminated"``: some are odd; wide
            neighbourhoods, margins and residuals do. ``"auto"`` takes ``"contaminated"`` where a contamination is
            given, ``"clean"`` where a false-alarm rate is, and parts that suit both otherwise.
        parts: Names of the parts; ``"auto"`` goes by the regime; of texts ``surprise``, ``stretch``, ``neighbors``.
        false_alarm_rate: Probability, at most, of flagging a normal row, guaranteed by rows that are held out
            (conformal prediction); needs clean data, and not `contamination`.
        calibration_fraction: Share of the rows that is held out to calibrate by. ``"auto"``: a tenth of 1,000 rows or
            more, and as many as `false_alarm_rate` needs.
        trim: Share of each batch that training leaves out as those rows that it explains worst, in [0, 0.5]; for
            contaminated data, with ``estimator="auto"``.
        kinds: Kinds of columns of a table, as for :class:`VAE`; with ``estimator="auto"``.
        na_values: What stands for a missing cell in a table besides NaN and None; likewise.
        random_state: Seed; None draws one.
        verbose: 0 is silent, 1 shows progress.

    Attributes:
        calibration_: Where the cut is, and how it was come by.
        regime_: ``"clean"``, ``"contaminated"`` or ``"mixed"``.
        parts_: Names of the parts.
        reference_: Scores in nats of the rows that p-values refer to, ascending.
        is_held_out_: Whether those rows were held out of training, which makes p-values exact.
        estimator_: The fitted model inside; None where it is the ensemble.
        n_features_in_: Numbers per row.

    References:
        Norouzi et al., 2020, Exemplar VAE, arXiv:2004.04795. An and Cho, 2015, Variational Autoencoder based Anomaly
        Detection using Reconstruction Probability. Bates et al., 2023, arXiv:2104.08279 (p-values).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = np.r_[rng.normal(size=(200, 3)), [[6.0, 0.0, 0.0]]]
        >>> detector = AnomalyDetector(random_state=0).fit(X)
        >>> int(detector.score_samples(X).argmin()), int(detector.predict(X[-1:])[0])
        (200, -1)
        >>> detector.explain(X[-1:]).top(1)
        [['0']]
    """

    estimator: Any = field(default="auto", kw_only=False)
    contamination: float | Literal["auto"] = "auto"
    regime: Literal["auto", "clean", "contaminated"] = "auto"
    parts: Sequence[str] | Literal["auto"] = "auto"
    false_alarm_rate: float | None = None
    calibration_fraction: float | Literal["auto"] = "auto"
    trim: float = 0.0
    kinds: Mapping[Any, Any] | None = None
    na_values: Any = None
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    _takes_tables: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": "no_validation",  # type: ignore[dict-item]
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "regime": [StrOptions({"auto", "clean", "contaminated"})],
        "parts": [StrOptions({"auto"}), list, tuple],
        "false_alarm_rate": [None, Interval(Real, 0, 1, closed="neither")],
        "calibration_fraction": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "trim": [Interval(Real, 0, 0.5, closed="both")],
        "kinds": [dict, None],
        "na_values": "no_validation",  # type: ignore[dict-item]
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Fit

    @python_random_kept()
    def fit(self, X: Any, y: Any = None, *, held_out: Sequence[int] | None = None) -> Self:
        """Learn what normal rows are like, and where to cut.

        Args:
            X: Rows (n, features), a data frame or table of mixed kinds, images, texts, or a path. Missing cells are
                allowed where the model inside allows them; the ensemble does.
            y: Ignored; labels are for :meth:`calibrate` and :meth:`evaluate`.
            held_out: Numbers of the rows to calibrate by, for a frozen model that has learnt from all the others; None
                draws them.
        Raises:
            InvalidParameterError: If a parameter has a value that it cannot have, or two of them contradict each other.
            DataError: If the data cannot be used, or are too few for the false-alarm rate.
        """
        validate(self)
        self._check_together()
        self.regime_ = self._regime()
        if self.parts != "auto":
            check_parts(self.parts)
        self.seed_ = draw_seed(self.random_state)
        dataset = self._take(X, None, reset=True)
        train, judging = self._split(dataset.n, held_out)
        shown, values = self._learn(dataset, train)
        self.n_features_in_ = len(self.model_.rows.columns)
        self.parts_ = self._parts()
        self.score_ = OddnessScore(self.model_.witness, self.parts_, batch_size=self.model_.batch_size)
        reference = shown[judging] if len(judging) else None
        self.score_.learn(shown[train], reference=reference, seed=derive_seed(self.seed_, "score"))
        self._keep_reference(shown, values, train, judging)
        return self

    def _check_together(self) -> None:
        if self.false_alarm_rate is not None and self.contamination != "auto":
            raise InvalidParameterError(
                f"contamination={self.contamination!r} and false_alarm_rate={self.false_alarm_rate!r} both say where "
                "to cut. Give one of them."
            )
        if self.false_alarm_rate is not None and self.regime == "contaminated":
            raise InvalidParameterError(
                "false_alarm_rate= is guaranteed by held-out rows that are normal, and regime='contaminated' says that "
                "some are not. Use contamination=, or calibrate() on clean rows."
            )
        if self.estimator == "auto":
            return
        for name in ("trim", "kinds", "na_values"):
            if getattr(self, name) not in (0.0, None):
                raise InvalidParameterError(
                    f"{name}={getattr(self, name)!r} is for estimator='auto'; say it to the estimator that is given."
                )

    def _regime(self) -> str:
        if self.regime != "auto":
            return self.regime
        if self.false_alarm_rate is not None:
            return "clean"
        return "mixed" if self.contamination == "auto" else "contaminated"

    def _parts(self) -> tuple[str, ...]:
        if self.parts != "auto":
            return tuple(self.parts)
        if self.schema_.kind == "text":
            return PARTS["texts"]
        suited = f"{self.regime_}, with categories"
        return PARTS[suited if any(self.model_.rows.cardinalities) and suited in PARTS else self.regime_]

    def _table_options(self) -> dict[str, Any]:
        options = {"kinds": self.kinds, "na_values": markers_of(self.na_values) or None}
        return {name: value for name, value in options.items() if value is not None}

    def _split(self, n: int, held_out: Sequence[int] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows to learn from, and rows to calibrate by."""
        if held_out is not None:
            judging = np.unique(np.asarray(held_out, np.int64))
            if len(judging) and not 0 <= judging[0] <= judging[-1] < n:
                raise InvalidParameterError(f"held_out must be numbers of rows from 0 to {n - 1}.")
            return self._two_or_more(np.setdiff1d(np.arange(n), judging), judging)
        if self.calibration_fraction != "auto":
            n_held = round(float(self.calibration_fraction) * n)
        else:
            n_held = min(_MOST_HELD_OUT, n // 10) if n >= _ENOUGH else 0
            if self.false_alarm_rate is not None:
                n_held = max(n_held, min(int(np.ceil(1.0 / self.false_alarm_rate)), int(_MOST_HELD_SHARE * n)))
        order = torch.randperm(n, generator=generator(self.seed_, "calibration")).numpy()
        return self._two_or_more(np.sort(order[n_held:]), np.sort(order[:n_held]))

    def _two_or_more(
        self, train: NDArray[np.int64], judging: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if len(train) < 2:
            raise InvalidParameterError(
                f"calibration_fraction={self.calibration_fraction!r} of {len(train) + len(judging)} rows leaves "
                f"{len(train)} to learn from; at least 2 are needed. Use a smaller fraction, or 0 for none."
            )
        return train, judging

    def _learn(self, dataset: Dataset, train: NDArray[np.int64]) -> tuple[Tensor, Floats]:
        """Learn how rows become numbers, and the model; return what it is shown of all rows, and their values."""
        stretch = self.regime_ == "clean"
        if isinstance(self.estimator, str) and self.estimator == "auto" and dataset.kind not in ("images", "text"):
            is_table = dataset.kind == "table"
            schema = learn_table_schema(dataset, **self._table_options()) if is_table else number_schema(dataset)
            values = DetectorRows(schema, None).values(dataset.data)
            rows = learn_rows(schema, values, train, stretch=stretch)
            shown = rows.shown(dataset.data, values)
            ensemble = fit_ensemble(
                shown[train],
                seed=derive_seed(self.seed_, "ensemble"),
                trim=float(self.trim),
                reporter=make_reporter(self.verbose),
            )
            self.model_ = DetectorModel(rows, ensemble=ensemble)
        else:
            inside = fit_inside(self.estimator, dataset, train, seed=self.seed_, verbose=self.verbose)
            rows = DetectorRows(inside.schema_, None)
            values = rows.values(dataset.data)
            if inside.schema_.kind == "table":
                scale = learn_rows(inside.schema_, values, train, stretch=stretch).scale
                rows = DetectorRows(inside.schema_, scale, is_coded=True)
            shown = rows.shown(dataset.data, values)
            self.model_ = DetectorModel(rows, estimator=inside).with_units(shown[train])
        self.schema_ = self.model_.rows.schema
        self.estimator_: VectorTasks | None = self.model_.estimator
        return shown, values

    def _shown(self, X: Any) -> tuple[Tensor, Floats]:
        """What the model is shown of rows, and their values."""
        check_is_fitted(self)
        rows, data = self.model_.rows, self._unwrapped(X)
        values = rows.values(data)
        return rows.shown(data, values), values

    def _keep_reference(
        self, shown: Tensor, values: Floats, train: NDArray[np.int64], held_out: NDArray[np.int64]
    ) -> None:
        """Keep the scores that cuts and p-values refer to, and the rows that drift and explanations do."""
        self.is_held_out_ = bool(len(held_out))
        judged = train[torch.randperm(len(train), generator=generator(self.seed_, "judged"))[:_MOST_JUDGED].numpy()]
        is_clean = self.regime_ == "clean"
        # of rows of training only where something is asked of them: the tail and the guarantee ask held-out rows
        by_rate = self.contamination != "auto"
        needs_training = not self.is_held_out_ or by_rate or not is_clean
        scores = self.score_(shown[np.sort(judged)]) if needs_training else np.empty(0)
        self.reference_ = np.sort(self.score_(shown[held_out]) if self.is_held_out_ else scores)
        self.pool_values_ = values[train[self.score_.pool_places]] if len(values) else values
        n = len(self.reference_)
        if by_rate:
            everything = self.score_(shown) if self.is_held_out_ and len(shown) <= _MOST_JUDGED else scores
            rule = f"{self.contamination:g} of the rows of fit"
            cut = rate_cut(everything, float(self.contamination))
            self.calibration_ = Calibration(rule=rule, cut=cut, n_rows=n)
        elif self.false_alarm_rate is not None:
            self.calibration_ = conformal_calibration(self.reference_, float(self.false_alarm_rate))
        else:
            rule = "tail of the scores: about one normal row in a hundred"
            # quantiles from the middle of the scores need many of them; an upper tail needs rows that are new
            cut = auto_cut(self.reference_ if is_clean else scores, is_clean=is_clean)
            self.calibration_ = Calibration(rule=rule, cut=cut, n_rows=n)

    # Scores

    @property
    def offset_(self) -> float:
        """Negative cut: rows with a lower :meth:`score_samples` are odd."""
        return -self.calibration_.cut

    def score_samples(self, X: Any) -> Floats:
        """Return how normal rows are: the negative of their score in nats, shape (n,). Lower is odder.

        Args:
            X: Data like those of fit.
        Raises:
            SchemaMismatchError: If the columns or shape are not those of fit.
        """
        return -self._oddness(X)

    def decision_function(self, X: Any) -> Floats:
        """Return :meth:`score_samples` less ``offset_``, nats, shape (n,); negative for odd rows."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return -1 for odd rows and 1 for others, shape (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def score_parts(self, X: Any) -> dict[str, Floats]:
        """Return the parts of the score on their common scale, by name, shape (n,); higher is odder.

        The score is their mean, in other units.
        """
        check_is_fitted(self)
        return self.score_.values(self.model_.rows.shown(self._unwrapped(X)))

    def p_values(self, X: Any) -> Floats:
        r"""Return how often a normal row would be as odd, shape (n,).

        .. math:: p = \frac{1 + \#\{i : s_i \ge s\}}{n + 1}

        with the scores of n rows that were held out of training; then :math:`P(p \le \alpha) \le \alpha` for normal
        rows, if these were. Without such rows (``is_held_out_`` is False) those of training stand in, and the guarantee
        is not strict.
        """
        return conformal_p_values(self._oddness(X), self.reference_)

    def discover(self, X: Any, *, false_discovery_rate: float = 0.1) -> NDArray[np.bool_]:
        """Return which rows of a batch to call odd, so that at most this share of them is normal, on average.

        Args:
            X: Data like those of fit; the more rows, the more are compared at once.
            false_discovery_rate: Between 0 and 1.
        References:
            Benjamini and Hochberg, 1995, Controlling the False Discovery Rate.
        """
        return benjamini_hochberg(self.p_values(X), false_discovery_rate)

    def probability(self, X: Any) -> Floats:
        """Return the share of normal rows that are less odd, shape (n,): 1 less the p-value."""
        return 1.0 - self.p_values(X)

    def confidence(self, X: Any) -> Floats:
        """Return how sure the verdict on each row is, in [0, 1], shape (n,).

        How often it would be the same with another sample of reference rows
        (:func:`~latentkit.tasks.detection.verdict_confidence`).
        """
        return verdict_confidence(self._oddness(X), -self.offset_, self.calibration_.n_rows)

    # Explain

    def explain(self, X: Any) -> AnomalyExplanation:
        """Return what makes rows odd, column by column, and what would have to change.

        Args:
            X: Data like those of fit, new rows or rows of training.
        Returns:
            Contributions of the columns (of pixels, for images, and tokens, for texts) in nats that add up to the
            score; for each row a similar row of training that is normal, and the fewest of its cells, in the order of
            the contributions, that would make the row normal. Of texts the tokens, how probable each is, and what would
            have been more probable.
        """
        shown, values = self._shown(X)
        found = self.score_.explain(shown)
        if self.schema_.kind == "text":
            assert self.estimator_ is not None, "texts have a model"
            return explain_texts(self.estimator_, shown, found, -self.offset_, self._counterparts(found.counterparts))
        is_image = self.schema_.kind == "images"
        changes: tuple[tuple[Change, ...], ...] = ()
        if not is_image:
            changed = self.score_.fewest_changes(shown, found, -self.offset_)
            changes = name_changes(self.model_.rows, values, self.pool_values_[found.counterparts], changed)
        shape = self.schema_.user_shape if is_image else (len(self.model_.rows.columns),)
        contributions = found.contributions
        if is_image:
            event = torch.from_numpy(contributions).reshape(-1, *self.schema_.event_shape)
            contributions = np.ascontiguousarray(self.schema_.layout.from_event(event.numpy()))
        return AnomalyExplanation(
            columns=self.model_.rows.columns,
            contributions=contributions.reshape(len(contributions), *shape),
            baseline=found.baseline,
            scores=found.scores,
            threshold=-self.offset_,
            counterparts=self._counterparts(found.counterparts),
            changes=changes,
        )

    def _counterparts(self, places: NDArray[np.int64]) -> Any:
        """The rows of training that are nearest, as values, images or texts."""
        if self.schema_.kind == "text":
            return self.schema_.decode(self.score_.pool[places])
        if self.schema_.kind != "images":
            return self.pool_values_[places]
        event = self.score_.pool[places].reshape(-1, *self.schema_.event_shape)
        return self.schema_.decode(event)

    # Calibrate, judge, watch

    def calibrate(self, X: Any, y: Any = None, *, false_alarm_rate: float | None = None) -> Self:
        """Set the cut anew, by rows that were not trained on.

        Args:
            X: Without labels: normal rows, by which :meth:`p_values` and the cut are guaranteed from here on.
            y: Labels of X, one for each row: odd is -1, True or 1 with 0 for normal (or 1 with -1 for odd, as
                :meth:`predict` says it). The cut then has the best F1 score on one half of the rows, and
                ``calibration_.f1`` is that on the other half.
            false_alarm_rate: Without labels: probability, at most, of flagging a normal row; None takes the tail's one
                in a hundred.
        Raises:
            DataError: If there are too few rows, or labels of one kind only.
            InvalidParameterError: If labels and a rate are given.
        """
        scores = self._oddness(X)
        if y is None:
            if false_alarm_rate is None:
                rule = "tail of the scores of rows given to calibrate"
                calibration = Calibration(rule=rule, cut=auto_cut(scores, is_clean=True), n_rows=len(scores))
            else:
                calibration = conformal_calibration(scores, check_real("false_alarm_rate", false_alarm_rate))
            self.reference_, self.is_held_out_, self.calibration_ = np.sort(scores), True, calibration
            return self
        if false_alarm_rate is not None:
            raise InvalidParameterError("with labels the cut is that of the best F1 score; leave false_alarm_rate out.")
        odd = odd_labels(y, len(scores))
        order = torch.randperm(len(scores), generator=generator(self.seed_, "labels")).numpy()
        chosen, judged = order[::2], order[1::2]
        cut = best_cut(scores[chosen], odd[chosen])
        flagged = scores[judged] > cut
        hits = float((flagged & odd[judged]).sum())
        f1 = 2.0 * hits / max(1.0, float(flagged.sum() + odd[judged].sum()))
        rule = "best F1 score on half of the labelled rows"
        self.calibration_ = Calibration(rule=rule, cut=cut, n_rows=len(chosen), f1=f1)
        return self

    def evaluate(self, X: Any, y: Any) -> DetectionQuality:
        """Return how well the scores rank odd rows first, by labels.

        Args:
            X: Data like those of fit.
            y: As for :meth:`calibrate`.
        """
        scores = self._oddness(X)
        return detection_quality(odd_labels(y, len(scores)), scores)

    def drift(self, X: Any, *, false_alarm_rate: float = 0.05) -> Drift:
        """Test whether a batch of rows still comes from where those of fit came from, column by column and as a whole.

        Args:
            X: Data like those of fit, 2 rows or more.
            false_alarm_rate: Probability, at most, of finding drift where there is none.
        Returns:
            See :func:`~latentkit.evaluation.measure_drift`; scores take part, so that columns are seen that no longer
            go together.
        Raises:
            UnsupportedOperationError: For images and texts, which have no columns; test their scores.
        """
        check_is_fitted(self)
        if self.schema_.kind in ("images", "text"):
            what = "images" if self.schema_.kind == "images" else "texts"
            raise UnsupportedOperationError(f"drift is tested by columns, and these data are {what}.")
        shown, values = self._shown(X)
        scores = (self.score_.pool_scores, self.score_(shown))
        return measure_drift(
            self.model_.rows.mixed(self.pool_values_),
            self.model_.rows.mixed(values),
            false_alarm_rate=false_alarm_rate,
            scores=scores,
        )

    # Keep

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a folder from which :func:`latentkit.load` gives this detector back; no pickle is in it.

        It holds up to 5,000 rows of training, with which others are compared.
        """
        check_is_fitted(self)
        return save_detector(self, Path(path))

    def _oddness(self, X: Any) -> Floats:
        check_is_fitted(self)
        scores: Floats = self.score_(self.model_.rows.shown(self._unwrapped(X)))
        return scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.estimator == "auto"
        tags.non_deterministic = False
        return tags


@loaders.register(DETECTOR)
def _load(folder: Path) -> Any:
    return load_detector(folder, AnomalyDetector)
