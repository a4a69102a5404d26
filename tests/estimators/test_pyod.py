"""The detector under PyOD's names and signs, beside PyOD's own base class where it is installed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import latentkit
from latentkit import AnomalyDetector, PyodAdapter
from latentkit.core.errors import DamagedRunError, InvalidParameterError, RunError
from latentkit.estimators import pyod as module

pytestmark = pytest.mark.usefixtures("brief_ensembles")

Floats = NDArray[np.float64]

CONTAMINATION = 0.05


def _rows(n: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, 3)) * [1.0, 2.0, 0.5]


@pytest.fixture(scope="module")
def rows() -> Floats:
    """Rows of fit, the first five of which are odd."""
    X = _rows(200, 0)
    X[:5] += 8.0
    return X


@pytest.fixture(scope="module")
def new() -> Floats:
    """Other rows, the first three of which are odd; the very first is odder than all of fit."""
    X = _rows(40, 1)
    X[0] += 60.0
    X[1:3] += 8.0
    return X


@pytest.fixture(scope="module")
def adapter(rows: Floats) -> PyodAdapter:
    return PyodAdapter(AnomalyDetector(contamination=CONTAMINATION, random_state=0)).fit(rows)


@pytest.fixture(scope="module")
def scores(adapter: PyodAdapter, new: Floats) -> Floats:
    return adapter.decision_function(new)


def test_odd_rows_have_higher_scores_and_the_label_one(adapter: PyodAdapter, rows: Floats, new: Floats) -> None:
    assert adapter.decision_scores_.shape == (200,)
    assert set(np.argsort(-adapter.decision_scores_)[:5]) == set(range(5))
    assert adapter.labels_.tolist() == [1] * 5 + adapter.labels_[5:].tolist()
    assert set(adapter.labels_.tolist()) == {0, 1}
    assert adapter.predict(new)[:3].tolist() == [1, 1, 1]
    assert np.array_equal(adapter.decision_function(rows), adapter.decision_scores_)
    assert np.array_equal(adapter.predict(rows), adapter.labels_)
    assert adapter.n_features_in_ == 3


def test_it_is_the_detector_with_other_signs(adapter: PyodAdapter, new: Floats) -> None:
    detector = adapter.detector_
    assert np.array_equal(adapter.decision_function(new), -detector.score_samples(new))
    assert adapter.threshold_ == -detector.offset_
    assert np.array_equal(adapter.predict(new) == 1, detector.predict(new) == -1)


def test_the_threshold_is_the_quantile_of_the_contamination(adapter: PyodAdapter) -> None:
    assert adapter.threshold_ == np.percentile(adapter.decision_scores_, 95.0)
    assert adapter.labels_.sum() == 10


def test_linear_probabilities_by_hand(adapter: PyodAdapter, new: Floats, scores: Floats) -> None:
    low, high = min(adapter.decision_scores_), max(adapter.decision_scores_)
    both = adapter.predict_proba(new)
    assert both.shape == (40, 2)
    assert both.sum(1) == pytest.approx(1.0)
    expected = [min(1.0, max(0.0, (score - low) / (high - low))) for score in scores]
    assert both[:, 1] == pytest.approx(expected, abs=1e-12)
    assert both[0].tolist() == [0.0, 1.0]


def test_unified_probabilities_by_hand(adapter: PyodAdapter, new: Floats, scores: Floats) -> None:
    from math import erf, sqrt

    mean = sum(adapter.decision_scores_) / 200
    stddev = sqrt(sum((score - mean) ** 2 for score in adapter.decision_scores_) / 200)
    odd = adapter.predict_proba(new, method="unify")[:, 1]
    assert odd == pytest.approx([max(0.0, erf((score - mean) / (stddev * sqrt(2)))) for score in scores], abs=1e-9)
    assert (odd[scores < mean] == 0).all()


def test_confidence_by_hand(adapter: PyodAdapter, new: Floats, scores: Floats) -> None:
    confidence = adapter.predict_confidence(new)
    for found, score in zip(confidence, scores, strict=True):
        p = (1 + sum(adapter.decision_scores_ <= score)) / 202
        is_odd = 1 - binom.cdf(200 - 10, 200, p)
        assert found == pytest.approx(is_odd if score > adapter.threshold_ else 1 - is_odd)
    flags, with_flags = adapter.predict(new, return_confidence=True)
    assert np.array_equal(flags, adapter.predict(new))
    both, with_both = adapter.predict_proba(new, "unify", return_confidence=True)
    assert np.array_equal(both, adapter.predict_proba(new, "unify"))
    assert np.array_equal(with_flags, confidence)
    assert np.array_equal(with_both, confidence)


@pytest.fixture(scope="module")
def peer(adapter: PyodAdapter) -> Any:
    """PyOD's own base class around the same scores."""
    base = pytest.importorskip("pyod.models.base", reason="PyOD is not installed")

    class Peer(base.BaseDetector):  # type: ignore[misc,name-defined]
        def __init__(self, contamination: float = CONTAMINATION) -> None:
            super().__init__(contamination=contamination)

        def fit(self, X: Floats, y: None = None) -> Any:
            self._set_n_classes(y)
            self.decision_scores_ = adapter.decision_scores_
            self._process_decision_scores()
            return self

        def decision_function(self, X: Floats) -> Floats:
            return adapter.decision_function(X)

    return Peer().fit(np.empty((200, 3)))


