"""Members of an ensemble in one pass, against each of them alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from latentkit.core.seeds import isolated_rng
from latentkit.nn import STEADY_WIDTH, MemberLinear, MemberPerceptron

#: Widths that the steady one does not divide, and those that it does.
WIDTHS = [1, 3, 5, 7, 15, 16, 17, 31, 48, 53]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    with isolated_rng(seed):
        return torch.randn(shape)


def linear(n_inputs: int, n_outputs: int, n_members: int = 3) -> MemberLinear:
    with isolated_rng(1):
        layer = MemberLinear(n_members, n_inputs, n_outputs)
        torch.nn.init.normal_(layer.bias)
        return layer


def alone(layer: MemberLinear, member: int, x: Tensor) -> Tensor:
    return functional.linear(x, layer.weight[member].T, layer.bias[member, 0])


@pytest.mark.parametrize("n_outputs", WIDTHS)
@pytest.mark.parametrize("training", [True, False])
def test_a_member_is_a_linear_layer(n_outputs: int, training: bool) -> None:
    layer, x = linear(6, n_outputs).train(training), drawn(3, 10, 6)
    y = layer(x)
    assert y.shape == (3, 10, n_outputs)
    for member in range(3):
        torch.testing.assert_close(y[member], alone(layer, member, x[member]))


@pytest.mark.parametrize("n_outputs", WIDTHS)
@pytest.mark.parametrize("n_inputs", [1, 5, 16, 33])
@torch.no_grad()
def test_the_place_in_a_batch_does_not_matter_bit_for_bit(n_inputs: int, n_outputs: int) -> None:
    layer, x = linear(n_inputs, n_outputs).eval(), drawn(3, 37, n_inputs)
    y = layer(x)
    order = torch.randperm(37, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(x[:, order]), y[:, order])
    rolled = x.roll(5, dims=1)
    assert torch.equal(layer(rolled), y.roll(5, dims=1))


def test_what_is_filled_up_takes_no_part_in_gradients() -> None:
    layer, x = linear(4, 5), drawn(3, 8, 4)
    gradients = []
    for training in (True, False):
        layer.train(training).zero_grad()
        layer(x).square().sum().backward()
        assert layer.weight.grad is not None
        gradients.append(layer.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_weights_are_of_glorots_size() -> None:
    with isolated_rng(0):
        layer = MemberLinear(4, 200, 100)
    assert float(layer.weight.detach().std()) == pytest.approx((2 / 300) ** 0.5, rel=0.02)
    assert not layer.bias.any()
    assert not torch.equal(layer.weight[0], layer.weight[1]), "members begin in different places"


@pytest.mark.parametrize("training", [True, False])
def test_a_perceptron_is_its_formula(training: bool) -> None:
    with isolated_rng(2):
        net = MemberPerceptron(2, 4, 7, n_linear=3, width=20).train(training)
    x = drawn(2, 9, 4)
    y = net(x)
    for m in range(2):
        h = functional.silu(alone(net.first, m, x[m]))
        expected = alone(net.last, m, h + functional.silu(alone(net.second, m, h)))
        expected[:, :3] += alone(net.straight, m, x[m])
        torch.testing.assert_close(y[m], expected)


@pytest.mark.parametrize(("n_inputs", "n_outputs", "n_linear"), [(3, 6, 3), (11, 5, 5), (2, 35, 17)])
@torch.no_grad()
def test_a_perceptron_does_not_look_at_the_place_in_a_batch(n_inputs: int, n_outputs: int, n_linear: int) -> None:
    with isolated_rng(3):
        net = MemberPerceptron(4, n_inputs, n_outputs, n_linear=n_linear, width=64).eval()
    x = drawn(4, 41, n_inputs)
    order = torch.randperm(41, generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(x[:, order]), net(x)[:, order])


def test_the_steady_width_is_what_scores_rely_on() -> None:
    assert STEADY_WIDTH == 16
