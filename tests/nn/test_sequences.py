"""Every network over texts: padding changes nothing, and a text is written as it is scored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import TokenCodes
from latentkit.nn import (
    SequenceDecoder,
    SequenceEncoder,
    TokenDecoder,
    TokenEncoder,
    TransformerDecoder,
    TransformerEncoder,
    build_decoder,
    build_encoder,
    last_layer,
    networks,
)

CODES = TokenCodes(9, 6)
X = torch.tensor([[3, 4, 8, 0, 0], [7, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
OF_TEXTS = [name for name in networks if networks[name].of_texts]
KINDS = [(name, widths) for name in OF_TEXTS for widths in ((8,), (8, 8))]
each = pytest.mark.parametrize(("name", "widths"), KINDS)


def _encoder(name: str, widths: tuple[int, ...] = (8,), n_given: int = 0) -> TokenEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(name, (CODES.max_length + n_given,), 4, tokens=CODES, widths=widths, dropout=0.5).eval()
    assert isinstance(encoder, TokenEncoder)
    return _stirred(encoder)


def _decoder(name: str, widths: tuple[int, ...] = (8,)) -> TokenDecoder:
    torch.manual_seed(0)
    decoder = build_decoder(name, 3, (1, CODES.max_length), tokens=CODES, widths=widths, dropout=0.5).eval()
    assert isinstance(decoder, TokenDecoder)
    return _stirred(decoder)


def _stirred(network: Any) -> Any:
    """A network whose every part matters, as after some training."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def _z(n: int = 4) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1))


@each
def test_the_encoder_does_not_see_the_padding(name: str, widths: tuple[int, ...]) -> None:
    encoder = _encoder(name, widths)
    whole = encoder(X)
    assert whole.shape == (4, 4)
    for row, length in enumerate((4, 2, 1, 5)):
        torch.testing.assert_close(encoder(X[row : row + 1, :length])[0], whole[row])
    garbage = X.clone()
    garbage[1, 2:] = 5
    torch.testing.assert_close(encoder(garbage), whole)


@pytest.mark.parametrize("name", OF_TEXTS)
def test_the_encoder_sees_the_order(name: str) -> None:
    encoder = _encoder(name)
    a, b = encoder(torch.tensor([[1, 2, 0]])), encoder(torch.tensor([[2, 1, 0]]))
    assert not torch.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("name", OF_TEXTS)
def test_what_stands_behind_the_tokens_is_seen(name: str) -> None:
    encoder = _encoder(name, n_given=2)
    given = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    found = encoder(torch.cat([X, given], 1))
    assert found.shape == (4, 4)
    expected = found + (1 - 2 * given) @ encoder.head.weight[:, -2:].T
    torch.testing.assert_close(encoder(torch.cat([X, 1 - given], 1)), expected)


@each
def test_a_walk_gives_what_one_pass_gives(name: str, widths: tuple[int, ...]) -> None:
    decoder, z = _decoder(name, widths), _z()
    found = decoder.log_probs(z, X, X)
    walk = decoder.begin(z)
    for place in range(X.shape[1]):
        log_masses = torch.log_softmax(walk.logits(), -1).gather(1, X[:, place : place + 1]).squeeze(1)
        counts = found[:, place] != 0
        torch.testing.assert_close(found[counts, place], log_masses[counts], rtol=1e-5, atol=1e-5)
        walk.add(X[:, place])
    assert (found != 0).sum(1).tolist() == [4, 2, 1, 5]


@each
def test_padding_and_batches_change_nothing(name: str, widths: tuple[int, ...]) -> None:
    decoder, z = _decoder(name, widths), _z()
    found = decoder.log_probs(z, X, X)
    wider = functional.pad(X[:3], (0, 3))
    torch.testing.assert_close(decoder.log_probs(z[:3], wider, wider)[:, :5], found[:3])
    torch.testing.assert_close(decoder.log_probs(z[1:2], X[1:2, :2], X[1:2, :2])[0], found[1, :2])


@each
def test_a_token_depends_on_those_before_it_alone(name: str, widths: tuple[int, ...]) -> None:
    decoder, z = _decoder(name, widths), _z()
    changed = X.clone()
    changed[3, 3] = 7
    before, after = decoder.log_probs(z, X, X), decoder.log_probs(z, changed, changed)
    torch.testing.assert_close(before[3, :3], after[3, :3])
    assert before[3, 3] != after[3, 3]
    assert before[3, 4] != after[3, 4]
    hidden = decoder.log_probs(z, X, changed)
    torch.testing.assert_close(before[3, :4], hidden[3, :4])
    assert before[3, 4] != hidden[3, 4]