def test_it_answers_as_pyod_does(adapter: PyodAdapter, peer: Any, new: Floats) -> None:
    assert adapter.threshold_ == peer.threshold_
    assert np.array_equal(adapter.labels_, peer.labels_)
    assert np.array_equal(adapter.predict(new), peer.predict(new))
    for method in ("linear", "unify"):
        assert adapter.predict_proba(new, method=method) == pytest.approx(peer.predict_proba(new, method), abs=1e-12)
    assert adapter.predict_confidence(new) == pytest.approx(peer.predict_confidence(new), abs=1e-12)


def test_it_has_the_names_of_pyod(adapter: PyodAdapter, peer: Any) -> None:
    names = ["decision_scores_", "threshold_", "labels_", "contamination", "fit", "decision_function", "predict"]
    for name in [*names, "predict_proba", "predict_confidence", "fit_predict", "get_params", "set_params"]:
        assert hasattr(peer, name)
        assert hasattr(adapter, name)
    assert adapter.contamination == peer.contamination


def test_fit_predict_is_the_labels(monkeypatch: pytest.MonkeyPatch, adapter: PyodAdapter, rows: Floats) -> None:
    monkeypatch.setattr(module, "clone", lambda detector: adapter.detector_)
    monkeypatch.setattr(AnomalyDetector, "fit", lambda detector, X: detector)
    fresh = PyodAdapter(adapter.detector)
    assert np.array_equal(fresh.fit_predict(rows), adapter.labels_)
    assert fresh.detector_ is adapter.detector_


def test_the_detector_that_is_given_stays_unfitted(adapter: PyodAdapter) -> None:
    assert not hasattr(adapter.detector, "offset_")


def test_contamination_is_what_is_told_or_found(adapter: PyodAdapter) -> None:
    assert PyodAdapter().contamination == 0.1
    assert PyodAdapter(AnomalyDetector(contamination=0.2)).contamination == 0.2
    untold = PyodAdapter(AnomalyDetector())._take(adapter.detector_, adapter.decision_scores_)
    assert untold.contamination == 10 / 200


def test_parameters_are_those_of_scikit_learn(adapter: PyodAdapter) -> None:
    assert adapter.get_params()["detector__contamination"] == CONTAMINATION
    other = clone(adapter).set_params(detector__contamination=0.2)
    assert other.contamination == 0.2
    assert not hasattr(other, "detector_")
    with pytest.raises(InvalidParameterError, match="'detector' parameter of PyodAdapter must be"):
        PyodAdapter("auto").fit(np.zeros((10, 2)))


def test_scores_that_are_all_equal_have_probabilities(adapter: PyodAdapter, new: Floats) -> None:
    flat = PyodAdapter()._take(adapter.detector_, np.full(200, 1e6))
    for method in ("linear", "unify"):
        assert (flat.predict_proba(new, method) == [1.0, 0.0]).all()


def test_it_comes_back_from_a_folder(adapter: PyodAdapter, new: Floats, tmp_path: Path) -> None:
    folder = adapter.save(tmp_path / "adapter")
    back = latentkit.load(adapter.save(folder))
    assert isinstance(back, PyodAdapter)
    assert np.array_equal(back.decision_scores_, adapter.decision_scores_)
    assert np.array_equal(back.labels_, adapter.labels_)
    assert np.array_equal(back.predict_proba(new, "unify"), adapter.predict_proba(new, "unify"))
    assert back.contamination == CONTAMINATION
    assert isinstance(latentkit.load(folder / "detector"), AnomalyDetector)


def test_a_folder_of_something_else_is_left_alone(adapter: PyodAdapter, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files, no adapter. Choose an empty folder"):
        adapter.save(tmp_path)
    detector = adapter.detector_.save(tmp_path / "detector")
    with pytest.raises(RunError, match="holds anomaly_detector, no adapter"):
        adapter.save(detector)


def test_a_damaged_folder_is_refused(adapter: PyodAdapter, tmp_path: Path) -> None:
    folder = adapter.save(tmp_path / "adapter")
    (folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(DamagedRunError, match="does not have the content that was written"):
        latentkit.load(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(DamagedRunError, match="is missing"):
        latentkit.load(folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("sha256", "md5"))
    with pytest.raises(DamagedRunError, match="config.yaml"):
        latentkit.load(folder)


def test_bad_use_is_an_error(adapter: PyodAdapter, new: Floats) -> None:
    with pytest.raises(InvalidParameterError, match="method must be 'linear' or 'unify'; got 'sigmoid'"):
        adapter.predict_proba(new, method="sigmoid")  # type: ignore[arg-type]
    for method in ("decision_function", "predict", "predict_proba", "predict_confidence"):
        with pytest.raises(NotFittedError):
            getattr(PyodAdapter(), method)(new)
    with pytest.raises(NotFittedError):
        PyodAdapter().save("nowhere")


def test_the_library_does_not_import_pyod() -> None:
    for path in Path(latentkit.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "pyod" in text else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "pyod"]
