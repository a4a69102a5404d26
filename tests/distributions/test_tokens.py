"""Texts: every law against all the texts that there are."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import RowGenerator, generator
from latentkit.core.tokens import TokenCodes, reached
from latentkit.distributions import Drawing, Tokens, TokensLikelihood
from latentkit.distributions.likelihood.utf8 import Utf8
from latentkit.nn import SequenceDecoder

N_TOKENS, LENGTH = 3, 4


def _all_texts() -> Tensor:
    """Every text of up to LENGTH tokens, once."""
    every = torch.tensor(list(itertools.product(range(N_TOKENS), repeat=LENGTH)))
    return torch.unique(every * reached(every), dim=0)


ALL = _all_texts()


def _family(**options: Any) -> TokensLikelihood:
    torch.manual_seed(0)
    family = TokensLikelihood((LENGTH,), n_tokens=N_TOKENS, **options)
    decoder = SequenceDecoder(TokenCodes(N_TOKENS, LENGTH), 2, widths=(6,))
    torch.nn.init.normal_(decoder.embedding.weight)
    torch.nn.init.normal_(decoder.recurrent.weight_ih_l0)
    family.look_at(decoder.eval())
    return family.eval()


def _texts(z: Tensor, **options: Any) -> Tokens:
    return _family(**options)(z.unsqueeze(-2))


Z = torch.tensor([[0.5, -1.0], [2.0, 1.0]])


def test_the_probabilities_of_all_texts_sum_to_one() -> None:
    assert len(ALL) == 1 + 2 + 4 + 8 + 16
    masses = _texts(Z[:, None]).log_prob(ALL[None]).exp()
    assert masses.shape == (2, len(ALL))
    torch.testing.assert_close(masses.sum(1), torch.ones(2))


def test_places_add_up_and_masks_leave_out() -> None:
    texts = _texts(Z[:1])
    by_place = texts.log_prob_tokens(ALL)
    torch.testing.assert_close(by_place.sum(-1), texts.log_prob(ALL))
    assert ((by_place != 0) == reached(ALL)).all()
    mask = torch.arange(LENGTH) < 2
    torch.testing.assert_close(texts.log_prob(ALL, mask.expand(len(ALL), -1)), by_place[:, :2].sum(-1))


def test_draws_have_their_probabilities() -> None:
    n = 20_000
    drawn = _texts(Z[:1]).sample(n, generator=generator(0))[:, 0]
    counts = (drawn[:, None] == ALL).all(-1).float().sum(0)
    assert counts.sum() == n
    expected = n * _texts(Z[:1]).log_prob(ALL).exp()
    assert ((counts - expected).abs() < 5 * expected.sqrt() + 1).all()


def test_the_mode_takes_the_most_probable_token_each_time() -> None:
    family = _family()
    texts = family(Z.unsqueeze(-2))
    mode = texts.mode
    assert mode.shape == (2, LENGTH)
    assert torch.equal(texts.mean, mode)
    assert torch.equal(mode, texts.drawn(Drawing(top_k=1), generator=generator(3)))
    for row in range(2):
        walk = family._context[0].begin(Z[row : row + 1])
        for token in mode[row][: int(reached(mode[row]).sum())]:
            assert walk.logits().argmax() == token
            walk.add(token[None])


def test_shapes_and_broadcasting() -> None:
    texts = _texts(torch.randn(5, 2, 2))
    assert texts.sample(3).shape == (3, 5, 2, LENGTH)
    assert texts.log_prob(ALL[:2]).shape == (5, 2)
    assert texts.log_prob(ALL[:2, :1]).shape == (5, 2)


def test_what_a_row_draws_does_not_depend_on_its_batch() -> None:
    keys = torch.tensor([5, 6])
    both = _texts(Z).sample(generator=RowGenerator(keys, row_dim=0))
    alone = _texts(Z[1:]).sample(generator=RowGenerator(keys[1:], row_dim=0))
    assert torch.equal(both[1:], alone)


def test_hidden_words_are_those_of_training_alone() -> None:
    family = _family(word_dropout=1.0, unknown=2)
    texts = ALL[-1:].clone()
    judged = family(Z[:1].unsqueeze(-2)).log_prob(texts)
    torch.testing.assert_close(judged, _texts(Z[:1]).log_prob(texts))
    family.train()
    trained = family(Z[:1].unsqueeze(-2)).log_prob_tokens(torch.tensor([[1, 1, 2, 0]]))
    context: Any = family._context[0]
    expected = context.log_probs(Z[:1], torch.tensor([[1, 1, 2, 0]]), torch.tensor([[2, 2, 2, 0]]))
    torch.testing.assert_close(trained, expected)


LOGITS = torch.log(torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]]))


@pytest.mark.parametrize(
    ("options", "masses"),
    [
        ({}, [[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]]),
        (
            {"temperature": 0.5},
            [[0.25 / 0.34, 0.04 / 0.34, 0.04 / 0.34, 0.01 / 0.34], [0.01 / 0.52] * 3 + [0.49 / 0.52]],
        ),
        ({"temperature": 0.0}, [[1.0, 0, 0, 0], [0, 0, 0, 1.0]]),
        ({"top_k": 1}, [[1.0, 0, 0, 0], [0, 0, 0, 1.0]]),
        ({"top_k": 9}, [[0.5, 0.2, 0.2, 0.1], [0.1, 0.1, 0.1, 0.7]]),
        ({"top_p": 0.6}, [[0.5 / 0.7, 0.2 / 0.7, 0.0, 0], [0, 0, 0, 1.0]]),
        ({"top_p": 1e-9}, [[1.0, 0, 0, 0], [0, 0, 0, 1.0]]),
    ],
)
def test_ways_to_choose_a_token(options: dict[str, Any], masses: list[list[float]]) -> None:
    torch.testing.assert_close(Drawing(**options).masses(LOGITS), torch.tensor(masses))


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_ways_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(options))):
        Drawing(**options)


def test_initial_parameters_are_the_frequencies() -> None:
    start = _family().initial_parameters(torch.tensor([[1, 1, 0, 0], [2, 0, 0, 0]])).exp()
    torch.testing.assert_close(start, torch.tensor([[3.0, 3.0, 2.0]]) / 8)


@pytest.mark.parametrize("options", [{"word_dropout": 1.5}, {"unknown": 0}, {"unknown": 3}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match=next(iter(options))):
        _family(**options)
    with pytest.raises(InvalidParameterError, match="one of texts"):
        TokensLikelihood((1, 4, 4), n_tokens=3)


# Tokens that are bytes


#: What characters begin with: one byte, or two.
BEGINNINGS = {chr(code).encode()[:n] for code in range(0x110000) if not 0xD800 <= code < 0xE000 for n in (1, 2)}


def test_bytes_follow_each_other_as_in_utf8() -> None:
    utf8, start = Utf8(260, 2), torch.zeros(1, dtype=torch.long)
    is_ruled_out = utf8.is_ruled_out(start, 9)[0]
    assert is_ruled_out.tolist() == [False] * 2 + [bytes([byte]) not in BEGINNINGS for byte in range(256)] + [False] * 2
    for first in range(0x80, 256):
        if bytes([first]) not in BEGINNINGS:
            continue
        is_ruled_out = utf8.is_ruled_out(utf8.after(start, torch.tensor([2 + first])), 9)[0]
        within = [bytes([first, byte]) not in BEGINNINGS for byte in range(256)]
        assert is_ruled_out.tolist() == [True] * 2 + within + [True] * 2


def test_characters_that_have_no_room_are_not_begun() -> None:
    utf8, starts = Utf8(260, 2), torch.zeros(4, dtype=torch.long)
    ruled_out = utf8.is_ruled_out(starts, torch.tensor([0, 1, 2, 3]))
    longest = [
        max(n for n, byte in ((1, 0x41), (2, 0xC3), (3, 0xE4), (4, 0xF0)) if not row[2 + byte]) for row in ruled_out
    ]
    assert longest == [1, 2, 3, 4]
    with pytest.raises(InvalidParameterError, match="do not fit into 257 tokens"):
        Utf8(257, 2)


@pytest.mark.parametrize("way", ["sample", "mode", "beams"])
def test_texts_of_bytes_are_utf8(way: str) -> None:
    torch.manual_seed(0)
    family = TokensLikelihood((7,), n_tokens=262, first_byte=2)
    decoder = SequenceDecoder(TokenCodes(262, 7), 2, widths=(6,))
    torch.nn.init.normal_(decoder.embedding.weight, std=2.0)
    decoder.bias.data[:194] -= 6.0  # the others are parts of characters, or pieces
    decoder.bias.data[0] -= 50.0
    family.look_at(decoder.eval())
    texts = family.eval()(torch.randn(40, 1, 2))
    drawn = {"sample": lambda: texts.sample(20, generator=generator(0)).flatten(0, 1), "mode": lambda: texts.mode}
    found = drawn.get(way, lambda: texts.likeliest(3))()
    n_bytes = 0
    for row in found.tolist():
        pieces = [bytes([token - 2]) if 2 <= token < 258 else b"ab" for token in row[: [*row, 0].index(0)]]
        assert b"".join(pieces).decode() is not None
        n_bytes += sum(len(piece) == 1 for piece in pieces)
    assert n_bytes > len(found)
