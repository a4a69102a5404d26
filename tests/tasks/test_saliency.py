"""Which parts of an example a latent dimension looks at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import DiagonalGaussian
from latentkit.tasks import exchange_effects, integrated_gradients, latent_gradients


class Encoding:
    """A model of which only the encoder is asked: the mean is a function of x."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def encode(self, x: Tensor) -> DiagonalGaussian:
        mean = self.function(x)
        return DiagonalGaussian(mean, torch.zeros_like(mean))


def test_the_gradient_of_a_linear_encoder_is_its_weight_matrix() -> None:
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    found = latent_gradients(Encoding(lambda x: x @ weight.T), torch.randn(4, 5), [2, 0])  # type: ignore[arg-type]
    torch.testing.assert_close(found, weight[[2, 0]][:, None].expand(2, 4, 5))


def test_integrated_gradients_add_up_to_the_difference() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)).double()
    x, baseline = torch.randn(6, 4).double(), torch.randn(4).double()
    model: Any = Encoding(network)
    found = integrated_gradients(model, x, [0, 1], baseline=baseline, steps=200)
    with torch.no_grad():
        expected = (network(x) - network(baseline[None])).T
    torch.testing.assert_close(found.sum(-1), expected, rtol=0, atol=1e-4)


def test_integrated_gradients_of_a_linear_encoder_are_exact_in_one_step() -> None:
    weight, x, baseline = torch.randn(2, 3), torch.randn(5, 3), torch.randn(3)
    model: Any = Encoding(lambda x: x @ weight.T)
    found = integrated_gradients(model, x, [1], baseline=baseline, steps=1)
    torch.testing.assert_close(found[0], (x - baseline) * weight[1])


def test_exchanging_what_the_encoder_ignores_changes_nothing() -> None:
    x, donors = torch.arange(12.0).reshape(4, 3), torch.arange(12.0).reshape(4, 3).flip(0)
    moved = exchange_effects(lambda rows: rows[:, :2] * torch.tensor([1.0, 10.0]), x, donors, [[0], [1], [2], [0, 1]])
    assert moved.shape == (4, 4, 2)
    assert not moved[2].any()
    torch.testing.assert_close(moved[0, :, 0], x[:, 0] - donors[:, 0])
    torch.testing.assert_close(moved[1, :, 1], 10.0 * (x[:, 1] - donors[:, 1]))
    torch.testing.assert_close(moved[3], moved[0] + moved[1])


def test_the_gradients_of_the_model_are_left_alone() -> None:
    network = torch.nn.Linear(3, 2)
    model: Any = Encoding(network)
    with torch.no_grad():
        latent_gradients(model, torch.randn(2, 3), [0])
    assert network.weight.grad is None


def test_what_cannot_be_asked_is_refused() -> None:
    model: Any = Encoding(lambda x: x)
    codes: Any = Encoding(lambda x: (x > 0).float())
    x = torch.randn(2, 3)
    with pytest.raises(InvalidParameterError, match=r"has 3 latent dimensions"):
        latent_gradients(model, x, [3])
    with pytest.raises(InvalidParameterError, match="at least 1 latent dimension"):
        latent_gradients(model, x, [])
    with pytest.raises(InvalidParameterError, match="no gradient"):
        latent_gradients(codes, x, [0])
    with pytest.raises(InvalidParameterError, match="shape of one example"):
        integrated_gradients(model, x, [0], baseline=torch.zeros(2))
    with pytest.raises(InvalidParameterError, match="must both have shape"):
        exchange_effects(lambda rows: rows, x, x[:1], [[0]])
    with pytest.raises(InvalidParameterError, match="none of them empty"):
        exchange_effects(lambda rows: rows, x, x, [[0], []])
