"""Convolutional encoders and decoders."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.seeds import generator
from latentkit.nn import ConvDecoder, ConvEncoder, build_decoder, build_encoder, last_layer
from latentkit.nn.convolutional import MAX_PIXEL_BIASES, ResidualBlock, default_channels, grid_sizes
from latentkit.nn.grids import GridDecoder
from latentkit.nn.ladder import LadderDecoder, LevelSettings, levels_of

UPSAMPLINGS = ("transposed", "nearest")
NORMALIZATIONS = ("none", "batch", "layer", "group")


@settings(max_examples=30, deadline=None)
@given(
    channels=st.integers(1, 4),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    n_parameters=st.integers(1, 3),
    upsampling=st.sampled_from(UPSAMPLINGS),
    residual=st.booleans(),
)
@example(1, 8, 8, 1, "transposed", True)
@example(3, 9, 33, 2, "nearest", True)
@example(1, 28, 20, 1, "transposed", False)
def test_any_size_goes_in_and_comes_out(
    channels: int, height: int, width: int, n_parameters: int, upsampling: str, residual: bool
) -> None:
    event = (channels, height, width)
    stages = tuple(4 * (i + 1) for i in range(len(default_channels(event))))
    encoder = ConvEncoder(event, 6, channels=stages, residual=residual)
    decoder = ConvDecoder(3, (n_parameters, *event), channels=stages, residual=residual, upsampling=upsampling)
    assert encoder(torch.rand(2, *event)).shape == (2, 6)
    assert decoder(torch.randn(2, 3)).shape == (2, n_parameters, *event)


def test_256_by_256_by_default() -> None:
    event = (3, 256, 256)
    with torch.no_grad():
        assert build_encoder("conv", event, 8)(torch.rand(1, *event)).shape == (1, 8)
        assert build_decoder("conv", 4, (2, *event))(torch.randn(1, 4)).shape == (1, 2, *event)


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_any_leading_dimensions(lead: tuple[int, ...]) -> None:
    encoder = ConvEncoder((1, 9, 10), 6, channels=(8, 8)).eval()
    decoder = ConvDecoder(3, (1, 1, 9, 10), channels=(8, 8)).eval()
    assert encoder(torch.rand(*lead, 1, 9, 10)).shape == (*lead, 6)
    assert decoder(torch.randn(*lead, 3)).shape == (*lead, 1, 1, 9, 10)


def test_grids_are_halved_by_rounding_up_until_they_are_small() -> None:
    assert grid_sizes((28, 28), 3) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert grid_sizes((8, 5), 2) == [(8, 5), (4, 3), (4, 3)]
    for height in range(1, 300, 7):
        for width in range(1, 300, 11):
            n_stages = len(default_channels((3, height, width)))
            last = grid_sizes((height, width), n_stages)[-1]
            assert max(last) <= 4
            assert n_stages == 1 or max(grid_sizes((height, width), n_stages - 1)[-1]) > 4


def test_few_examples_get_fewer_channels() -> None:
    assert default_channels((1, 28, 28), n_rows=999) == tuple(
        c // 2 for c in default_channels((1, 28, 28), n_rows=1000)
    )
    assert default_channels((1, 28, 28), n_rows=1000) == default_channels((1, 28, 28))


def multiplications(module: nn.Module, x: torch.Tensor) -> int:
    """Products in the linear layers and convolutions for one example, counted as they run."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            total += layer.weight.numel()
        elif isinstance(layer, nn.ConvTranspose2d):
            total += layer.weight.numel() * inputs[0][0, 0].numel()
        elif isinstance(layer, nn.Conv2d):
            total += layer.weight.numel() * output[0, 0].numel()

    handles = [part.register_forward_hook(count) for part in module.modules()]
    module(x)
    for handle in handles:
        handle.remove()
    return total


