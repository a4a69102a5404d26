"""Figures of texts beside their floors: bad generators are found, each by the figure that is for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np
import pytest

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.evaluation import Figure, TextQuality, language_model, text_quality
from tests.evaluation.test_reports import is_worse

NOUNS, VERBS = ["cat", "dog", "bird", "horse", "cow", "hen"], ["sat", "ran", "slept", "ate"]
PLACES = ["here", "there", "home", "away"]


def real(n: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [
        f"the {random.choice(NOUNS)} and the {random.choice(NOUNS)} {random.choice(VERBS)} {random.choice(PLACES)} and "
        f"{random.choice(VERBS)} {random.choice(PLACES)}"
        for _ in range(n)
    ]


TRAIN, FRESH = real(200, 0), real(150, 1)


def shuffled(texts: list[str]) -> list[str]:
    random = np.random.default_rng(3)
    return [" ".join(random.permutation(text.split())) for text in texts]


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_model, "_WIDTH", 16)
        patch.setattr(language_model, "_BUDGET", 12_000)
        patch.setattr(language_model, "_LEARNING_RATE", 2e-2)
        yield


def measure(samples: list[str]) -> TextQuality:
    return text_quality(samples, train=TRAIN, held_out=FRESH)


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        (lambda texts: TRAIN[:150], ["copied texts", "longest copied run"]),
        (shuffled, ["forward perplexity, word", "reverse perplexity, word", "reverse bits, byte"]),
        (lambda texts: texts[:3] * 50, ["distinct-1", "distinct-3", "self-BLEU", "reverse perplexity, word"]),
        (lambda texts: [""] * 150, ["distinct-2", "self-BLEU", "forward bits, byte", "reverse bits, byte"]),
    ],
)
def test_bad_texts_are_found(bad: Callable[[list[str]], list[str]], names: list[str], honest: TextQuality) -> None:
    good = {figure.name: figure for figure in honest.figures}
    poor = {figure.name: figure for figure in measure(bad(real(150, 2))).figures}
    for name in names:
        assert is_worse(poor[name], good[name].value), name
        assert poor[name].floor == good[name].floor


@pytest.fixture(scope="module", name="honest")
def _honest() -> TextQuality:
    return measure(real(150, 2))


def test_new_texts_of_the_same_kind_are_near_the_floor(honest: TextQuality) -> None:
    for figure in honest.figures:
        assert math.isfinite(figure.value)
        assert abs(figure.value - figure.floor) < 0.1 * abs(figure.floor) + 0.05, str(figure)
    assert measure(real(150, 2)) == honest


def test_recited_texts_have_a_copy_rate_of_one() -> None:
    found = measure(TRAIN)
    assert [found.whole_copies.value, found.mostly_copied.value, found.longest_run.value] == [1.0, 1.0, 1.0]
    assert found.whole_copies.floor < 0.1


def test_every_figure_is_told(honest: TextQuality) -> None:
    held = [value for field in fields(honest) for value in np.ravel(getattr(honest, field.name)).tolist()]
    assert held == list(honest.figures)
    assert len({figure.name for figure in held}) == len(held)
    assert [name for name, _ in honest.summary()] == list(honest.to_dict()) == [figure.name for figure in held]
    told = honest.to_dict()["copied texts"]
    assert Figure(**told) == honest.whole_copies
    assert all(
        f"real texts {figure.floor:.4g}" in text for figure, (_, text) in zip(held, honest.summary(), strict=True)
    )


def test_sets_are_of_one_size() -> None:
    found = text_quality(real(60, 2), train=TRAIN, held_out=FRESH[:20], max_texts=40)
    assert found.distinct[0].computed_with == "20 samples and as many held-out texts"
    assert "20 samples and 20 held-out texts among 200 of training" in found.whole_copies.computed_with
    assert "passes over 40 texts, seed 0, real ones" in found.forward_perplexity.computed_with
    assert "passes over 40 texts, seed 0, samples" in found.reverse_bits.computed_with


def test_what_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match=r"at least 10 texts each; got .*'held_out': 9"):
        text_quality(TRAIN, train=TRAIN, held_out=FRESH[:9])
    with pytest.raises(DataError, match="row 1 .* holds 3"):
        text_quality(["a", 3], train=TRAIN, held_out=FRESH)  # type: ignore[list-item]
    with pytest.raises(InvalidParameterError, match="max_texts must be"):
        text_quality(TRAIN, train=TRAIN, held_out=FRESH, max_texts=9)
