"""How weights start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from latentkit.core.errors import InvalidParameterError
from latentkit.nn.activations import activations, initialise
from latentkit.nn.convolutional import ResidualBlock


def test_the_registered_names_are_the_documented_ones() -> None:
    assert activations.names() == ("relu", "gelu", "silu", "tanh", "leaky_relu", "elu", "softplus")


@pytest.mark.parametrize("name", activations.names())
def test_activations_equal_the_modules_of_torch(name: str) -> None:
    modules = {
        "relu": nn.ReLU(),
        "gelu": nn.GELU(),
        "silu": nn.SiLU(),
        "tanh": nn.Tanh(),
        "leaky_relu": nn.LeakyReLU(),
        "elu": nn.ELU(),
        "softplus": nn.Softplus(),
    }
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(activations[name].function(x), modules[name](x))


@pytest.mark.parametrize(
    ("activation", "variance"),
    [("relu", 2 / 300), ("silu", 2 / 300), ("tanh", 2 / 500), (None, 2 / 500)],
)
def test_linear_weights_have_the_stated_variance(activation: str | None, variance: float) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 200)
    initialise(layer, activation)
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert layer.weight.abs().max().item() <= math.sqrt(3 * variance)
    assert not layer.bias.any()


def test_scale_multiplies_the_weights() -> None:
    first, second = nn.Linear(30, 20), nn.Linear(30, 20)
    torch.manual_seed(0)
    initialise(first, "relu")
    torch.manual_seed(0)
    initialise(second, "relu", scale=0.1)
    torch.testing.assert_close(second.weight, 0.1 * first.weight)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_strided_convolution_keeps_the_variance_of_its_input(transposed: bool) -> None:
    """With the rule for rectifiers, inputs of second moment 1/2 (a rectified normal) give outputs of variance 1."""
    torch.manual_seed(0)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(64, 64, 4, stride=2, padding=1)
    initialise(layer, "relu")
    y = layer(torch.randn(8, 64, 16, 16).relu())[..., 1:-1, 1:-1]
    assert y.var().item() == pytest.approx(1.0, rel=0.3)


def test_a_residual_block_starts_near_the_identity() -> None:
    torch.manual_seed(0)
    h = torch.randn(4, 32, 8, 8)
    block = ResidualBlock(32)
    change = (block(h) - h).std().item()
    assert 0.01 < change < 0.3


def test_an_unknown_activation_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidParameterError, match=r"unknown activation 'reluu'.*Did you mean 'relu'\?"):
        initialise(nn.Linear(2, 2), "reluu")