def test_the_default_net_for_digits_stays_cheap() -> None:
    """Less than 8 million products forward, where the usual 128-256-512-1024 net takes 187 million."""
    encoder, decoder = build_encoder("auto", (1, 28, 28), 32), build_decoder("auto", 16, (1, 1, 28, 28))
    cost = multiplications(encoder, torch.rand(1, 1, 28, 28)) + multiplications(decoder, torch.randn(1, 16))
    assert 1_000_000 < cost < 8_000_000


def test_the_encoder_centres_its_input() -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 12, 12), 4, channels=(8,), normalization="none", residual=False)
    seen: list[torch.Tensor] = []
    encoder.stages[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    encoder(torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 12, 12))
    assert seen[0].amin(dim=(1, 2, 3)).tolist() == seen[0].amax(dim=(1, 2, 3)).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_the_gradient_reaches_every_parameter(upsampling: str, normalization: str, residual: bool) -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 13, 9), 6, channels=(8, 16), normalization=normalization, residual=residual)
    decoder = ConvDecoder(
        6, (2, 1, 13, 9), channels=(8, 16), normalization=normalization, residual=residual, upsampling=upsampling
    )
    # Weights of random sign: a sum of squares would not move what a later batch normalisation takes out again.
    y = decoder(encoder(torch.rand(16, 1, 13, 9)))
    (y.sin() * torch.randn_like(y)).sum().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_rows_are_independent_in_evaluation(normalization: str) -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 11, 12), 6, channels=(8, 16), normalization=normalization, dropout=0.3)
    decoder = ConvDecoder(6, (1, 3, 11, 12), channels=(8, 16), normalization=normalization, dropout=0.3)
    x = torch.rand(6, 3, 11, 12)
    decoder(encoder(x))  # moves the statistics of a batch normalisation
    encoder.eval(), decoder.eval()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    with torch.no_grad():
        y = decoder(encoder(x))
        torch.testing.assert_close(decoder(encoder(x[order])), y[order])
        torch.testing.assert_close(decoder(encoder(x[2:3])), y[2:3])


def test_dropout_acts_in_training_only() -> None:
    encoder = ConvEncoder((1, 8, 8), 6, channels=(8,), dropout=0.5)
    x = torch.rand(2, 1, 8, 8)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_no_checkerboard_a_constant_grid_stays_constant_inside(upsampling: str) -> None:
    """All weights equal and a constant grid: every output away from the border must be the same number."""
    decoder = ConvDecoder(2, (1, 1, 16, 16), channels=(4,), normalization="none", residual=False, upsampling=upsampling)
    layer = decoder.to_image.convolution
    with torch.no_grad():
        layer.weight.fill_(1.0)
        image = decoder.to_image(torch.ones(1, 4, 8, 8))[0, 0, 2:-2, 2:-2]
    assert image.unique().numel() == 1
    assert image[0, 0] > 0


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_residual_block_is_its_formula(activation: str) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(16, activation=activation, normalization="group")
    h = torch.randn(2, 16, 5, 6)
    act = {"relu": torch.relu, "tanh": torch.tanh}[activation]
    inner = nn.functional.conv2d(
        act(nn.functional.group_norm(h, 2)), block.spatial.weight, block.spatial.bias, padding=1
    )
    expected = h + nn.functional.conv2d(act(inner), block.pointwise.weight, block.pointwise.bias)
    torch.testing.assert_close(block(h), expected)


