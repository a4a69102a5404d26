"""Recurrent networks over texts: padding changes nothing, and a text is written as it is scored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import TokenCodes
from latentkit.nn import SequenceDecoder, SequenceEncoder, build_decoder, build_encoder, last_layer

CODES = TokenCodes(9, 6)
X = torch.tensor([[3, 4, 8, 0, 0], [7, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
KINDS = [("lstm", (8,)), ("gru", (8,)), ("lstm", (8, 8))]


def _decoder(cell: Any = "lstm", widths: tuple[int, ...] = (8,)) -> SequenceDecoder:
    torch.manual_seed(0)
    decoder = SequenceDecoder(CODES, 3, cell=cell, widths=widths, dropout=0.5).eval()
    torch.nn.init.normal_(decoder.embedding.weight)
    return decoder


def _z(n: int = 4) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("cell", "widths"), KINDS)
def test_the_encoder_does_not_see_the_padding(cell: Any, widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(CODES, 4, cell=cell, widths=widths, dropout=0.5).eval()
    whole = encoder(X)
    assert whole.shape == (4, 4)
    for row, length in enumerate((4, 2, 1, 5)):
        torch.testing.assert_close(encoder(X[row : row + 1, :length])[0], whole[row])
    garbage = X.clone()
    garbage[1, 2:] = 5
    torch.testing.assert_close(encoder(garbage), whole)


def test_the_encoder_sees_the_order_in_both_directions() -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(CODES, 4, widths=(8,)).eval()
    a, b = encoder(torch.tensor([[1, 2, 0]])), encoder(torch.tensor([[2, 1, 0]]))
    assert not torch.allclose(a, b)


def test_what_stands_behind_the_tokens_is_seen() -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(CODES, 4, widths=(8,), n_given=2).eval()
    given = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    found = encoder(torch.cat([X, given], 1))
    assert found.shape == (4, 4)
    assert not torch.allclose(found, encoder(torch.cat([X, 1 - given], 1)))


@pytest.mark.parametrize(("cell", "widths"), KINDS)
def test_a_walk_gives_what_one_pass_gives(cell: Any, widths: tuple[int, ...]) -> None:
    decoder, z = _decoder(cell, widths), _z()
    found = decoder.log_probs(z, X, X)
    walk = decoder.begin(z)
    for place in range(X.shape[1]):
        log_masses = torch.log_softmax(walk.logits(), -1).gather(1, X[:, place : place + 1]).squeeze(1)
        counts = found[:, place] != 0
        torch.testing.assert_close(found[counts, place], log_masses[counts])
        walk.add(X[:, place])
    assert (found != 0).sum(1).tolist() == [4, 2, 1, 5]


def test_padding_and_batches_change_nothing() -> None:
    decoder, z = _decoder(), _z()
    found = decoder.log_probs(z, X, X)
    wider = functional.pad(X[:3], (0, 3))
    torch.testing.assert_close(decoder.log_probs(z[:3], wider, wider)[:, :5], found[:3])
    torch.testing.assert_close(decoder.log_probs(z[1:2], X[1:2, :2], X[1:2, :2])[0], found[1, :2])


def test_a_token_depends_on_those_before_it_alone() -> None:
    decoder, z = _decoder(), _z()
    changed = X.clone()
    changed[3, 3] = 7
    before, after = decoder.log_probs(z, X, X), decoder.log_probs(z, changed, changed)
    torch.testing.assert_close(before[3, :3], after[3, :3])
    assert before[3, 4] != after[3, 4]


def test_z_is_seen_at_every_place() -> None:
    decoder = _decoder()
    assert (decoder.log_probs(_z(), X, X) != decoder.log_probs(-_z(), X, X)).sum(1).tolist() == [4, 2, 1, 5]


def test_rows_of_a_walk_may_be_taken() -> None:
    for cell in ("lstm", "gru"):
        decoder, z = _decoder(cell), _z()
        walk = decoder.begin(z).add(X[:, 0])
        rows = torch.tensor([2, 0, 0])
        expected = decoder.begin(z[rows]).add(X[rows, 0])
        walk.take(rows)
        torch.testing.assert_close(walk.logits(), expected.logits())
        torch.testing.assert_close(walk.add(X[rows, 1]).logits(), expected.add(X[rows, 1]).logits())


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_they_are_built_by_name(name: str) -> None:
    encoder = build_encoder(name, (6,), 4, tokens=CODES, n_rows=100)
    decoder = build_decoder(name, 3, (1, 6), tokens=CODES, widths=(8, 8), dropout=0.1)
    assert isinstance(encoder, SequenceEncoder)
    assert isinstance(decoder, SequenceDecoder)
    assert encoder.embedding.embedding_dim == 192
    assert last_layer(decoder) is decoder
    assert decoder(_z()).shape == (4, 1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "need texts"),
        ({"tokens": CODES, "activation": "relu"}, "have tanh"),
        ({"tokens": CODES, "normalization": "layer"}, "have tanh"),
        ({"tokens": CODES, "widths": (8, 16)}, r"Use \(16, 16\)"),
    ],
)
def test_what_they_cannot_honour_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build_decoder("lstm", 3, (1, 6), **options)
