"""Vocabularies: what goes in comes out, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentkit.core.errors import DataError, InvalidParameterError
from latentkit.data.text import Subwords, Words, vocabularies

CORPUS = ["the cat sat on the mat.", "the dog sat on the log.", "汽车销量 上升", "a\tb", "  two  blanks  "] * 8
ODD = [
    "",
    "\0",
    "a\0b",
    "\u2581x \u2581",
    "\r\n",
    "a\nb",
    "\ufeff",
    "\u2028",
    "😀𐍈",
    "  ",
    "N <unk> </s> <s>",
    "\x1b[31m",
]


@pytest.fixture(scope="module")
def subwords() -> Subwords:
    return Subwords.learn(CORPUS)


@pytest.mark.parametrize("text", [*CORPUS[:5], *ODD])
def test_every_text_comes_back(subwords: Subwords, text: str) -> None:
    (tokens,) = subwords.encode([text])
    assert subwords.decode(tokens) == text
    assert 0 not in tokens


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",))), max_size=3))
def test_texts_of_any_kind_come_back(texts: list[str]) -> None:
    subwords = Subwords.learn(CORPUS[:2])
    assert [subwords.decode(tokens) for tokens in subwords.encode(texts)] == texts


def test_frequent_words_are_one_piece(subwords: Subwords) -> None:
    (tokens,) = subwords.encode(["the cat"])
    assert subwords.pieces(tokens) == ["the", " cat"]
    assert subwords.pieces(subwords.encode(["狗"])[0]) == ["<E7>", "<8B>", "<97>"]


def test_broken_bytes_are_shown_as_such(subwords: Subwords) -> None:
    (tokens,) = subwords.encode(["狗"])
    assert subwords.decode(tokens[:2]) == "\ufffd"


def test_the_same_texts_give_the_same_pieces() -> None:
    assert Subwords.learn(CORPUS).model == Subwords.learn(list(CORPUS)).model


@pytest.mark.parametrize("n_tokens", [262, 270, 290])
def test_no_more_tokens_than_asked_for(n_tokens: int) -> None:
    assert Subwords.learn(CORPUS, n_tokens).n_tokens <= n_tokens


@pytest.mark.parametrize("corpus", [["a"], ["\0", " "], ["\u2581"], ["x" * 5000] * 2, ["a\nb\r\nc"] * 2])
def test_the_oddest_corpora(corpus: list[str]) -> None:
    subwords = Subwords.learn(corpus)
    assert [subwords.decode(tokens) for tokens in subwords.encode(corpus)] == corpus


def test_a_corpus_without_characters_is_refused() -> None:
    with pytest.raises(DataError, match="no character"):
        Subwords.learn(["", ""])


@pytest.mark.parametrize("model", [b"", b"\0" * 40, b"no model"])
def test_what_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(DataError, match="vocabulary is"):
        Subwords(model)


def test_words_of_published_corpora() -> None:
    words = Words.learn(["a b a", "b a <unk> c"])
    assert words.words == ("a", "b", "<unk>", "c")
    assert words.n_tokens == 5
    assert words.decode(words.encode(["  c d\ta "])[0]) == "c <unk> a"


@pytest.mark.parametrize(
    ("n_tokens", "words"), [(3, ("a", "<unk>")), (4, ("a", "b", "<unk>")), (9, ("a", "b", "<unk>", "c"))]
)
def test_rare_words_are_unknown(n_tokens: int, words: tuple[str, ...]) -> None:
    assert Words.learn(["a b a", "b a <unk> c"], n_tokens).words == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a",), "'<unk>' is not among"),
        (("a", "a", "<unk>"), "'a' is there twice"),
        (("a b", "<unk>"), "'a b' is empty"),
    ],
)
def test_words_that_are_none_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Words(words)


@pytest.mark.parametrize("name", list(vocabularies))
def test_a_description_makes_it_again(name: str) -> None:
    learnt = vocabularies[name].learn(CORPUS, None)
    description = json.loads(json.dumps(learnt.describe()))
    assert description["type"] == learnt.name == name
    again = vocabularies[name].restore(description)
    assert again.n_tokens == learnt.n_tokens
    assert again.encode(CORPUS) == learnt.encode(CORPUS)