def test_the_decoder_hands_its_grid_on_with_channels_last_in_memory() -> None:
    decoder = ConvDecoder(6, (1, 1, 12, 12), channels=(8, 16))
    seen: list[torch.Tensor] = []
    decoder.stages[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    decoder(torch.randn(3, 6))
    assert seen[0].shape == (3, 16, 3, 3)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_memory_format_changes_nothing() -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder((3, 12, 12), 6, channels=(8, 16))
    decoder = ConvDecoder(6, (1, 3, 12, 12), channels=(8, 16))
    x = torch.rand(4, 3, 12, 12)
    expected = decoder(encoder(x))
    encoder.to(memory_format=torch.channels_last)
    decoder.to(memory_format=torch.channels_last)
    result = decoder(encoder(x.contiguous(memory_format=torch.channels_last)))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_double_precision_and_bf16_autocast() -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder((1, 12, 12), 6, channels=(8, 16))
    decoder = ConvDecoder(6, (1, 1, 12, 12), channels=(8, 16))
    x = torch.rand(4, 1, 12, 12)
    expected = decoder(encoder(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = decoder(encoder(x))
        result.float().sum().backward()
    torch.testing.assert_close(result.float(), expected, rtol=0.1, atol=0.1)
    exact = decoder.double()(encoder.double()(x.double()))
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, rtol=1e-4, atol=1e-5)


def test_aligned_images_get_a_bias_per_pixel_and_large_ones_per_channel() -> None:
    small = last_layer(ConvDecoder(2, (2, 1, 9, 9), channels=(4,)))
    large = last_layer(ConvDecoder(2, (1, 2, 256, 256), channels=(4,)))
    assert small is not None
    assert small.bias.shape == (2, 9, 9)
    assert large is not None
    assert large.bias.shape == (2, 1, 1)
    assert MAX_PIXEL_BIASES < 2 * 256 * 256


def test_the_bias_of_the_last_layer_is_added_to_the_output() -> None:
    decoder = ConvDecoder(2, (2, 1, 9, 9), channels=(4,))
    layer = last_layer(decoder)
    assert layer is not None
    z = torch.randn(3, 2)
    before = decoder(z)
    bias = torch.randn(2, 9, 9)
    with torch.no_grad():
        layer.bias.copy_(bias)
    torch.testing.assert_close(decoder(z) - before, bias.reshape(2, 1, 9, 9).expand(3, -1, -1, -1, -1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": ()}, r"channels must have at least one entry, one per stage; got \(\)"),
        ({"channels": (8, -1)}, r"channels\[1\] must be an integer of at least 1; got -1"),
        ({"activation": "silou"}, r"unknown activation 'silou'.*Did you mean 'silu'\?"),
        ({"normalization": "groups"}, r"normalization must be one of.*Did you mean 'group'\?"),
        ({"dropout": -0.1}, r"dropout must be a float in \[0, 1\); got -0.1"),
    ],
)
def test_wrong_options(arguments: dict[str, object], message: str) -> None:
    given_arguments = {"channels": (8,), **arguments}
    with pytest.raises(InvalidParameterError, match=message):
        ConvEncoder((1, 8, 8), 2, **given_arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match=message):
        ConvDecoder(2, (1, 1, 8, 8), **given_arguments)  # type: ignore[arg-type]


def test_wrong_shapes_and_upsampling() -> None:
    with pytest.raises(
        InvalidParameterError, match=r"needs images, event_shape \(channels, height, width\); got \(8,\)"
    ):
        ConvEncoder((8,), 2, channels=(8,))
    with pytest.raises(InvalidParameterError, match=r"output_shape must be \(n_parameters, channels, height, width\)"):
        ConvDecoder(2, (1, 8, 8), channels=(8,))
    with pytest.raises(InvalidParameterError, match=r"upsampling must be one of: .*Did you mean 'nearest'\?"):
        ConvDecoder(2, (1, 1, 8, 8), channels=(8,), upsampling="neares")


@pytest.mark.parametrize("kind", ["vector", "grid", "ladder"])
def test_a_decoder_starts_close_to_its_bias(kind: str) -> None:
    shape = (2, 1, 28, 28)
    if kind == "vector":
        images = ConvDecoder(4, shape, channels=(8, 16))(torch.randn(50, 4, generator=generator(0, "start")))
    elif kind == "grid":
        images = GridDecoder(3, shape, channels=(8, 16))(torch.randn(50, 49 * 3, generator=generator(0, "start")))
    else:
        levels = levels_of((8, 16), (1, 28, 28), on_grids=True)
        ladder = LadderDecoder(levels, (3, 2), shape, LevelSettings(normalization="group"))
        images = ladder.finish(torch.randn(50, 8, 14, 14, generator=generator(0, "start")))
    assert 0 < images.std() < 0.15  # all biases are 0 before there are data
