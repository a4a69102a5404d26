"""The detector under PyOD's names and signs, for code that was written for PyOD."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from latentkit.core.errors import InvalidParameterError
from latentkit.core.files import sha256
from latentkit.core.version import __version__
from latentkit.estimators.describing import RUN_FORMAT
from latentkit.estimators.detector import AnomalyDetector
from latentkit.estimators.parameters import validate
from latentkit.estimators.runs import (
    CONFIG,
    WEIGHTS,
    check_content,
    check_place,
    damaged_config,
    load,
    loaders,
    read_config,
    staged,
    write_config,
    write_tensors,
)
from latentkit.tasks.detection import repeated_confidence

__all__ = ["PyodAdapter"]

Floats = NDArray[np.float64]
Flags = NDArray[np.int64]

#: What ``config.yaml`` calls an adapter, and the folder of the detector in its own.
ADAPTER = "pyod_adapter"
_DETECTOR = "detector"
_DEFAULT_CONTAMINATION = 0.1  # PyOD's own


@final
@dataclass(eq=False, repr=False)
class PyodAdapter(BaseEstimator):  # type: ignore[misc]
    r"""An :class:`AnomalyDetector` that answers as a detector of PyOD does.

    Odd rows have *higher* scores and the label 1, others 0. All of it is the detector's: scores are its own in nats,
    and the threshold is its cut. PyOD itself is not needed.

    Args:
        detector: The detector to fit, a copy of it; None takes one with its defaults. PyOD's ``contamination=0.1`` is
            said to it: ``PyodAdapter(AnomalyDetector(contamination=0.1))``.

    Attributes:
        detector_: The fitted detector, for all that PyOD has no name for, such as explanations.
        decision_scores_: Scores of the rows of fit, nats, shape (n,).
        threshold_: Score above which a row is odd.
        labels_: 1 for the odd rows of fit, 0 for others, shape (n,).
        n_features_in_: Numbers per row.

    References:
        Zhao et al., 2019, PyOD: A Python Toolbox for Scalable Outlier Detection.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = np.r_[rng.normal(size=(200, 3)), [[6.0, 0.0, 0.0]]]
        >>> adapter = PyodAdapter(AnomalyDetector(contamination=0.01, random_state=0)).fit(X)
        >>> int(adapter.decision_scores_.argmax()), int(adapter.labels_[-1]), int(adapter.labels_.sum())
        (200, 1, 2)
    """

    detector: AnomalyDetector | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"detector": [AnomalyDetector, None]}

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn what normal rows are like, and judge the rows themselves.

        Args:
            X: As for :meth:`AnomalyDetector.fit`.
            y: Ignored.
        Raises:
            InvalidParameterError: If a parameter has a value that it cannot have.
            DataError: If the data cannot be used.
        """
        validate(self)
        detector = AnomalyDetector() if self.detector is None else clone(self.detector)
        return self._take(detector.fit(X), -detector.score_samples(X))

    def _take(self, detector: AnomalyDetector, scores: Floats) -> Self:
        """Hold what was fitted."""
        self.detector_, self.decision_scores_ = detector, scores
        self.n_features_in_ = detector.n_features_in_
        if hasattr(detector, "feature_names_in_"):
            self.feature_names_in_ = detector.feature_names_in_
        self.threshold_ = -float(detector.offset_)
        self.labels_ = self._flags(scores)
        return self

    @property
    def contamination(self) -> float:
        """Share of odd rows: what the detector is told; else what it found in the rows of fit; 0.1 before that."""
        told = "auto" if self.detector is None else self.detector.contamination
        if told != "auto":
            return float(told)
        return float(self.labels_.mean()) if hasattr(self, "labels_") else _DEFAULT_CONTAMINATION

    def decision_function(self, X: Any) -> Floats:
        """Return scores, nats, shape (n,); higher is odder.

        Args:
            X: Data like those of fit.
        Raises:
            SchemaMismatchError: If the columns or shape are not those of fit.
        """
        check_is_fitted(self)
        return -self.detector_.score_samples(X)

    def predict(self, X: Any, return_confidence: bool = False) -> Flags | tuple[Flags, Floats]:
        """Return 1 for odd rows and 0 for others, shape (n,); with `return_confidence` how sure that is as well.

        Args:
            X: Data like those of fit.
            return_confidence: Whether :meth:`predict_confidence` is wanted, too.
        """
        scores = self.decision_function(X)
        flags = self._flags(scores)
        return (flags, self._confidence(scores)) if return_confidence else flags

    def predict_proba(
        self, X: Any, method: Literal["linear", "unify"] = "linear", return_confidence: bool = False
    ) -> Floats | tuple[Floats, Floats]:
        r"""Return scores as PyOD's two kinds of probability, normal and odd, shape (n, 2).

        .. math:: p_{linear}(s) = \frac{s - \min_i s_i}{\max_i s_i - \min_i s_i}, \qquad
                  p_{unify}(s) = \mathrm{erf}\left(\frac{s - \bar s}{\sqrt{2} \, \sigma_s}\right)

        each held within [0, 1], over the scores of the rows of fit. Both are conventions; a probability with a meaning
        is :meth:`AnomalyDetector.p_values`.

        Args:
            X: Data like those of fit.
            method: ``"linear"`` or ``"unify"``.
            return_confidence: Whether :meth:`predict_confidence` is wanted, too.
        Raises:
            InvalidParameterError: If the method is another.
        References:
            Kriegel et al., 2011, Interpreting and Unifying Outlier Scores.
        """
        if method not in ("linear", "unify"):
            raise InvalidParameterError(f"method must be 'linear' or 'unify'; got {method!r}.")
        scores = self.decision_function(X)
        odd = self._linear(scores) if method == "linear" else self._unified(scores)
        both = np.column_stack([1.0 - odd, odd])
        return (both, self._confidence(scores)) if return_confidence else both

    def predict_confidence(self, X: Any) -> Floats:
        """Return how often the verdict on each row would be the same with other rows of fit, in [0, 1], shape (n,).

        Args:
            X: Data like those of fit.
        References:
            Perini et al., 2020, Quantifying the Confidence of Anomaly Detectors in Their Example-Wise Predictions.
        """
        return self._confidence(self.decision_function(X))

    def fit_predict(self, X: Any, y: Any = None) -> Flags:
        """Fit, and return ``labels_``: 1 for odd rows and 0 for others, shape (n,).

        Args:
            X: As for :meth:`fit`.
            y: Ignored.
        """
        return self.fit(X, y).labels_

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a folder from which :func:`latentkit.load` gives this adapter back; no pickle is in it.

        Args:
            path: Where; made if absent. The detector lies in its folder ``detector``, and is loaded from there as well.
        Raises:
            RunError: If the folder holds something else.
            StorageError: If it cannot be written.
        """
        check_is_fitted(self)
        folder = Path(path)
        check_place(folder, ADAPTER, "adapter")
        self.detector_.save(folder / _DETECTOR)
        with staged(folder) as stage:
            write_tensors(stage / WEIGHTS, {"decision_scores": torch.from_numpy(self.decision_scores_)})
            fitted = {"sha256": {WEIGHTS: sha256(stage / WEIGHTS)}}
            write_config(
                stage, {"format": RUN_FORMAT, "latentkit": __version__, "estimator": ADAPTER, "fitted": fitted}
            )
        return folder

    def _flags(self, scores: Floats) -> Flags:
        return (scores > self.threshold_).astype(np.int64)

    def _linear(self, scores: Floats) -> Floats:
        low, high = float(self.decision_scores_.min()), float(self.decision_scores_.max())
        return np.clip((scores - low) / (high - low or 1.0), 0.0, 1.0)

    def _unified(self, scores: Floats) -> Floats:
        from scipy.special import erf

        spread = float(self.decision_scores_.std()) or 1.0
        unified: Floats = np.clip(erf((scores - self.decision_scores_.mean()) / (spread * np.sqrt(2.0))), 0.0, 1.0)
        return unified

    def _confidence(self, scores: Floats) -> Floats:
        return repeated_confidence(scores, self.decision_scores_, self.threshold_)


@loaders.register(ADAPTER)
def _load(folder: Path) -> PyodAdapter:
    config = read_config(folder)
    try:
        check_content(folder / WEIGHTS, config["fitted"]["sha256"][WEIGHTS])
        detector = load(folder / _DETECTOR)
        scores = load_file(folder / WEIGHTS)["decision_scores"].numpy()
    except (AttributeError, KeyError, TypeError, SafetensorError) as error:
        raise damaged_config(folder / CONFIG, error) from error
    return PyodAdapter(detector)._take(detector, scores)  # noqa: SLF001 (a folder restores what fit made)
