"""The fused perceptron is the plain one: the same values, gradients and second derivatives."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from latentkit.nn import MLP
from latentkit.nn.fused import FUSABLE, can_fuse, fused_perceptron


def layers(sizes: list[int], dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
    random = torch.Generator().manual_seed(0)
    pairs = list(itertools.pairwise(sizes))
    weights = [torch.randn(b, a, generator=random, dtype=dtype).requires_grad_() for a, b in pairs]
    biases = [torch.randn(b, generator=random, dtype=dtype).requires_grad_() for _, b in pairs]
    return weights, biases


def plain(x: Tensor, weights: list[Tensor], biases: list[Tensor], activation: str) -> Tensor:
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = nn.functional.linear(x, weight, bias)
        if i < len(weights) - 1:
            x = getattr(torch, activation)(x)
    return x


@pytest.mark.parametrize("activation", FUSABLE)
@pytest.mark.parametrize("sizes", [[3, 5], [3, 5, 4], [3, 7, 6, 2]])
def test_values_and_gradients_of_both_orders(activation: str, sizes: list[int]) -> None:
    weights, biases = layers(sizes)
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def function(x: Tensor, *parameters: Tensor) -> Tensor:
        return fused_perceptron(x, parameters[0::2], parameters[1::2], activation=activation)

    parameters = [p for pair in zip(weights, biases, strict=True) for p in pair]
    torch.testing.assert_close(function(x, *parameters), plain(x, weights, biases, activation))
    assert torch.autograd.gradcheck(function, (x, *parameters))
    assert torch.autograd.gradgradcheck(function, (x, *parameters))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("activation", FUSABLE)
def test_a_network_learns_the_same_with_and_without(activation: str, autocast: bool, monkeypatch) -> None:
    torch.manual_seed(0)
    network = MLP((20,), (6,), widths=(16, 16), activation=activation)
    x = torch.randn(32, 20)
    gradients = []
    for fused in (True, False):
        monkeypatch.setattr(network, "_is_fusable", fused)
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y = network(x)
        assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
        y.float().square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2 if autocast else 1e-5, atol=2e-1 if autocast else 1e-5)


def test_only_eager_training_on_a_cpu_is_fused() -> None:
    x = torch.zeros(2, 3)
    assert can_fuse(x, "relu")
    assert not can_fuse(x, "gelu")
    with torch.no_grad():
        assert not can_fuse(x, "relu")
    seen = []
    torch.func.vmap(lambda row: seen.append(can_fuse(row, "relu")) or row)(x)
    assert seen == [False]


def test_weights_changed_between_the_passes_are_an_error() -> None:
    weights, biases = layers([3, 4, 2], torch.float32)
    y = fused_perceptron(torch.randn(5, 3), weights, biases, activation="relu").sum()
    with torch.no_grad():
        weights[1].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_the_gradient_into_x_is_left_out_where_nobody_wants_it() -> None:
    weights, biases = layers([3, 4, 2], torch.float32)
    x = torch.randn(5, 3)
    fused_perceptron(x, weights, biases, activation="tanh").sum().backward()
    assert x.grad is None
    assert weights[0].grad is not None