@each
def test_z_is_seen_at_every_place(name: str, widths: tuple[int, ...]) -> None:
    decoder = _decoder(name, widths)
    assert (decoder.log_probs(_z(), X, X) != decoder.log_probs(-_z(), X, X)).sum(1).tolist() == [4, 2, 1, 5]


@each
def test_rows_of_a_walk_may_be_taken(name: str, widths: tuple[int, ...]) -> None:
    decoder, z = _decoder(name, widths), _z()
    walk = decoder.begin(z).add(X[:, 0])
    rows = torch.tensor([2, 0, 0])
    expected = decoder.begin(z[rows]).add(X[rows, 0])
    walk.take(rows)
    torch.testing.assert_close(walk.logits(), expected.logits())
    torch.testing.assert_close(walk.add(X[rows, 1]).logits(), expected.add(X[rows, 1]).logits())


@each
def test_gradients_reach_everything(name: str, widths: tuple[int, ...]) -> None:
    encoder, decoder = _encoder(name, widths).train(), _decoder(name, widths).train()
    (decoder.log_probs(encoder(X)[:, :3], X, X).sum()).backward()
    for part in (encoder, decoder):
        assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in part.parameters())


@pytest.mark.parametrize("name", OF_TEXTS)
def test_training_starts_at_the_frequencies(name: str) -> None:
    decoder, log_frequencies = _decoder(name), torch.tensor([0.1, 0.5, 0.4] + [1e-3] * 6).log()
    decoder.start_at(log_frequencies)
    torch.testing.assert_close(decoder.bias, log_frequencies)
    assert decoder.order.tolist() == [1, 2, 0, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("name", OF_TEXTS)
def test_few_tokens_stand_for_all_while_training(name: str) -> None:
    decoder, z = _decoder(name), _z()
    whole = decoder.log_probs(z, X, X)
    decoder.n_sampled = 6
    torch.testing.assert_close(decoder.log_probs(z, X, X), whole)
    decoder.train()
    for part in decoder.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    assert not torch.allclose(decoder.log_probs(z, X, X), whole)


@pytest.mark.parametrize(
    ("name", "encoder_type", "decoder_type"),
    [
        ("lstm", SequenceEncoder, SequenceDecoder),
        ("gru", SequenceEncoder, SequenceDecoder),
        ("transformer", TransformerEncoder, TransformerDecoder),
    ],
)
def test_they_are_built_by_name(name: str, encoder_type: type, decoder_type: type) -> None:
    encoder = build_encoder(name, (6,), 4, tokens=CODES, n_rows=100)
    decoder = build_decoder(name, 3, (1, 6), tokens=CODES, widths=(8, 8), dropout=0.1)
    assert isinstance(encoder, encoder_type)
    assert isinstance(decoder, decoder_type)
    assert isinstance(encoder, TokenEncoder)
    assert encoder.embedding.embedding_dim == 192
    assert last_layer(decoder) is decoder
    assert decoder(_z()).shape == (4, 1, 3)


@pytest.mark.parametrize("name", OF_TEXTS)
def test_what_none_can_honour_is_refused(name: str) -> None:
    for options, message in (
        ({}, f"'{name}' networks need texts"),
        ({"tokens": CODES, "widths": (8, 16)}, r"Use \(16, 16\)"),
        ({"tokens": CODES, "widths": ()}, r"Use \(256,\)"),
        ({"tokens": CODES, "normalization": "batch"}, "Leave"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            build_decoder(name, 3, (1, 6), **options)
        with pytest.raises(InvalidParameterError, match=message):
            build_encoder(name, (6,), 4, **options)


@pytest.mark.parametrize("options", [{"activation": "relu"}, {"normalization": "layer"}])
def test_what_recurrent_networks_cannot_honour_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="have tanh"):
        build_decoder("lstm", 3, (1, 6), tokens=CODES, **options)


@each
def test_lower_precision(name: str, widths: tuple[int, ...]) -> None:
    encoder, decoder = _encoder(name, widths), _decoder(name, widths)
    exact = decoder.log_probs(_z(), X, X)
    with torch.autocast("cpu", torch.bfloat16):
        features, found = encoder(X), decoder.log_probs(_z(), X, X)
    torch.testing.assert_close(features.float(), encoder(X), atol=0.3, rtol=0.1)
    torch.testing.assert_close(found.float(), exact, atol=0.3, rtol=0.1)
    found.float().sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in decoder.parameters() if weight.grad is not None)
