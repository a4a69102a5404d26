"""From a specification to a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.nn import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    NetworkOptions,
    build_decoder,
    build_encoder,
    last_layer,
    networks,
)

EVENTS = [(5,), (1, 12, 9), (3, 8, 8)]


#: Networks over tables and texts need the codes of their columns or tokens; they have tests of their own.
OF_PIXELS = [name for name in networks if not (networks[name].of_tables or networks[name].of_texts)]


@pytest.mark.parametrize("name", OF_PIXELS)
@pytest.mark.parametrize("event", EVENTS[1:])
def test_every_registered_network_fulfils_the_contract(name: str, event: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    encoder, decoder = build_encoder(name, event, 6), build_decoder(name, 6, (2, *event))
    x = torch.rand(4, *event)
    h = encoder(x)
    y = decoder(h)
    assert h.shape == (4, 6)
    assert y.shape == (4, 2, *event)
    (y * torch.randn_like(y)).sum().backward()
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        assert parameter.grad is not None
        assert bool(parameter.grad.any())
    encoder.eval(), decoder.eval()
    torch.testing.assert_close(decoder(encoder(x.flip(0))), decoder(encoder(x)).flip(0))
    layer = last_layer(decoder)
    assert layer is not None
    assert layer.bias.requires_grad


@pytest.mark.parametrize("name", OF_PIXELS)
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    def weights() -> list[Tensor]:
        torch.manual_seed(3)
        return list(build_decoder(name, 2, (1, 1, 8, 8)).parameters())

    first, second = weights(), weights()
    assert len(first) > 0
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("event", "encoder", "decoder"),
    [
        ((30,), MLP, MLP),
        ((1, 28, 28), ConvEncoder, ConvDecoder),
        ((3, 8, 9), ConvEncoder, ConvDecoder),
        ((1, 7, 100), MLP, MLP),
    ],
)
def test_auto(event: tuple[int, ...], encoder: type, decoder: type) -> None:
    assert type(build_encoder("auto", event, 4)) is encoder
    assert type(build_decoder("auto", 2, (1, *event))) is decoder


@pytest.mark.parametrize("widths", [(500, 500), [500, 500]])
def test_widths_as_specification(widths: Any) -> None:
    encoder, decoder = build_encoder(widths, (1, 28, 28), 40), build_decoder(widths, 20, (1, 1, 28, 28))
    assert isinstance(encoder, MLP)
    assert isinstance(decoder, MLP)
    assert encoder.is_plain
    assert encoder.widths == decoder.widths == (500, 500)
    assert sum(p.numel() for p in encoder.parameters()) + sum(p.numel() for p in decoder.parameters()) == 1_316_824


def test_default_widths_follow_the_features_not_the_likelihood() -> None:
    decoder = build_decoder("auto", 2, (30, 40))
    assert isinstance(decoder, MLP)
    assert decoder.widths == (80, 80)


def test_options_reach_the_networks() -> None:
    mlp = build_encoder(
        "mlp", (8,), 2, widths=(9, 9), activation="tanh", normalization="batch", dropout=0.2, residual=True
    )
    assert isinstance(mlp, MLP)
    assert (mlp.widths, mlp.activation, mlp.normalization, mlp.dropout.p, mlp.residual) == (
        (9, 9),
        "tanh",
        "batch",
        0.2,
        True,
    )
    conv = build_decoder(
        "conv", 2, (1, 1, 8, 8), channels=(4, 8), activation="elu", normalization="batch", residual=False
    )
    assert isinstance(conv, ConvDecoder)
    assert conv.channels == (4, 8)
    assert conv.activation == "elu"
    assert any(isinstance(part, nn.BatchNorm2d) for part in conv.modules())
    nearest = build_decoder("conv", 2, (1, 1, 8, 8), upsampling="nearest")
    assert not any(isinstance(part, nn.ConvTranspose2d) for part in nearest.modules())
    few = build_encoder("auto", (1, 28, 28), 4, n_rows=100)
    assert isinstance(few, ConvEncoder)
    assert few.channels == (12, 24, 48)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("mpl", {}, rf"unknown network 'mpl'; choose one of: {', '.join(networks)}. Did you mean 'mlp'\?"),
        (
            500,
            {},
            rf"must be 'auto', one of: {', '.join(networks)}, a tuple of hidden widths such as \(500, .*; got 500",
        ),
        (nn.Linear, {}, r"an object, not a class"),
        ((5, 0), {}, r"widths\[1\] must be an integer of at least 1; got 0"),
        ((5, 5), {"widths": (3,)}, r"given twice: \(5, 5\) and widths=\(3,\)"),
        ("mlp", {"channels": (3,)}, r"channels belongs to a convolutional network"),
        ("conv", {"widths": (3,)}, r"widths belongs to a multilayer perceptron"),
        ("mlp", {"activation": "reul"}, r"unknown activation 'reul'.*Did you mean 'relu'\?"),
        ("mlp", {"normalization": "bacth"}, r"normalization must be one of: auto, none.*Did you mean 'batch'\?"),
        ("mlp", {"dropout": 1}, r"dropout must be a float in \[0, 1\)"),
        ("mlp", {"residual": "yes"}, r"residual must be True, False or 'auto'; got 'yes'"),
        ("mlp", {"n_rows": 0}, r"n_rows must be an integer of at least 1"),
        ("mlp", {"widths": "wide"}, r"widths must be a list or tuple"),
    ],
)
def test_wrong_specifications(spec: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        build_encoder(spec, (1, 8, 8), 4, **options)
    with pytest.raises(InvalidParameterError, match=message):
        build_decoder(spec, 4, (1, 1, 8, 8), **options)


def test_wrong_shapes() -> None:
    with pytest.raises(InvalidParameterError, match=r"Use 'mlp' for rows"):
        build_encoder("conv", (8,), 4)
    with pytest.raises(InvalidParameterError, match=r"Use 'mlp' for rows"):
        build_decoder("conv", 4, (1, 8))
    with pytest.raises(InvalidParameterError, match=r"output_shape must be \(n_parameters, \*event\)"):
        build_decoder("mlp", 4, (8,))
    with pytest.raises(InvalidParameterError, match=r"latent_dim must be an integer of at least 1; got 0"):
        build_decoder("mlp", 0, (1, 8))
    with pytest.raises(InvalidParameterError, match=r"n_outputs must be an integer of at least 1; got 0"):
        build_encoder("mlp", (8,), 0)
    with pytest.raises(InvalidParameterError, match=r"upsampling belongs to a convolutional network"):
        build_decoder("mlp", 4, (1, 8), upsampling="nearest")
    with pytest.raises(InvalidParameterError, match=r"upsampling must be one of"):
        NetworkOptions(upsampling="bilinear")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from the compiler itself
@pytest.mark.parametrize("name", OF_PIXELS)
def test_compiled_networks_agree(name: str) -> None:
    torch.manual_seed(0)
    encoder, decoder = build_encoder(name, (1, 9, 8), 4).eval(), build_decoder(name, 4, (1, 1, 9, 8)).eval()
    x = torch.rand(3, 1, 9, 8)
    compiled = torch.compile(nn.Sequential(encoder, decoder), fullgraph=True)
    torch.testing.assert_close(compiled(x), decoder(encoder(x)), rtol=1e-4, atol=1e-5)
