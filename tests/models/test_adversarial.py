"""Generators and discriminators: what they give, what they refuse, and what they see of a condition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.models import (
    Discriminator,
    GanSpecification,
    VaeGanSpecification,
    specification_from_dict,
)

MLP: dict[str, Any] = {"network": "mlp", "widths": [8]}
CONV: dict[str, Any] = {"network": "conv", "channels": [8], "normalization": "none"}
SHAPES = [(MLP, (5,)), (CONV, (1, 8, 8))]


def gan(network: dict[str, Any] = MLP, event_shape: tuple[int, ...] = (5,), **options: Any) -> Any:
    torch.manual_seed(0)
    return GanSpecification(
        **{
            "event_shape": event_shape,
            "latent_dim": 3,
            "decoder": network,
            "discriminator": network,
            "likelihood": "bernoulli",
            **options,
        }
    )


def vaegan(**options: Any) -> Any:
    torch.manual_seed(0)
    return VaeGanSpecification(
        **{
            "event_shape": (5,),
            "latent_dim": 3,
            "encoder": MLP,
            "decoder": MLP,
            "discriminator": MLP,
            "likelihood": "gaussian",
            **options,
        }
    )


@pytest.mark.parametrize(("network", "event_shape"), SHAPES)
def test_a_generator_gives_one_example_for_each_latent_vector(network: Any, event_shape: Any) -> None:
    model = gan(network, event_shape).build().eval()
    made = model.decode(torch.randn(4, 7, 3))
    assert made.mean.shape == (4, 7, *event_shape)
    assert bool(((made.mean >= 0) & (made.mean <= 1)).all())
    assert torch.equal(made.sample(), made.mean)
    assert torch.equal(made.mode, made.mean)
    assert made.sample(2).shape == (2, 4, 7, *event_shape)
    assert model.discriminator(made.mean[0]).shape == (7,)


def test_what_a_gan_does_not_have_is_refused() -> None:
    model = gan().build()
    with pytest.raises(UnsupportedOperationError, match="no likelihood.*VAEGAN"):
        model.decode(torch.zeros(2, 3)).log_prob(torch.zeros(2, 5))
    with pytest.raises(UnsupportedOperationError, match="no encoder.*VAEGAN"):
        model.encode(torch.zeros(2, 5))
    with pytest.raises(UnsupportedOperationError, match="fitted without conditions"):
        model.given(torch.zeros(1, 2))


def test_a_verdict_is_a_linear_function_of_rectified_features() -> None:
    discriminator = Discriminator(nn.Linear(5, 4), 4)
    x = torch.randn(6, 5)
    features = x @ discriminator.body.weight.T + discriminator.body.bias
    rectified = torch.where(features > 0, features, 0.2 * features)
    expected = rectified @ discriminator.head.weight[0] + discriminator.head.bias
    torch.testing.assert_close(discriminator(x), expected)


@pytest.mark.parametrize(("network", "event_shape"), SHAPES)
def test_spectral_normalisation_brings_the_largest_singular_value_to_one(network: Any, event_shape: Any) -> None:
    model = gan(network, event_shape, spectral_norm=True).build()
    for _ in range(100):
        model.discriminator(torch.rand(2, *event_shape))  # one power iteration each
    model.eval()
    layers = [part for part in model.discriminator.modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    assert len(layers) >= 3
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        torch.testing.assert_close(largest, torch.tensor(1.0), atol=0.02, rtol=0)
    twin = gan(network, event_shape, spectral_norm=True).build()
    twin.load_state_dict(model.state_dict())
    x = torch.rand(4, *event_shape)
    assert torch.equal(twin.eval().discriminator(x), model.discriminator(x))


@pytest.mark.parametrize(("network", "event_shape"), SHAPES)
def test_both_sides_see_the_condition(network: Any, event_shape: Any) -> None:
    model = gan(network, event_shape, condition_dim=2).build().eval()
    z, one, other = torch.randn(4, 3), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    x = model.given(one).decode(z).mean
    assert not torch.allclose(x, model.given(other).decode(z).mean)
    assert not torch.allclose(model.discriminator(x, one), model.discriminator(x, other))
    torch.testing.assert_close(model.discriminator(x, one)[:1], model.discriminator(x[:1], one))
    assert torch.equal(model.discriminator(x), model.discriminator(x, torch.zeros(1, 2)))


def test_batch_normalisation_of_a_discriminator_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="judge an example by the others.*'group'"):
        gan(discriminator={**MLP, "normalization": "batch"}).build()


def test_a_likelihood_of_more_than_means_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="sees the mean .* alone.*likelihood='gaussian'"):
        vaegan(likelihood="discretized_logistic").build()


@pytest.mark.parametrize("specification", [gan(spectral_norm=True), vaegan(condition_dim=2)])
def test_a_specification_survives_its_dictionary(specification: Any) -> None:
    again = specification_from_dict(specification.to_dict())
    assert again == specification
    weights = {name: weight.shape for name, weight in specification.build().state_dict().items()}
    assert {name: weight.shape for name, weight in again.build().state_dict().items()} == weights


def test_a_vaegan_is_an_autoencoder_with_a_judge() -> None:
    model = vaegan(condition_dim=2).build().eval()
    x, condition = torch.randn(4, 5), torch.eye(2).repeat(2, 1)
    posterior = model.given(condition).encode(x)
    assert torch.equal(posterior.mean, model.autoencoder.encode(x, condition).mean)
    assert model.decode(posterior.mean, condition).log_prob(x).shape == (4,)
    assert model.prior().mean.shape == (3,)
