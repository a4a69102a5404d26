"""Odd texts: what is odd is found, what is said of tokens adds up, and nothing depends on company."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

from latentkit import VAE, AnomalyDetector, load
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.evaluation import detection_quality

ANIMALS, FOODS = ("cat", "dog", "bird", "horse"), ("soup", "bread", "fish", "rice")
SENTENCES = [
    f"the {animal} is {how} and {other}" for animal in ANIMALS for how in ("big", "old") for other in ("fat", "shy")
]
SENTENCES += [f"i like {food} with {other} now" for food in FOODS for other in FOODS]
RANDOM = np.random.default_rng(0)
TEXTS = [SENTENCES[row] for row in RANDOM.integers(0, len(SENTENCES), 300)]
ODD = ["the soup is big and fat", "with rice like i now bread", "the cat is with and shy", "i horse fish old rice now"]
SETTINGS: dict[str, Any] = {
    "encoder": (24,),
    "decoder": (24,),
    "latent_dim": 4,
    "vocabulary": "words",
    "random_state": 0,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "max_epochs": 15,
    "ex_post": "none",
}


@pytest.fixture(scope="module")
def detector() -> AnomalyDetector:
    return AnomalyDetector(VAE(**SETTINGS), random_state=0).fit(TEXTS)


def test_odd_texts_are_found(detector: AnomalyDetector) -> None:
    scores = -detector.score_samples([*SENTENCES, *ODD])
    assert detection_quality(np.arange(len(scores)) >= len(SENTENCES), scores).auroc > 0.98
    assert (detector.predict(ODD) == -1).mean() >= 0.75
    assert (detector.predict(SENTENCES) == 1).mean() > 0.9
    assert detector.parts_ == ("surprise", "stretch", "neighbors")
    assert detector.p_values(ODD).max() < detector.p_values(SENTENCES).mean()


def test_scores_depend_on_the_text_alone(detector: AnomalyDetector) -> None:
    texts = [*ODD, *SENTENCES[::5], "the", ""]
    scores = detector.score_samples(texts)
    order = np.random.default_rng(1).permutation(len(texts))
    np.testing.assert_allclose(detector.score_samples([texts[row] for row in order]), scores[order], atol=1e-3)
    alone = np.concatenate([detector.score_samples([text]) for text in texts])
    np.testing.assert_allclose(alone, scores, atol=1e-3)
    np.testing.assert_allclose(
        detector.score_samples(pd.Series(texts, index=range(5, 5 + len(texts)))), scores, atol=1e-3
    )


def test_the_tokens_responsible_are_named(detector: AnomalyDetector) -> None:
    texts = [*ODD, SENTENCES[0]]
    found = detector.explain(texts)
    assert found.contributions.shape == (5, detector.schema_.max_length)
    np.testing.assert_allclose(found.contributions.sum(1) + found.baseline, found.scores, atol=1e-6)
    np.testing.assert_allclose(found.scores, -detector.score_samples(texts), atol=1e-3)
    assert [" ".join(piece for piece, _ in text[:-1]) for text in found.tokens] == texts
    for row, text in enumerate(found.tokens):
        assert (found.contributions[row, len(text) :] == 0.0).all(), "nothing stands behind the end"
    assert found.top(1)[0] == ["soup"]
    assert [len(names) for names in found.top(99)] == [len(text) for text in found.tokens]
    assert found.strongest(0, 1) == [("soup", found.contributions[0].max())]
    change = found.changes[0][0]
    assert (change.column, change.value) == ("1", "soup")
    assert change.normal in ANIMALS
    assert '"soup"' in found.sentence(0)
    assert f'more probable would be "{change.normal}" instead of "soup"' in found.sentence(0)
    assert found.changes[-1] == (), "it is normal"
    assert set(found.counterparts) <= set(TEXTS)


def test_a_saved_detector_says_the_same(detector: AnomalyDetector, tmp_path: Path) -> None:
    detector.save(tmp_path / "d")
    again = load(tmp_path / "d")
    texts = [*ODD, *SENTENCES[:5]]
    np.testing.assert_allclose(again.score_samples(texts), detector.score_samples(texts), atol=1e-5)
    np.testing.assert_array_equal(again.predict(texts), detector.predict(texts))
    assert again.explain(ODD[:1]).sentence(0) == detector.explain(ODD[:1]).sentence(0)


def test_rows_that_the_model_has_not_learnt_are_named() -> None:
    vae = VAE(**{**SETTINGS, "max_epochs": 2}).fit(TEXTS)
    rows = vae.validation_rows(len(TEXTS))
    assert len(rows) == 30
    frozen = AnomalyDetector(FrozenEstimator(vae), random_state=0).fit(TEXTS, held_out=rows)
    assert frozen.is_held_out_
    scores = -frozen.score_samples([TEXTS[row] for row in rows])
    np.testing.assert_allclose(np.sort(scores), frozen.reference_, atol=1e-3)
    with pytest.raises(InvalidParameterError, match="from 0 to 299"):
        AnomalyDetector(FrozenEstimator(vae)).fit(TEXTS, held_out=[300])


def test_a_rate_of_false_alarms_holds() -> None:
    vae = VAE(**{**SETTINGS, "max_epochs": 2}).fit(TEXTS)
    random = np.random.default_rng(2)
    texts = [" ".join(random.permutation(text.split())) for text in TEXTS]
    frozen = AnomalyDetector(FrozenEstimator(vae), false_alarm_rate=0.1, calibration_fraction=0.5, random_state=0)
    frozen.fit(texts[:150] + TEXTS[:50])
    assert (frozen.predict(texts[150:]) == -1).mean() < 0.25
    assert frozen.calibration_.rule.startswith("conformal")


@pytest.mark.parametrize("parts", [("exemplars", "elbo"), ("nearest", "wide_neighbors"), ("log_likelihood", "stretch")])
def test_other_parts_may_be_chosen(parts: tuple[str, ...]) -> None:
    vae = VAE(**{**SETTINGS, "max_epochs": 1}).fit(TEXTS)
    found = AnomalyDetector(FrozenEstimator(vae), parts=parts, random_state=0).fit(TEXTS).explain(ODD)
    assert np.isfinite(found.scores).all()
    np.testing.assert_allclose(found.contributions.sum(1) + found.baseline, found.scores, atol=1e-6)


def test_texts_have_no_columns_that_drift(detector: AnomalyDetector) -> None:
    with pytest.raises(UnsupportedOperationError, match="these data are texts"):
        detector.drift(TEXTS)
