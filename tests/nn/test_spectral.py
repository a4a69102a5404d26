"""Spectral normalisation: the norm, what it survives, and what it limits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from latentkit.core import seeds
from latentkit.nn import build_decoder, normalize_spectrally

LAYERS = [
    nn.Linear(5, 7),
    nn.Linear(7, 5, bias=False),
    nn.Conv1d(3, 4, 3),
    nn.Conv2d(3, 4, 3),
    nn.Conv3d(2, 3, 2),
    nn.ConvTranspose1d(3, 4, 2),
    nn.ConvTranspose2d(3, 4, 4, stride=2),
    nn.ConvTranspose3d(3, 2, 2),
]


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, "spectral"))


def norm(layer: nn.Module) -> torch.Tensor:
    transposed = type(layer).__name__.startswith("ParametrizedConvTranspose")
    return torch.linalg.matrix_norm(layer.weight.movedim(1 if transposed else 0, 0).flatten(1), 2)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_the_norm_is_one(layer) -> None:
    before = layer.weight.detach().clone()
    made = normalize_spectrally(copy.deepcopy(layer)).eval()
    torch.testing.assert_close(norm(made), torch.tensor(1.0))
    ratio = before / made.weight
    torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio))  # the same weight, scaled


def test_power_iterations_follow_the_weights_of_a_training() -> None:
    network = normalize_spectrally(nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    x, y = numbers(64, 6), 10 * numbers(64, 3)
    for _ in range(100):
        optimizer.zero_grad()
        (network(x) - y).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(norm(network[0]), torch.tensor(1.0), rtol=0.1, atol=0.0)
    slope = (network(x[:32]) - network(x[32:])).norm(dim=1) / (x[:32] - x[32:]).norm(dim=1)
    assert (slope <= 1.1).all()  # a composition of maps that stretch nothing


def test_evaluation_changes_nothing_and_needs_no_history() -> None:
    network = normalize_spectrally(build_decoder((8,), 3, (1, 5)))
    network.eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    expected = network(numbers(4, 3))
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    for module in network.modules():
        if hasattr(module, "left"):
            module.left.fill_(0.5)  # as stale as it can be
    torch.testing.assert_close(network(numbers(4, 3)), expected, rtol=0, atol=0)


def test_states_load_and_copies_are_equal() -> None:
    network = normalize_spectrally(build_decoder("conv", 3, (1, 1, 8, 8), channels=(4, 8))).eval()
    other = normalize_spectrally(build_decoder("conv", 3, (1, 1, 8, 8), channels=(4, 8))).eval()
    z = numbers(4, 3)
    assert not torch.equal(network(z), other(z))
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(network(z), other(z), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(network)(z), other(z), rtol=0, atol=0)


def test_two_passes_before_a_gradient() -> None:
    layer = normalize_spectrally(nn.Linear(3, 4))
    (layer(numbers(2, 3)).sum() + layer(numbers(2, 3)).square().sum()).backward()
    assert layer.parametrizations.weight.original.grad.isfinite().all()


def test_scale_does_not_matter() -> None:
    layer = nn.Linear(3, 4, bias=False)
    large = copy.deepcopy(layer)
    with torch.no_grad():
        large.weight.mul_(1000.0)
    x = numbers(2, 3)
    torch.testing.assert_close(normalize_spectrally(layer).eval()(x), normalize_spectrally(large).eval()(x))
