"""Rankings of rows, against their definitions counted by hand and scikit-learn's metrics."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from latentkit.core.errors import DataError
from latentkit.evaluation import detection_quality


def ranked(n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    odd = rng.random(n) < 0.15
    return odd, (rng.normal(size=n) + 1.5 * odd).round(1)  # with ties


def test_the_areas_are_those_of_their_definitions() -> None:
    odd, scores = ranked()
    quality = detection_quality(odd, scores)
    pairs = scores[odd][:, None] - scores[~odd]
    assert quality.auroc == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert quality.auroc == roc_auc_score(odd, scores)
    steps, recall = 0.0, 0.0
    for cut in np.unique(scores)[::-1]:
        flagged = scores >= cut
        now = (flagged & odd).sum() / odd.sum()
        steps += (now - recall) * odd[flagged].mean()
        recall = now
    assert quality.average_precision == pytest.approx(steps)
    assert quality.average_precision == average_precision_score(odd, scores)
    assert (quality.prevalence, quality.n) == (odd.mean(), 300)


def test_the_curves_span_their_areas() -> None:
    quality = detection_quality(*ranked())
    assert np.trapezoid(quality.true_positive_rate, quality.false_positive_rate) == pytest.approx(quality.auroc)
    area = -(np.diff(quality.recall) * quality.precision[:-1]).sum()
    assert area == pytest.approx(quality.average_precision)


def test_precision_is_counted_at_as_many_places_as_there_are() -> None:
    rng = np.random.default_rng(1)
    odd, scores = rng.random(1200) < 0.1, rng.random(1200)
    order = np.argsort(-scores)
    found = detection_quality(odd, scores).precision_at
    expected = {str(k): odd[order[:k]].mean() for k in (10, 100, 1000)} | {"n_odd": odd[order[: odd.sum()]].mean()}
    assert found == expected
    assert list(detection_quality(odd[:150], scores[:150]).precision_at) == ["10", "100", "n_odd"]


def test_a_perfect_and_a_reversed_ranking() -> None:
    odd = np.array([True] * 3 + [False] * 7)
    best, worst = detection_quality(odd, -np.arange(10.0)), detection_quality(odd, np.arange(10.0))
    assert (best.auroc, best.average_precision, best.precision_at["n_odd"]) == (1.0, 1.0, 1.0)
    assert (worst.auroc, worst.precision_at["n_odd"]) == (0.0, 0.0)
    assert detection_quality(odd, np.zeros(10)).auroc == 0.5


def test_what_cannot_be_judged_is_refused() -> None:
    odd, scores = ranked(20)
    odd[:2] = [True, False]
    with pytest.raises(DataError, match=r"one entry a row; got shapes \(20,\) and \(19,\)"):
        detection_quality(odd, scores[1:])
    with pytest.raises(DataError, match=r"got shapes \(20, 1\)"):
        detection_quality(odd[:, None], scores[:, None])
    with pytest.raises(DataError, match="rows of both kinds; all of 20 labels are odd"):
        detection_quality(np.ones(20, bool), scores)
    with pytest.raises(DataError, match="none of 20 labels"):
        detection_quality(np.zeros(20, bool), scores)
