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
from latentkit.data import Dataset, TextSchema
from latentkit.data.text import Subwords
from latentkit.estimators.text_tasks import stream_text
from latentkit.evaluation import language_model
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


def test_figures_are_those_of_the_parts(fitted: VAE) -> None:
    found = fitted.evaluate(TEXTS, n_importance=4, max_rows=len(TEXTS), random_state=0)
    scores = fitted.score_samples(TEXTS, n_importance=4)
    assert found["log p(x)"].value == pytest.approx(scores.mean(), rel=1e-5)
    n_words = sum(len(text.split()) + 1 for text in TEXTS)
    assert f"of {n_words:,} words" in found["perplexity of a word"].computed_with
    assert found["perplexity of a word"].value == pytest.approx(np.exp(-scores.sum() / n_words), rel=1e-5)
    again = fitted.reconstruct(TEXTS)
    rows = [([*a.split(), ""], [*b.split(), *[""] * 9]) for a, b in zip(TEXTS, again, strict=True)]
    right = sum(word == other for a, b in rows for word, other in zip(a, b, strict=False))
    rebuilt = found["tokens rebuilt"]
    assert rebuilt.value == pytest.approx(100 * right / n_words)
    assert rebuilt.floor is not None
    assert rebuilt.value > rebuilt.floor
    assert 0 < found["active dimensions"].value <= 12
    assert 0.0 < found["mutual information"].value <= found["KL"].value + 0.1
    assert "self-BLEU" not in found
    few = fitted.evaluate(TEXTS, n_importance=1, max_rows=20, random_state=0)
    assert few["perplexity of a word"].n_rows == 20
    assert few["mutual information"] == found["mutual information"]


def test_samples_are_judged_as_the_model_sees_texts(fitted: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "_WIDTH", 8)
    monkeypatch.setattr(language_model, "_BUDGET", 2000)
    fresh = ["the unicorn is big", "the unicorn is small"] * 10
    given: dict[str, Any] = {"n_importance": 1, "n_samples": 60, "random_state": 0}
    found = fitted.evaluate(fresh, train=[*TEXTS, "the <unk> is big"], **given)
    copies = found["copied texts"]
    assert copies.floor == 0.5
    assert copies.value > 0.5
    assert found.figures == fitted.evaluate(fresh, train=[*TEXTS, "the <unk> is big"], **given).figures


def test_what_cannot_be_evaluated(fitted: VAE) -> None:
    with pytest.raises(DataError, match="at least 2 texts are needed to measure"):
        fitted.evaluate(TEXTS[:1])


def test_ways_and_edits_are_texts(fitted: VAE) -> None:
    way = fitted.interpolate("the cat is big", "i like soup with rice", steps=5)
    assert len(way) == 5
    assert way[0].startswith("the")
    assert way[-1].startswith("i")
    plain = fitted.interpolate("the cat is big", "i like soup with rice", steps=3, temperature=0.0)
    assert [plain[0], plain[2]] == list(fitted.reconstruct(["the cat is big", "i like soup with rice"]))
    direction = fitted.attribute_direction(TEXTS, LABELS)
    assert direction.score > 0.9
    moved = [fitted.edit(["the cat is big"], direction, strength=float(strength))[0] for strength in (0, 10, 40, 80)]
    assert moved[0].startswith("the")
    assert any(text.startswith("i") for text in moved)


