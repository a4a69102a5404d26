"""Texts in, texts out: one model of sentences does every task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from latentkit import VAE, Autoencoder, load
from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.data import Dataset
from latentkit.models import networks

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


def test_ways_and_edits_are_texts(fitted: VAE) -> None:
    way = fitted.interpolate("the cat is big", "i like soup with rice", steps=5)
    assert len(way) == 5
    assert way[0].startswith("the")
    assert way[-1].startswith("i")
    direction = fitted.attribute_direction(TEXTS, LABELS)
    assert direction.score > 0.9
    moved = [fitted.edit(["the cat is big"], direction, strength=float(strength))[0] for strength in (0, 10, 40, 80)]
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


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that are chosen by name are small."""
    for network in networks.SEQUENCES:
        monkeypatch.setitem(networks._WIDTHS, network, lambda n_rows: (32,))


@pytest.mark.usefixtures("narrow")
def test_transformers_learn_texts(tmp_path: Path) -> None:
    settings = {**SMALL, "encoder": "transformer", "decoder": "transformer", "max_epochs": 10}
    vae = VAE(**{**settings, "ex_post": "none"}).fit(TEXTS)
    kinds = [text.startswith("the") for text in TEXTS]
    again = vae.reconstruct(TEXTS)
    assert np.mean([text.startswith("the") == kind for text, kind in zip(again, kinds, strict=True)]) > 0.95
    assert vae.score(TEXTS[:40]) > vae.score([" ".join(text.split()[::-1]) for text in TEXTS[:40]]) + 20
    vae.save(tmp_path / "run")
    loaded = load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.transform(TEXTS[:9]), vae.transform(TEXTS[:9]))
    assert loaded.sample(5, random_state=3) == vae.sample(5, random_state=3)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("encoder", "decoder"), [("lstm", "transformer"), ("transformer", "gru")])
def test_encoder_and_decoder_may_be_of_different_families(encoder: str, decoder: str) -> None:
    settings = {**SMALL, "encoder": encoder, "decoder": decoder, "max_epochs": 1, "ex_post": "none"}
    vae = VAE(**settings).fit(TEXTS, condition=LABELS)
    chosen = vae.specification_.networks
    assert [chosen[role]["network"] for role in ("encoder", "decoder")] == [encoder, decoder]
    assert len(vae.sample(3, condition="food")) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "conv"}, "texts have networks of their own"),
        ({"decoder": "lstn"}, "Did you mean 'lstm'"),
        ({"encoder": "transformer", "normalization": "batch"}, "normalised by layer"),
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
