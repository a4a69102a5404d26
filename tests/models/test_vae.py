"""The plain wiring: shapes with any leading dimensions, and a start at the data's mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentkit.distributions import DiagonalGaussian, GaussianMixturePrior, StandardNormal
from latentkit.models import VaeSpecification, VariationalAutoencoder, WithPrior

MLP: dict[str, Any] = {"network": "mlp", "widths": [16]}
CONV: dict[str, Any] = {"network": "conv", "channels": [8, 8]}
LINEAR: dict[str, Any] = {"network": "mlp", "widths": []}


def build(network: dict[str, Any], event_shape: tuple[int, ...], likelihood: str = "gaussian", **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (
            VaeSpecification(
                event_shape=event_shape,
                latent_dim=3,
                encoder=network,
                decoder=network,
                likelihood=likelihood,
                likelihood_options=options,
            )
            .build()
            .eval()
        )


CASES = [
    (MLP, (5,), "gaussian"),
    (MLP, (5,), "bernoulli"),
    (MLP, (1, 8, 8), "discretized_logistic"),
    (CONV, (3, 8, 8), "gaussian"),
    (CONV, (1, 9, 12), "bernoulli"),
    (CONV, (1, 8, 8), "discretized_logistic"),
]


@pytest.mark.parametrize(("network", "event_shape", "likelihood"), CASES)
@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 4), (2, 1, 4), (2, 0)])
def test_leading_dimensions_are_decoded_as_if_they_were_flat(
    network: dict[str, Any], event_shape: tuple[int, ...], likelihood: str, lead: tuple[int, ...]
) -> None:
    model = build(network, event_shape, likelihood)
    z = torch.randn(*lead, 3, generator=torch.Generator().manual_seed(1))
    x = torch.rand(*lead, *event_shape, generator=torch.Generator().manual_seed(2))
    if likelihood == "discretized_logistic":
        x = (x * 255).round() / 255
    with torch.no_grad():
        whole = model.decode(z)
        assert whole.mean.shape == (*lead, *event_shape)
        assert whole.log_prob(x).shape == lead
        flat = model.decode(z.reshape(-1, 3))
        torch.testing.assert_close(whole.mean.reshape(-1, *event_shape), flat.mean)
        torch.testing.assert_close(
            whole.log_prob(x).reshape(-1), flat.log_prob(x.reshape(-1, *event_shape)), rtol=1e-4, atol=1e-3
        )


def test_examples_do_not_touch_each_other() -> None:
    model = build(CONV, (1, 8, 8))
    x = torch.rand(6, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(x)[2:4], model(x[2:4]), rtol=1e-4, atol=1e-5)


def test_a_forward_pass_is_the_reconstruction_through_the_posterior_mean() -> None:
    model = build(MLP, (5,))
    x = torch.randn(4, 5)
    with torch.no_grad():
        assert isinstance(model.encode(x), DiagonalGaussian)
        assert isinstance(model.prior(), StandardNormal)
        assert torch.equal(model(x), model.decode(model.encode(x).mean).mean)


def bright(n: int, *event: int) -> Tensor:
    """Examples whose features have means of their own, in (0, 1)."""
    random = torch.Generator().manual_seed(3)
    centre = torch.rand(event, generator=random) * 0.6 + 0.2
    return (centre + 0.1 * torch.randn(n, *event, generator=random)).clamp(0.01, 0.99)


def test_a_multilayer_perceptron_starts_at_the_mean_of_every_feature() -> None:
    x = bright(500, 5)
    model = build(LINEAR, (5,), "gaussian", variance="feature")
    model.initialise_output(x)
    with torch.no_grad():
        at_zero = model.decode(torch.zeros(1, 3))
    torch.testing.assert_close(at_zero.mean[0], x.mean(0))
    torch.testing.assert_close(at_zero.stddev[0], x.std(0, correction=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "discretized_logistic"])
def test_a_convolution_starts_at_the_mean_image(likelihood: str) -> None:
    x = bright(200, 1, 8, 8)
    if likelihood == "bernoulli":
        x = (x > torch.rand(x.shape, generator=torch.Generator().manual_seed(4))).float()
    model = build(CONV, (1, 8, 8), likelihood)
    before = (model(x).mean(0) - x.mean(0)).abs().mean()
    model.initialise_output(x)
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            if name.endswith("weight"):
                parameter.zero_()  # what is left depends on the last bias alone
        start = model.decode(torch.zeros(1, 3)).mean[0]
    error = (start - x.mean(0)).abs().mean()
    assert error < 0.5 * before
    assert error < 0.15


def test_a_better_start_is_a_better_bound() -> None:
    x = bright(200, 1, 8, 8) * 0.2
    model = build(CONV, (1, 8, 8), "bernoulli")
    with torch.no_grad():
        before = model.decode(torch.zeros(200, 3)).log_prob((x > 0.1).float()).mean()
        model.initialise_output((x > 0.1).float())
        assert model.decode(torch.zeros(200, 3)).log_prob((x > 0.1).float()).mean() > before


def test_the_start_needs_no_gradient_and_no_randomness() -> None:
    model = build(MLP, (5,))
    state = torch.random.get_rng_state()
    model.initialise_output(bright(20, 5))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_decoder_of_the_users_own_starts_as_it_came() -> None:
    own = nn.Linear(3, 5)
    choice = {"network": "custom"}
    spec = VaeSpecification(event_shape=(5,), latent_dim=3, encoder=MLP, decoder=choice)
    model = spec.build(decoder=own)
    model.initialise_output(bright(20, 5) + 3.0)
    assert torch.equal(model.decoder.body.bias, own.bias)


def test_another_prior_changes_the_prior_alone() -> None:
    model = build(MLP, (5,))
    mixture = GaussianMixturePrior(torch.ones(1), torch.ones(1, 3), torch.eye(3)[None])
    other = WithPrior(model, mixture)
    x = torch.randn(4, 5)
    with torch.no_grad():
        assert torch.equal(other.encode(x).mean, model.encode(x).mean)
        assert torch.equal(other.decode(x[:, :3]).mean, model.decode(x[:, :3]).mean)
        z = torch.zeros(1, 3)
        torch.testing.assert_close(other.prior().log_prob(z), model.prior().log_prob(z - 1.0))


def test_it_is_one_module_whose_state_is_whole() -> None:
    model, twin = build(MLP, (5,)), build(MLP, (5,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    twin.load_state_dict(model.state_dict())
    x = torch.randn(4, 5)
    assert isinstance(model, VariationalAutoencoder)
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
        assert torch.equal(model.decode(x[:, :3]).log_prob(x), twin.decode(x[:, :3]).log_prob(x))