def test_texts_on_a_way_differ_by_z_alone(fitted: VAE) -> None:
    how = {"steps": 6, "temperature": 1.5}
    still = [fitted.interpolate("the cat is big", "the cat is big", random_state=seed, **how) for seed in range(8)]
    assert all(len(set(way)) == 1 for way in still)
    assert len({way[0] for way in still}) > 1
    way = fitted.interpolate("the cat is big", "i like soup", random_state=3, **how)
    assert list(way) == list(fitted.interpolate("the cat is big", "i like soup", random_state=3, **how))


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
        vae.given(labels).evaluate(TEXTS, n_importance=4, max_rows=50, random_state=0)["log p(x)"]
        for labels in (LABELS, ["food" if label == "animal" else "animal" for label in LABELS])
    )
    assert right.value > wrong.value


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that are chosen by name are small."""
    for network in networks.SEQUENCES:
        monkeypatch.setitem(networks._WIDTHS, network, lambda n_rows: (32,))


@pytest.mark.usefixtures("narrow")
def test_transformers_learn_texts(tmp_path: Path) -> None:
    settings = {**SMALL, "encoder": "transformer", "decoder": "transformer", "max_epochs": 8, "dropout": 0.0}
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


# Rewriting

VERDICTS = [f"the {what} was {how}" for what in FOODS + ANIMALS for how in ("good", "great", "bad", "awful")] * 8
GOOD = ["good" if text.endswith(("good", "great")) else "bad" for text in VERDICTS]


def test_texts_are_rewritten_where_they_speak_of_a_class() -> None:
    vae = VAE(**{**SMALL, "max_epochs": 25, "ex_post": "none"}).fit(VERDICTS, condition=GOOD)
    texts = ["the soup was bad", "the dog was awful", "the fish was great"]
    again = vae.rewrite(texts, "good")
    assert [text.rsplit(" ", 1)[0] for text in again] == [text.rsplit(" ", 1)[0] for text in texts]
    assert all(text.endswith(("good", "great")) for text in again)
    assert again[2] == texts[2]
    assert vae.rewrite(texts[1:2], "good") == again[1:2]
    with pytest.raises(DataError, match="no class that the model was fitted with"):
        vae.rewrite(texts, "goood")


def test_rewriting_needs_classes(fitted: VAE) -> None:
    with pytest.raises(UnsupportedOperationError, match="fitted with condition="):
        fitted.rewrite(["the cat is big"], "food")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "conv"}, "texts have networks of their own"),
        ({"decoder": "lstn"}, "Did you mean 'lstm'"),
        ({"decoder": ("lstn", 24)}, "Did you mean 'lstm'"),
        ({"decoder": ("gru", 24, 25)}, "of the same number"),
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


def test_networks_of_texts_drop_units_unless_told_otherwise(fitted: VAE) -> None:
    assert fitted.specification_.dropout == 0.3
    rows = np.random.default_rng(0).normal(size=(20, 2))
    assert VAE(max_epochs=1, latent_dim=1).fit(rows).specification_.dropout == 0.0
    assert VAE(max_epochs=1, latent_dim=1, dropout=0.1).fit(rows).specification_.dropout == 0.1


def test_other_data_and_other_members() -> None:
    with pytest.raises(InvalidParameterError, match="max_length=9 is for texts"):
        VAE(max_length=9).fit(np.zeros((9, 2)))
    with pytest.raises(DataError, match="these data are texts. Use VAE"):
        Autoencoder().fit(TEXTS)
    of_rows = VAE(max_epochs=1, latent_dim=1).fit(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(InvalidParameterError, match="choose among the tokens"):
        of_rows.sample(2, top_k=3)


def test_texts_are_compressed_by_a_compressor(fitted: VAE, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperationError, match="networks over texts are not brought .* --compressor"):
        fitted.compress(TEXTS, tmp_path / "texts.lkz")


def test_a_text_alone_is_no_list(fitted: VAE) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        fitted.transform("the cat is big")


# Lost words, streams and beams


def test_lost_words_are_filled_in(fitted: VAE) -> None:
    texts = ["the ___ is old", "i like soup with ___", "the cat is big"]
    filled = fitted.recover(texts)
    assert filled[0].split()[1] in ANIMALS
    assert filled[0].endswith("is old")
    assert filled[1].split()[-1] in FOODS
    assert filled[2] == "the cat is big"
    draws = fitted.recover(texts, n_draws=3, result="draws")
    assert [len(draw) for draw in draws] == [3, 3, 3]
    assert fitted.recover(texts[1:2]) == filled[1:2]  # whatever stands beside it


def test_words_before_and_behind_count(fitted: VAE) -> None:
    [filled] = fitted.recover(["___ with rice"])
    assert filled.startswith("i like")
    [both] = fitted.recover(["the ___ is ___"])
    assert both in TEXTS


def test_subwords_are_filled_in_at_their_borders() -> None:
    vae = VAE(**{**SMALL, "vocabulary": "subwords", "ex_post": "none", "max_epochs": 20}).fit(TEXTS)
    filled = vae.recover(["the ___ is old", "i ___ fish with rice", "the cat___"])
    assert filled[0].startswith("the ")
    assert filled[0].endswith(" is old")
    assert "  " not in filled[0] + filled[1]
    assert filled[1].startswith("i ")
    assert filled[1].endswith(" fish with rice")


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["the cat"], {}, "no text has a gap"),
        (["the ___"], {"mask": [True]}, "marked in them"),
        (["the " * 5 + "___"], {}, "has room for"),
    ],
)
def test_gaps_that_cannot_be_filled(fitted: VAE, texts: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, UnsupportedOperationError), match=message):
        fitted.recover(texts, **options)


def test_streams_are_the_samples(fitted: VAE) -> None:
    for options in ({}, {"label": "food"}, {"temperature": 0.5, "top_p": 0.9}, {"top_k": 2}):
        streamed = ["".join(pieces) for pieces in fitted.stream(4, random_state=5, **options)]
        assert streamed == fitted.sample(4, random_state=5, **options)
    with pytest.raises(UnsupportedOperationError, match="Use sample"):
        VAE(max_epochs=1, latent_dim=1).fit(np.random.default_rng(0).normal(size=(20, 2))).stream()


def test_characters_of_several_bytes_come_whole() -> None:
    subwords = Subwords.learn(["abc"] * 9, 300)
    schema = TextSchema(subwords, 20)
    [tokens] = subwords.encode(["a狗b"])
    pieces = list(stream_text(schema, iter(tokens)))
    assert "".join(pieces) == "a狗b"
    assert not any("\ufffd" in piece for piece in pieces)
    assert list(stream_text(schema, iter(tokens[:2])))[-1] == "\ufffd"  # what never becomes whole is shown at the end


def test_beams_find_texts_that_are_more_probable(fitted: VAE) -> None:
    z = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = fitted.model_.decode(z)
        greedy, searched = given.mode, given.likeliest(4)
        gained = given.log_prob(searched) - given.log_prob(greedy)
    assert gained.min() > -1e-4
    assert gained.max() > 0.1
    assert torch.equal(given.likeliest(1), greedy)
    assert fitted.sample(3, n_beams=3, random_state=0) == fitted.sample(3, n_beams=3, random_state=0)


# Ways to keep z in use


@pytest.mark.parametrize(
    "settings",
    [
        {"pretraining": 0.3},
        {"aggressive": 0.3},
        {"word_dropout": 0.3},
        {"objective": "semi_amortized", "objective_options": {"n_steps": 2}},
        {"encoder": ("gru", 24), "decoder": ("gru", 24, 24)},
    ],
    ids=str,
)
def test_ways_to_learn(settings: dict[str, Any]) -> None:
    vae = VAE(**{**SMALL, "max_epochs": 4, "ex_post": "none", **settings}).fit(TEXTS)
    assert vae.history_[-1]["log_likelihood"] > vae.history_[0]["log_likelihood"]
    assert np.isfinite(vae.score_samples(TEXTS[:5])).all()
    assert "title" in vae.citation()


def test_the_decoder_starts_anew_after_pretraining(tmp_path: Path) -> None:
    settings = {**SMALL, "max_epochs": 4, "ex_post": "none", "pretraining": 0.5}
    vae = VAE(**settings).fit(TEXTS)
    assert [record["kl_weight"] > 0 for record in vae.history_] == [False, False, True, True]
    assert vae.history_[2]["objective"] < vae.history_[1]["objective"]
    assert "decoder started anew" in vae.events_[0]
    assert vae.best_epoch_ > 2


def test_the_decoder_waits_for_the_encoder() -> None:
    settings = {**SMALL, "max_epochs": 1, "ex_post": "none", "aggressive": 1.0, "validation_fraction": 0}
    short = {**settings, "batch_size": 32}  # six steps an epoch: none is the tenth
    texts = TEXTS[:192]
    vae = VAE(**short).fit(texts)
    start = VAE(**{**short, "learning_rate": 1e-12, "aggressive": 0.0}).fit(texts)
    for part, is_same in (("decoder", True), ("encoder", False)):
        pairs = zip(getattr(vae.model_, part).parameters(), getattr(start.model_, part).parameters(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs) == is_same


# Scores of tokens


def test_scores_of_tokens_are_those_of_the_text(fitted: VAE) -> None:
    texts = [TEXTS[0], TEXTS[-1], "the bird likes soup"]
    scores = fitted.score_tokens(texts)
    assert [" ".join(piece for piece, _ in text[:-1]) for text in scores] == [*texts[:2], "the bird <unk> soup"]
    assert [text[-1].piece for text in scores] == [""] * 3
    # one draw of the bound is the reconstruction term less what the divergence is there
    with torch.no_grad():
        x = fitted.schema_.to_model(fitted.schema_.encode(texts))
        q = fitted.model_.encode(x)
        rebuilt = fitted.model_.decode(q.rsample(500)).log_prob(x).mean(0)
    found = fitted.score_tokens(texts, n_draws=200)
    sums = [sum(nats for _, nats in text) for text in found]
    np.testing.assert_allclose(sums, rebuilt.numpy(), atol=0.1, rtol=0.05)
    assert all(nats < 0.0 for text in found for _, nats in text)
    assert sums[0] > fitted.score_samples(texts[:1])[0], "z has seen the text"


def test_scores_of_tokens_do_not_depend_on_company(fitted: VAE) -> None:
    texts = [*TEXTS[:5], TEXTS[-1]]
    together, turned = fitted.score_tokens(texts), fitted.score_tokens(texts[::-1])[::-1]
    for place, text in enumerate(texts):
        [alone] = fitted.score_tokens([text])
        for other in (together[place], turned[place]):
            assert [piece for piece, _ in other] == [piece for piece, _ in alone]
            np.testing.assert_allclose([n for _, n in other], [n for _, n in alone], rtol=1e-4, atol=1e-5)


def test_an_odd_token_is_the_least_probable_one(fitted: VAE) -> None:
    [text] = fitted.score_tokens(["the soup is big"])
    assert min(text, key=lambda token: token.log_prob).piece == "soup"


def test_cut_texts_have_no_end() -> None:
    vae = VAE(**{**SMALL, "max_epochs": 1, "ex_post": "none", "max_length": 3}).fit(TEXTS)
    scores = vae.score_tokens(["the cat is big", "the cat"])
    assert [[piece for piece, _ in text] for text in scores] == [["the", "cat", "is"], ["the", "cat", ""]]


def test_numbers_have_no_tokens() -> None:
    of_rows = VAE(max_epochs=1, latent_dim=1).fit(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.raises(UnsupportedOperationError, match="have no tokens"):
        of_rows.score_tokens(np.zeros((1, 2)))
