"""Transformers over texts: what a place sees, and how far apart places are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import TokenCodes
from latentkit.nn import TransformerDecoder, TransformerEncoder, build_decoder, build_encoder

CODES = TokenCodes(9, 6)


def _z(n: int = 4) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(1))


def test_a_block_is_that_of_torch() -> None:
    """Without turns, and with equal weights, a block is torch's own layer with the norm in front."""
    torch.manual_seed(0)
    encoder = TransformerEncoder(CODES, 4, widths=(128,)).eval()
    block: Any = encoder.blocks.layers[0]
    oracle = torch.nn.TransformerEncoderLayer(128, 2, 512, 0.0, "gelu", batch_first=True, norm_first=True).eval()
    pairs: Any = [
        (oracle.self_attn.out_proj, block.mix),
        (oracle.linear1, block.widen),
        (oracle.linear2, block.narrow),
    ]
    with torch.no_grad():
        oracle.self_attn.in_proj_weight.copy_(block.project.weight)
        oracle.self_attn.in_proj_bias.copy_(block.project.bias.normal_())
        for theirs, ours in pairs:
            theirs.weight.copy_(ours.weight.normal_(0.0, 0.2))
            theirs.bias.copy_(ours.bias.normal_(0.0, 0.2))
    h = torch.randn(3, 5, 128)
    unturned = torch.ones(5, 32), torch.zeros(5, 32)
    visible = torch.ones(5, 5, dtype=torch.bool).tril()
    torch.testing.assert_close(block(h, visible, None, unturned)[0], oracle(h, ~visible), rtol=1e-4, atol=1e-4)


def test_attention_depends_on_how_far_apart_places_are() -> None:
    """A text of one token, repeated, in a window that may start anywhere: the blocks give the same states there."""
    torch.manual_seed(0)
    decoder = TransformerDecoder(CODES, 3, widths=(64, 64)).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    h = torch.randn(2, 6, 64)
    visible = torch.ones(6, 6, dtype=torch.bool).tril()
    near, _ = decoder.blocks(h, visible, start=0)
    far, _ = decoder.blocks(h, visible, start=40)
    torch.testing.assert_close(near, far, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(near, decoder.blocks(h.flip(1), visible, start=0)[0].flip(1), atol=1e-2)


def test_order_is_seen_by_places_alone() -> None:
    """The encoder's blocks see every place, so that only turning tells the order of tokens."""
    torch.manual_seed(0)
    encoder = TransformerEncoder(CODES, 4, widths=(8,)).eval()
    for layer in encoder.blocks.layers:
        torch.nn.init.normal_(layer.mix.weight)
    a, b = (encoder(torch.tensor([row])) for row in ([1, 2, 3, 0], [3, 1, 2, 0]))
    assert (a - b).abs().max() > 1e-3


def test_z_is_memory_of_every_block() -> None:
    torch.manual_seed(0)
    decoder = TransformerDecoder(CODES, 3, widths=(8, 8)).eval()
    x = torch.tensor([[1, 2, 0]])
    torch.nn.init.zeros_(decoder.latent_map.weight)
    for layer in decoder.blocks.layers:
        torch.nn.init.normal_(layer.mix.weight)
    assert not torch.allclose(decoder.log_probs(_z(1), x, x), decoder.log_probs(-_z(1), x, x))
    first = decoder._first(_z(4))
    assert [tuple(part.shape) for part in first] == [(2, 4, 1, 1, 8)] * 2


def test_texts_may_be_longer_than_those_that_were_seen() -> None:
    decoder = TransformerDecoder(CODES, 3, widths=(8,)).eval()
    x = functional.pad(torch.ones(2, 20, dtype=torch.long), (0, 1))
    assert (decoder.log_probs(_z(2), x, x) < 0).all()


@pytest.mark.parametrize("width", [8, 64, 192])
def test_units_are_shared_out_among_heads(width: int) -> None:
    decoder = build_decoder("transformer", 3, (1, 6), tokens=CODES, widths=(width,))
    assert isinstance(decoder, TransformerDecoder)
    assert decoder.blocks.n_heads == max(1, width // 64)


@pytest.mark.parametrize(("width", "use"), [(100, 128), (200, 192), (65, 64), (7, 8)])
def test_units_that_cannot_be_shared_out(width: int, use: int) -> None:
    with pytest.raises(InvalidParameterError, match=f"got {width}. Use {use}"):
        build_encoder("transformer", (6,), 4, tokens=CODES, widths=(width, width))
