"""Texts in, texts out: one model of sentences does every task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from latentkit import VAE, Autoencoder, load
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.data import Dataset
from latentkit.evaluation import language_model

ANIMALS, FOODS = ("cat", "dog", "bird", "horse"), ("soup", "bread", "fish", "rice")
TEXTS = [f"the {animal} is {how}" for animal in ANIMALS for how in ("big", "small", "old")] * 8
TEXTS += [f"i like {food} with {other}" for food in FOODS for other in FOODS] * 6
LABELS = ["animal" if text.startswith("the") else "food" for text in TEXTS]
SMALL: dict[str, Any] = {
    "encoder": (24,),
    "decoder": (24,),
    "latent_dim": 12,
    "vocabulary": "words",
    "random_state": 0,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "max_epochs": 60,
}


@pytest.fixture(scope="module")
def fitted() -> VAE:
    return VAE(**SMALL).fit(TEXTS, LABELS)


def test_samples_look_like_what_was_learnt(fitted: VAE) -> None:
    made = fitted.sample(100, random_state=1)
    assert isinstance(made, list)
    assert len(made) == 100
    assert np.mean([text in TEXTS for text in made]) > 0.5
    assert made == fitted.sample(100, random_state=1) != fitted.sample(100, random_state=2)
    assert fitted.sample(100, temperature=0.0, random_state=1) == fitted.sample(100, top_k=1, random_state=1)


def test_samples_of_a_class(fitted: VAE) -> None:
    for label, start in (("animal", "the"), ("food", "i")):
        made = fitted.sample(50, label=label, temperature=0.5, random_state=0)
        assert np.mean([text.startswith(start) for text in made]) > 0.9


def test_reconstructions_are_near(fitted: VAE) -> None:
    again = fitted.reconstruct(TEXTS)
    kinds = [text.startswith("the") for text in TEXTS]
    assert np.mean([text.startswith("the") == kind for text, kind in zip(again, kinds, strict=True)]) > 0.95


def test_latents_tell_texts_apart(fitted: VAE) -> None:
    z = fitted.transform(TEXTS)
    assert z.shape == (len(TEXTS), 12)
    places = {text: place for place, text in enumerate(dict.fromkeys(TEXTS))}
    codes = np.array([places[text] for text in TEXTS])
    # equal texts have equal vectors, and different ones different ones
    assert all(np.ptp(z[codes == code], axis=0).max() < 1e-5 for code in range(len(places)))
    assert len(np.unique(z.round(3), axis=0)) == len(places)


def test_scores_do_not_depend_on_order_or_batch(fitted: VAE) -> None:
    scores = fitted.score_samples(TEXTS[:40], n_importance=4)
    order = np.random.default_rng(0).permutation(40)
    shuffled = fitted.score_samples([TEXTS[row] for row in order], n_importance=4)
    np.testing.assert_allclose(shuffled, scores[order], rtol=1e-5)
    np.testing.assert_allclose(fitted.score_samples(TEXTS[7:8], n_importance=4), scores[7:8], rtol=1e-5)
    assert fitted.score_samples(["bread the old is with"])[0] < scores.min()


def test_figures_are_those_of_the_parts(fitted: VAE) -> None:
    found = fitted.evaluate(TEXTS, n_importance=4, max_texts=None, random_state=0)
    scores = fitted.score_samples(TEXTS, n_importance=4)
    assert found.log_likelihood == pytest.approx(scores.mean(), rel=1e-5)
    n_words = sum(len(text.split()) + 1 for text in TEXTS)
    assert found.perplexity.n_words == n_words
    assert found.perplexity.per_word == pytest.approx(np.exp(-scores.sum() / n_words), rel=1e-5)
    again = fitted.reconstruct(TEXTS)
    rows = [([*a.split(), ""], [*b.split(), *[""] * 9]) for a, b in zip(TEXTS, again, strict=True)]
    right = sum(word == other for a, b in rows for word, other in zip(a, b, strict=False))
    assert found.tokens_right.value == pytest.approx(right / n_words)
    assert found.tokens_right.value > found.tokens_right.floor
    assert 0 < found.latents.n_active <= 12
    assert 0.0 < found.information.lower <= found.information.kl + 0.1
    assert found.samples is None
    few = fitted.evaluate(TEXTS, n_importance=1, max_texts=20, random_state=0)
    assert few.perplexity.n_texts == 20
    assert few.information == found.information
    assert "K = 1" in dict(few.summary())["likelihood"]


def test_samples_are_judged_as_the_model_sees_texts(fitted: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "_WIDTH", 8)
    monkeypatch.setattr(language_model, "_BUDGET", 2000)
    fresh = ["the unicorn is big", "the unicorn is small"] * 10
    given: dict[str, Any] = {"n_importance": 1, "n_samples": 60, "random_state": 0}
    quality = fitted.evaluate(fresh, train=[*TEXTS, "the <unk> is big"], **given).samples
    assert quality is not None
    assert quality.whole_copies.floor == 0.5
    assert quality.whole_copies.value > 0.5
    assert quality == fitted.evaluate(fresh, train=[*TEXTS, "the <unk> is big"], **given).samples


def test_what_cannot_be_evaluated(fitted: VAE) -> None:
    with pytest.raises(DataError, match="at least 2 texts are needed to measure"):
        fitted.evaluate(TEXTS[:1])
    of_rows = VAE(max_epochs=1, latent_dim=1).fit(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(
        UnsupportedOperationError, match="evaluate is for models of texts, and this one was fitted to rows"
    ):
        of_rows.evaluate(np.zeros((2, 2)))


def test_ways_and_edits_are_texts(fitted: VAE) -> None:
    way = fitted.interpolate("the cat is big", "i like soup with rice", steps=5)
    assert len(way) == 5
    assert way[0].startswith("the")
    assert way[-1].startswith("i")
    direction = fitted.attribute_direction(TEXTS, LABELS)
    assert direction.score > 0.9
    moved = [fitted.edit(["the cat is big"], direction, strength=float(strength))[0] for strength in (0, 10, 40)]
    assert moved[0].startswith("the")
    assert any(text.startswith("i") for text in moved)


def test_a_run_holds_it_all(fitted: VAE, tmp_path: Path) -> None:
    fitted.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(again.transform(TEXTS[:9]), fitted.transform(TEXTS[:9]))
    assert again.sample(5, random_state=3) == fitted.sample(5, random_state=3)


def test_a_training_resumes_in_the_same_weights(tmp_path: Path) -> None:
    settings = {**SMALL, "max_epochs": 4, "ex_post": "none"}
    whole = VAE(**settings).fit(TEXTS, run=tmp_path / "whole")
    VAE(**{**settings, "max_epochs": 2}).fit(TEXTS, run=tmp_path / "part")
    again = VAE(**settings).fit(TEXTS, run=tmp_path / "other")
    for name, weight in whole.model_.state_dict().items():
        assert torch.equal(weight, again.model_.state_dict()[name])


@pytest.mark.parametrize(
    "make", [list, tuple, np.array, pd.Series, lambda texts: Dataset(np.array(texts, object), "memory", "text")]
)
def test_containers(make: Any) -> None:
    vae = VAE(**{**SMALL, "max_epochs": 1, "ex_post": "none"}).fit(make(TEXTS))
    made = vae.sample(2)
    assert isinstance(made, pd.Series) if make is pd.Series else len(made) == 2
    assert vae.transform(make(TEXTS[:5])).shape == (5, 12)


def test_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    settings = {**SMALL, "max_epochs": 1, "ex_post": "none"}
    a, b = VAE(**settings).fit(path), VAE(**settings).fit(TEXTS)
    np.testing.assert_array_equal(a.transform(path), b.transform(TEXTS))


def test_subwords_give_every_text_back() -> None:
    vae = VAE(**{**SMALL, "vocabulary": "subwords", "max_epochs": 1, "ex_post": "none"}).fit(TEXTS)
    odd = ["\0 a\tb", "狗", "", "the cat"]
    assert vae.schema_.decode(vae.schema_.encode(odd)) == odd
    assert np.isfinite(vae.score_samples(odd)).all()


def test_conditions_are_seen() -> None:
    vae = VAE(**{**SMALL, "max_epochs": 20, "ex_post": "none"}).fit(TEXTS, condition=LABELS)
    for label, start in (("animal", "the"), ("food", "i")):
        made = vae.sample(40, condition=label, temperature=0.5)
        assert np.mean([text.startswith(start) for text in made]) > 0.9
    right, wrong = (
        vae.given(labels).evaluate(TEXTS, n_importance=4, max_texts=50, random_state=0)
        for labels in (LABELS, ["food" if label == "animal" else "animal" for label in LABELS])
    )
    assert right.log_likelihood > wrong.log_likelihood


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "conv"}, "texts have networks of their own"),
        ({"decoder": "lstn"}, "Did you mean 'lstm'"),
        ({"likelihood": "gaussian"}, "these data are texts"),
        ({"likelihood_options": {"n_tokens": 3}}, "follows from their tokens"),
        ({"vocabulary": "wrods"}, "Did you mean 'words'"),
        ({"augmentation": "shift"}, "augmentation"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        VAE(**{**SMALL, "max_epochs": 1, **settings}).fit(TEXTS)


def test_other_data_and_other_members() -> None:
    with pytest.raises(InvalidParameterError, match="max_length=9 is for texts"):
        VAE(max_length=9).fit(np.zeros((9, 2)))
    with pytest.raises(DataError, match="these data are texts. Use VAE"):
        Autoencoder().fit(TEXTS)
    of_rows = VAE(max_epochs=1, latent_dim=1).fit(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(InvalidParameterError, match="top_k and top_p choose among the tokens"):
        of_rows.sample(2, top_k=3)


def test_a_text_alone_is_no_list(fitted: VAE) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        fitted.transform("the cat is big")
