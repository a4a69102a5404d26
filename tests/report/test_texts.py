"""Reports of models of texts."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from latentkit import VAE
from latentkit.data import Dataset
from latentkit.evaluation import words_of
from latentkit.report import write_report
from latentkit.report.marking import LONGEST, differing, readable
from latentkit.report.subject import Subject
from tests.report.cases import HOSTILE, fitted_to_texts
from tests.report.test_writing import Strict, check

SECTIONS = [
    *("training", "texts", "samples", "classes", "reconstructions", "interpolations", "traversals", "dimensions"),
    *("meaning", "map", "figures", "quality", "unlikely", "configuration", "methods"),
]
#: What other kinds of data have, and texts have not.
FOREIGN = (" pixels", "images", "features", "1 column", "columns that", "Per dimension", "rows of", "nats per row")


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1e8)
    monkeypatch.setattr("latentkit.report.subject.N_OWN_TEXTS", 30)


@pytest.fixture(scope="module")
def page(text_model: VAE, texts: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1e8)
        patch.setattr("latentkit.report.subject.N_OWN_TEXTS", 30)
        patch.setattr("latentkit.report.latent.TSNE_POINTS", 40)
        folder = tmp_path_factory.mktemp("texts")
        return write_report(text_model, folder / "report.html", data=texts, plots=folder / "plots")


def own(found: Strict) -> str:
    """The text of a page without the settings."""
    text = "".join(found.text)
    return text[: text.index("Settings that were given")] + text[text.index("How each figure was computed") :]


def test_the_page_shows_what_applies_to_texts_and_nothing_else(page: Path) -> None:
    text = own(check(page, SECTIONS))
    assert not [words for words in FOREIGN if words in text]
    assert "latentkit report RUN DATA" not in text
    for words in ("What a VAE learnt from animals.txt", "Temperature 0.7", "held-out texts", "Perplexity of a word"):
        assert words in text
    for words in ("bits a byte", "mutual information", "active dimensions", "most frequent", "from row ", "120 texts"):
        assert words in text
    assert {plot.stem for plot in (page.parent / "plots").iterdir()} >= {"lengths", "map-pca", "map-tsne"}


def test_texts_are_text(page: Path) -> None:
    found, raw = check(page, SECTIONS), page.read_text(encoding="utf-8")
    assert "<script" not in raw
    assert "<b>odd" not in raw
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", raw)
    text = "".join(found.text)
    for words in (
        HOSTILE,
        "a␛[31mred␀�␡␉end",
        "\u202eשלום עולם\u202e abc",
        "我爱北京天安门",
        "</title></svg><p>",
        "<b>odd</b>",
    ):
        assert words in text
    paragraphs = [attributes for tag, attributes in found.tags if tag == "p" and "dir" in attributes]
    assert paragraphs
    assert all(attributes == {"lang": "", "dir": "auto"} for attributes in paragraphs)


def test_every_point_of_the_map_has_its_text(page: Path, texts: Dataset, text_model: VAE) -> None:
    raw = page.read_text(encoding="utf-8")
    charts = re.findall(r'<svg class="chart".*?</svg>', raw, flags=re.DOTALL)
    (components,) = [chart for chart in charts if "map-pca-points-0" in chart]
    titles = ["".join(Strict(title).text) for title in re.findall(r"<title>.*?</title>", components, flags=re.DOTALL)]
    subject = Subject(text_model, texts)
    assert subject.sample is not None
    order = np.argsort(subject.sample.labels, kind="stable")  # classes are drawn one after the other
    assert titles == [readable(texts.data[subject.sample.rows[row]], 120) for row in order]
    assert re.search(r"<use [^>]*><title>", components)


def test_equal_models_give_equal_pages(page: Path, texts: Dataset, text_model: VAE, tmp_path: Path) -> None:
    text_model.save(tmp_path / "run")
    from latentkit import load

    again = write_report(load(tmp_path / "run"), tmp_path / "again.html", data=texts)
    assert again.read_bytes() == page.read_bytes()


def test_without_data_and_without_labels(texts: Dataset, tmp_path: Path) -> None:
    model = fitted_to_texts(texts, labels=False, vocabulary="words", ex_post="none")
    text = own(check(write_report(model, tmp_path / "report.html"), SECTIONS))
    assert text.count("latentkit report RUN DATA") >= 6
    assert "fitted without labels" in text
    assert "Ranked by texts of the model itself" in text
    assert "blanks and unknown words change" in text
    assert "from the prior" in text


@pytest.mark.slow
def test_other_data_have_no_figures_of_quality(texts: Dataset, text_model: VAE, tmp_path: Path) -> None:
    few = Dataset(["one text", "", "x" * 2000], "few.txt", "text")  # in a list, without labels
    text = own(check(write_report(text_model, tmp_path / "report.html", data=few), SECTIONS))
    assert "These figures take the texts of the fit" in text
    assert "(empty)" in text
    assert "With labels, the points would be coloured" in text


@pytest.mark.slow
def test_a_model_given_classes(texts: Dataset, tmp_path: Path) -> None:
    names = np.asarray(texts.label_names)[texts.labels]
    model = VAE(2, encoder=(16,), decoder=(16,), max_epochs=1, random_state=0).fit(texts.data, condition=names)
    text = own(check(write_report(model, tmp_path / "report.html"), SECTIONS))
    assert "given the class as the condition" in text


def test_figures_are_those_of_the_estimator(texts: Dataset, text_model: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1.0)  # so that some texts are scored
    pd = pytest.importorskip("pandas")
    shuffled = pd.Series(list(texts.data), index=np.arange(len(texts.data))[::-1])  # rows count, not their names
    subject = Subject(text_model, replace(texts, data=shuffled))
    assert subject.sample is not None
    places, n_importance = subject.scored
    chosen = [texts.data[row] for row in subject.sample.rows[places]]
    nats = -text_model.score_samples(chosen, n_importance=n_importance).sum()
    n_words = sum(len(words_of(text)) + 1 for text in chosen)
    assert subject.perplexity.per_word == pytest.approx(math.exp(nats / n_words), rel=1e-5)
    np.testing.assert_allclose(subject.posterior[0].numpy(), text_model.transform(texts.data), atol=1e-5)
    assert subject.own_texts == list(text_model.sample(30, random_state=subject.seed_of("own texts")))
    again = subject.texts(subject.decode(subject.posterior[0][:9]))
    assert again == list(text_model.reconstruct(texts.data[:9]))


@pytest.mark.parametrize(
    ("text", "other", "marked"),
    [
        ("the cat is big", "the dog is big", ["cat"]),
        ("the cat is big", "the cat is big", []),
        ("a new cat is", "cat is", ["a new"]),
        ("我爱北京", "我爱上海", ["北京"]),
        ("", "a", ["(empty)"]),
        ("a  b c", "x", ["a  b c"]),
    ],
)
def test_words_that_differ_are_marked(text: str, other: str, marked: list[str]) -> None:
    pieces = differing(text, other)
    assert [piece.text for piece in pieces if piece.is_marked] == marked
    assert "".join(piece.text for piece in pieces) == readable(text)
    assert all(first.is_marked != second.is_marked for first, second in pairwise(pieces))


def test_long_texts_are_cut_at_a_blank() -> None:
    words = "word " * 200
    assert len(readable(words)) <= LONGEST
    assert readable(words).endswith("word …")
    assert readable("x" * LONGEST) == "x" * LONGEST
    assert readable("x" * 400) == f"{'x' * (LONGEST - 1)}…"


def test_scored_texts_follow_from_the_cost(texts: Dataset, text_model: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", math.inf)
    assert len(Subject(text_model, texts).scored[0]) == len(texts.data)
    monkeypatch.setattr("latentkit.report.subject.LIKELIHOOD_BUDGET", 1.0)
    places, n_importance = Subject(text_model, texts).scored
    assert (len(places), n_importance) == (24, 4)
    assert torch.equal(torch.from_numpy(places), torch.from_numpy(places).sort().values)
