"""Corruption, and the penalties of deterministic autoencoders against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Batch
from latentkit.objectives import Reconstruction, corruptions

DOUBLE = torch.float64


def _normal(*shape: int, key: str = "normal") -> torch.Tensor:
    return torch.randn(*shape, generator=seeds.generator(0, key), dtype=DOUBLE)


@pytest.fixture
def model(linear_gaussian):
    return linear_gaussian(full=False)


@pytest.fixture
def batch() -> Batch:
    return Batch(2 * _normal(8, 5))


@pytest.fixture
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _penalty(model, batch, **options) -> torch.Tensor:
    """What the options take from the objective."""
    terms = Reconstruction(**options)(model, batch, kl_weight=0.3)
    return terms.log_likelihood - terms.objective


def _encoder_jacobian(model) -> torch.Tensor:
    return torch.autograd.functional.jacobian(
        lambda x: model.encode(x.unsqueeze(0)).mean[0], torch.zeros(5, dtype=DOUBLE)
    )


def test_plain_is_the_likelihood_at_the_mean(model, batch) -> None:
    terms = Reconstruction()(model, batch)
    expected = model.decode(model.encode(batch.x).mean).log_prob(batch.x)
    torch.testing.assert_close(terms.objective, expected)
    torch.testing.assert_close(terms.log_likelihood, expected)
    assert (terms.kl == 0).all()


def test_penalties_of_the_code(model, batch) -> None:
    z = model.encode(batch.x).mean
    torch.testing.assert_close(_penalty(model, batch, latent_l2=0.3), 0.15 * z.square().sum(-1))
    torch.testing.assert_close(_penalty(model, batch, l1=0.3), 0.3 * z.abs().sum(-1))


def test_rate_is_the_divergence_of_coins(model, batch) -> None:
    encode = model.encode

    class Unit:
        def __init__(self, mean: torch.Tensor) -> None:
            self.mean = torch.sigmoid(mean)

    model.encode = lambda x: Unit(encode(x).mean)
    mean = model.encode(batch.x).mean.mean(0)
    coin = torch.distributions.Bernoulli
    expected = torch.distributions.kl_divergence(coin(torch.tensor(0.2, dtype=DOUBLE)), coin(mean)).sum()
    torch.testing.assert_close(_penalty(model, batch, rate=0.2, rate_weight=3.0), (3.0 * expected).expand(8))
    model.encode = lambda x: Unit(torch.full((len(x), 2), math.log(0.2 / 0.8), dtype=DOUBLE))
    torch.testing.assert_close(_penalty(model, batch, rate=0.2, rate_weight=3.0), torch.zeros(8, dtype=DOUBLE))


def test_exact_jacobians_of_a_linear_model(model, batch) -> None:
    encoder = _encoder_jacobian(model).square().sum()
    decoder = model.weight.square().sum()
    torch.testing.assert_close(_penalty(model, batch, contractive=2.0, n_probes=None), (2 * encoder).expand(8))
    torch.testing.assert_close(_penalty(model, batch, gradient_penalty=2.0, n_probes=None), (2 * decoder).expand(8))


def test_jacobian_of_a_nonlinear_encoder_is_each_rows_own(model, batch) -> None:
    encode = model.encode

    class Sine:
        def __init__(self, mean: torch.Tensor) -> None:
            self.mean = torch.sin(mean)

    model.encode = lambda x: Sine(encode(x).mean)
    expected = [
        torch.autograd.functional.jacobian(lambda x: model.encode(x.unsqueeze(0)).mean[0], row).square().sum()
        for row in batch.x
    ]
    actual = _penalty(model, batch, contractive=1.0, n_probes=None)
    torch.testing.assert_close(actual, torch.stack(expected))
    assert actual.std() > 0.01


@pytest.mark.parametrize("name", ["contractive", "gradient_penalty"])
def test_probes_are_unbiased(linear_gaussian, seeded, name) -> None:
    model = linear_gaussian().requires_grad_(False)
    x = Batch(_normal(1, 5).expand(4000, 5))
    exact = _penalty(model, x, **{name: 1.0}, n_probes=None)[0]
    one = _penalty(model, x, **{name: 1.0})
    many = _penalty(model, x, **{name: 1.0}, n_probes=8)
    for estimates in (one, many):
        assert abs(float(estimates.mean() - exact)) < 5 * float(estimates.std()) / 4000**0.5 + 1e-9
    assert 0.0 < many.std() < 0.5 * one.std()


@pytest.mark.parametrize("name", ["contractive", "gradient_penalty"])
def test_gradients_of_the_jacobians(model, batch, name) -> None:
    parameters = list(model.parameters())
    norm = _encoder_jacobian if name == "contractive" else None

    def closed() -> torch.Tensor:
        if norm is None:
            return model.weight.square().sum()
        weight, variance = model.weight, model.likelihood.stddev.square()
        precision = torch.eye(2, dtype=DOUBLE) + weight.T @ weight / variance
        return (precision.inverse() @ weight.T / variance).square().sum()

    actual = torch.autograd.grad(
        _penalty(model, batch, **{name: 1.0}, n_probes=None).mean(),
        parameters,
        allow_unused=True,
        materialize_grads=True,
    )
    expected = torch.autograd.grad(closed(), parameters, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_jacobians_are_measured_without_training(model, batch, context) -> None:
    options = {"contractive": 1.0, "gradient_penalty": 0.5, "n_probes": None}
    expected = _penalty(model, batch, **options).detach()
    with context():
        actual = _penalty(model, Batch(batch.x.clone()), **options)
    assert not actual.requires_grad
    torch.testing.assert_close(actual.clone(), expected)


def test_jacobians_go_with_batch_normalisation(model, batch) -> None:
    normalization = nn.BatchNorm1d(5).double()
    encode = model.encode
    model.encode = lambda x: encode(normalization(x))
    penalty = _penalty(model, batch, contractive=1.0, gradient_penalty=1.0)
    penalty.mean().backward()
    assert normalization.weight.grad.abs().sum() > 0


def test_weight_decay_is_of_matrices(model, batch) -> None:
    model.decoder = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)).double()
    expected = 0.1 * model.decoder[0].weight.square().sum()
    torch.testing.assert_close(_penalty(model, batch, decoder_l2=0.1), expected.expand(8))


def test_weight_decay_needs_a_decoder(model, batch) -> None:
    with pytest.raises(UnsupportedOperationError, match="a LinearGaussian has none of this name. Use decoder_l2=0"):
        Reconstruction(decoder_l2=0.1)(model, batch)


# Corruption


@pytest.mark.parametrize("name", list(corruptions))
def test_corruption_is_of_what_the_encoder_sees_alone(model, batch, seeded, name) -> None:
    seen: list[torch.Tensor] = []
    encode, decode = model.encode, model.decode
    model.encode = lambda x: seen.append(x) or encode(x)
    codes: list[torch.Tensor] = []
    model.decode = lambda z: codes.append(z) or decode(z)
    terms = Reconstruction(corruption=name, corruption_level=0.4)(model, batch)
    assert torch.equal(seen[0], batch.x) == (name == "none")
    torch.testing.assert_close(codes[0], encode(seen[0]).mean)
    torch.testing.assert_close(terms.objective, decode(codes[0]).log_prob(batch.x))


@pytest.mark.parametrize("name", [name for name in corruptions if name != "none"])
def test_no_level_is_no_corruption(name) -> None:
    x = _normal(50, 5)
    assert torch.equal(corruptions[name].apply(x, 0.0), x)


def test_corrupted_data_keep_to_what_data_can_be(model, batch, seeded) -> None:
    seen = []
    encode = model.encode
    model.encode = lambda x, *more: (seen.append(x), encode(x, *more))[1]
    for bounds in (None, (-0.5, 0.5)):
        Reconstruction(corruption="gaussian", corruption_level=2.0, corruption_bounds=bounds)(model, batch)
    free, bounded = seen
    assert free.abs().max() > 1.0
    assert bounded.min() == -0.5
    assert bounded.max() == 0.5
    with pytest.raises(InvalidParameterError, match=r"corruption_bounds must be .* got \(1.0, 0.0\)"):
        Reconstruction(corruption_bounds=(1.0, 0.0))


def test_corruptions_do_what_they_say(seeded) -> None:
    x = 1.0 + torch.rand(400, 50, generator=seeds.generator(0), dtype=DOUBLE)
    noise = corruptions["gaussian"].apply(x, 0.5) - x
    assert float(noise.std()) == pytest.approx(0.5, abs=0.01)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    masked = corruptions["masking"].apply(x, 0.3)
    assert float((masked == 0).double().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(masked[masked != 0], x[masked != 0])
    peppered = corruptions["salt_and_pepper"].apply(x, 0.3)
    for extreme in (x.min(), x.max()):
        assert float((peppered == extreme).double().mean()) == pytest.approx(0.15, abs=0.02)
    kept = (peppered != x.min()) & (peppered != x.max())
    assert torch.equal(peppered[kept], x[kept])


def test_missing_features_have_no_part(model, batch) -> None:
    mask = torch.zeros_like(batch.x, dtype=torch.bool)
    mask[:, 0] = True
    terms = Reconstruction()(model, Batch(batch.x, mask))
    z = model.encode(batch.x).mean
    mean, stddev = (z @ model.weight.T + model.bias)[:, 0], model.likelihood.stddev
    torch.testing.assert_close(
        terms.objective, torch.distributions.Normal(mean, stddev.squeeze()).log_prob(batch.x[:, 0])
    )
