"""Fitted models as coders: what they cost is what the model says, whatever it is made of; what cannot be is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentkit import VAE
from latentkit.codec import CoderState, coder_from_state
from latentkit.core.errors import DataError, InvalidParameterError, UnsupportedOperationError
from latentkit.core.seeds import isolated_rng
from latentkit.data import ArraySchema, learn_schema
from latentkit.data.values import LevelValues
from latentkit.distributions import DiagonalGaussian
from latentkit.models import LadderSpecification, VaeSpecification, VariationalAutoencoder
from latentkit.nn import MLP, activations
from latentkit.tasks.compression import bits_back_coder

LATENTS = 4


def bits(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(3, 30)) * 2
    return (random.random((n, 30)) < 1 / (1 + np.exp(-random.normal(size=(n, 3)) @ loadings))).astype(np.uint8)


def levels(n: int, n_levels: int, shape: tuple[int, ...] = (20,), seed: int = 0) -> np.ndarray:
    """Whole numbers that differ from place to place, both ends among them."""
    random = np.random.default_rng(seed)
    middles = np.random.default_rng(98).random(shape) * n_levels
    x = (middles + random.normal(size=(n, *shape)) * n_levels / 8).clip(0, n_levels - 1).astype(np.uint8)
    x[0], x[1] = 0, n_levels - 1
    return x


def built(
    schema: ArraySchema, likelihood: str = "bernoulli", *, seed: int = 0, **settings: Any
) -> VariationalAutoencoder:
    """A model that nobody trained, of networks whose outputs vary."""
    layers = {"network": "mlp", "widths": settings.pop("widths", (24, 16))}
    layers |= {key: settings.pop(key) for key in ("activation", "normalization") if key in settings}
    with isolated_rng(seed):
        model = VaeSpecification(
            event_shape=schema.event_shape,
            latent_dim=LATENTS,
            encoder=layers,
            decoder=layers,
            likelihood=likelihood,
            likelihood_options=settings.pop("likelihood_options", {}),
            **settings,
        ).build()
        for network in (model.encoder, model.decoder):
            for layer in network.linears:
                layer.bias.data += 0.2 * torch.randn_like(layer.bias)
        model.encoder.linears[-1].bias.data[LATENTS : 2 * LATENTS] -= 3.0
    return model.eval()


def bound_bits(
    model: VariationalAutoencoder, schema: ArraySchema, storage: Tensor, prior: np.ndarray, steps: int
) -> float:
    """What rows cost by floating-point numbers, under the normal prior that a coder has; the mean of draws."""
    source = torch.Generator().manual_seed(0)
    x = schema.to_model(storage)
    means, spreads = (torch.from_numpy(column).double() for column in prior.T)
    p = DiagonalGaussian(means / steps, spreads / 8)
    with torch.no_grad():
        q = model.encode(x)
        total = 0.0
        for _ in range(16):
            z = q.sample(generator=source)
            total += float((q.log_prob(z) - p.log_prob(z) - model.decode(z).log_prob(x)).double().sum()) / 16
    return total / math.log(2)


def check_cost(model: VariationalAutoencoder, x: np.ndarray, error: float = 0.006, **settings: Any) -> None:
    """The coder costs what the model does, and its rows come back."""
    schema = learn_schema(x)
    storage = schema.encode(x)
    coder = bits_back_coder(model, schema, storage, **settings)
    latents = coder.chain.layers[0].latents
    block = schema.decode(schema.to_model(storage)).tobytes()
    symbols = coder._split(block, len(x))[1]
    found = np.mean([coder.chain.bits(symbols, np.random.default_rng(seed)) for seed in range(8)])
    due = bound_bits(model, schema, storage, latents.prior_parameters, latents.steps)
    assert found == pytest.approx(due, rel=error)
    again = coder_from_state(CoderState.from_bytes(coder.state().to_bytes()))
    assert again.decode(coder.encode(block, len(x)), len(x), len(block)) == block


@pytest.mark.parametrize("activation", [*activations])
def test_every_activation(activation: str) -> None:
    x = bits(400)
    check_cost(built(learn_schema(x), activation=activation), x)


@pytest.mark.parametrize("widths", [(), (40,)], ids=["linear", "one"])
def test_any_number_of_layers(widths: tuple[int, ...]) -> None:
    x = bits(400)
    check_cost(built(learn_schema(x), widths=widths), x)


def test_batch_normalisation_is_folded() -> None:
    x = bits(400)
    schema = learn_schema(x)
    model = built(schema, normalization="batch").train()
    with torch.no_grad():
        for _ in range(20):
            model(schema.to_model(schema.encode(x)))
    norm = next(part for part in model.modules() if isinstance(part, nn.BatchNorm1d))
    assert float(norm.running_mean.abs().max()) > 0.1
    check_cost(model.eval(), x)


def test_narrow_posteriors_are_as_narrow_as_the_model_says() -> None:
    """Its raw log-variances are bounded on the way, and here far from what they become."""
    x = bits(300)
    schema = learn_schema(x)
    model = built(schema)
    model.encoder.linears[-1].bias.data[LATENTS:] -= 9.0
    layer = bits_back_coder(model, schema, schema.encode(x)).chain.layers[0]
    with torch.no_grad():
        due = 16 * model.encode(schema.to_model(schema.encode(x))).stddev.log().numpy()
    assert due.max() < -75
    assert np.abs(layer.posterior(x)[1] + layer.latents.levels.low - due).max() < 2


def test_what_is_dropped_in_training_is_there() -> None:
    x = bits(400)
    check_cost(built(learn_schema(x), dropout=0.5), x)


@pytest.mark.parametrize(
    ("likelihood", "options", "n_levels"),
    [
        ("discretized_logistic", {"n_components": 1}, 256),
        ("discretized_logistic", {"n_components": 3}, 256),
        ("discretized_logistic", {"n_components": 2, "n_levels": 17}, 17),
        ("categorical", {"n_categories": 5}, 5),
    ],
)
def test_likelihoods_of_more_values(likelihood: str, options: dict[str, int], n_levels: int) -> None:
    x = levels(300, n_levels)
    model = built(learn_schema(x), likelihood, likelihood_options=options)
    model.initialise_output(learn_schema(x).to_model(learn_schema(x).encode(x)))
    check_cost(model, x, error=0.02)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (3, 5, 4)], ids=["grey", "channels last", "channels first"])
def test_images_are_coded_as_they_lie(shape: tuple[int, ...]) -> None:
    x = levels(300, 256, shape)
    schema = learn_schema(x, kind="images", channels="first") if shape[0] == 3 else learn_schema(x, kind="images")
    assert schema.user_shape == shape
    model = built(schema, "discretized_logistic", likelihood_options={"n_components": 1})
    model.initialise_output(schema.to_model(schema.encode(x)))
    model.decoder.linears[-1].weight.data *= 0.2
    storage = schema.encode(x)
    coder = bits_back_coder(model, schema, storage)
    latents = coder.chain.layers[0].latents
    found = np.mean([coder.chain.bits(x.reshape(len(x), -1), np.random.default_rng(seed)) for seed in range(5)])
    assert found == pytest.approx(bound_bits(model, schema, storage, latents.prior_parameters, latents.steps), rel=0.02)
    means = coder.chain.layers[0].posterior(x.reshape(len(x), -1))[0] / latents.steps
    with torch.no_grad():
        assert np.abs(means - model.encode(schema.to_model(storage)).mean.numpy()).max() < 0.2
    assert coder.decode(coder.encode(x.tobytes(), len(x)), len(x), x.size) == x.tobytes()


@pytest.mark.parametrize(
    ("x", "alphabet"),
    [
        (bits(50), b"\0\1"),
        (bits(50) * np.uint8(255), b"\0\xff"),
        (bits(50).astype(np.float64), b"\0\1"),
    ],
    ids=["ones", "bytes", "floats"],
)
def test_a_symbol_is_the_byte_that_its_value_is(x: np.ndarray, alphabet: bytes) -> None:
    schema = learn_schema(x)
    assert bits_back_coder(built(schema), schema, schema.encode(x)).alphabet == alphabet


def test_a_symbol_is_its_number_where_values_are_no_bytes() -> None:
    x = bits(50)
    halves = LevelValues(name="binary", low=-0.5, high=0.5, n_levels=2)
    schema = replace(learn_schema(x), numbers=halves)
    assert bits_back_coder(built(schema), schema, schema.encode(x - 0.5)).alphabet == b"\0\1"


@pytest.mark.parametrize(
    ("prior", "options"), [("mixture", {"n_components": 5}), ("vamp", {"n_components": 5}), ("flow", {})]
)
def test_other_priors_become_normal_ones(prior: str, options: dict[str, Any]) -> None:
    """One for each latent variable, of the mean and variance of draws."""
    x = bits(400)
    check_cost(built(learn_schema(x), prior=prior, prior_options=options), x)


@pytest.mark.slow
def test_a_fitted_model_compresses_others_of_its_kind() -> None:
    """To about its own bound, under its own prior; where most of the first rows cost little more."""
    x, new = bits(3000, seed=1), bits(2000, seed=2)
    vae = VAE(
        LATENTS,
        encoder=(32,),
        decoder=(32,),
        max_epochs=25,
        batch_size=64,
        learning_rate=5e-3,
        ex_post="none",
        random_state=0,
    )
    vae.fit(x)
    coder = bits_back_coder(vae.model_, vae.schema_, vae.schema_.encode(x))
    content = coder.encode(new.tobytes(), len(new))
    assert coder.decode(content, len(new), new.size) == new.tobytes()
    bound = -float(np.mean(vae.score_samples(new, n_importance=1))) / math.log(2) * len(new)
    alone = -len(new) * float(sum(p * np.log2(p) + (1 - p) * np.log2(1 - p) for p in new.mean(0)))
    assert 0.985 * bound < 8 * len(content) < 1.015 * bound + 400
    assert 8 * len(content) < 0.95 * alone


def test_the_same_data_and_seed_give_the_same_coder() -> None:
    x = bits(300)
    schema = learn_schema(x)
    model = built(schema).train()
    first = bits_back_coder(model, schema, schema.encode(x), seed=3).state()
    torch.manual_seed(1)
    assert bits_back_coder(model, schema, schema.encode(x), seed=3).state().fingerprint == first.fingerprint
    assert bits_back_coder(model, schema, schema.encode(x), seed=4).state().fingerprint != first.fingerprint
    assert model.training, "the model stays as it is"


def test_many_latent_variables_have_a_coarser_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    x = bits(300)
    schema = learn_schema(x)
    fine = bits_back_coder(built(schema), schema, schema.encode(x)).chain.layers[0].latents
    monkeypatch.setattr("latentkit.codec.bits_back.latents._ENTRIES", 4 * LATENTS * (fine.span.high - fine.span.low))
    coarse = bits_back_coder(built(schema), schema, schema.encode(x)).chain.layers[0].latents
    assert coarse.steps < fine.steps
    monkeypatch.setattr("latentkit.codec.bits_back.latents._ENTRIES", 3)
    with pytest.raises(InvalidParameterError, match="tables that are too large"):
        bits_back_coder(built(schema), schema, schema.encode(x))


# What is refused


def model_of(kind: str) -> nn.Module:
    schema = learn_schema(bits(50))
    match kind:
        case "conditions":
            return built(schema, condition_dim=2)
        case "full" | "point":
            return built(schema, posterior=kind)
        case "layer" | "group":
            return built(schema, normalization=kind)
        case "skips":
            model = built(schema)
            model.encoder = MLP((30,), (2 * LATENTS,), widths=(24, 24), residual=True)
            return model
        case "gaussian":
            return built(schema, "gaussian")
        case "many categories":
            return built(schema, "categorical", likelihood_options={"n_categories": 300})
        case "ladder":
            layers = {"network": "mlp", "widths": [8, 8], "activation": "silu", "normalization": "none"}
            return LadderSpecification(
                event_shape=(30,),
                latent_dim=5,
                layer_dims=(3, 2),
                encoder=layers,
                decoder=layers,
                likelihood="bernoulli",
            ).build()
    return nn.Linear(30, 2)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("conditions", "fitted with conditions has no coder. Fit without conditions"),
        ("full", "draws of a FullPosterior are not found one number after the other. Fit with posterior='diagonal'"),
        ("point", "draws of a PointPosterior"),
        ("layer", "the encoder has layer normalisation, which divides by what it sees and so is not exact. Fit with"),
        ("group", "the encoder has group normalisation"),
        ("skips", "the encoder has skip connections"),
        (
            "gaussian",
            "GaussianLikelihood gives no probabilities of at most 256 values. Fit with likelihood='bernoulli'",
        ),
        ("many categories", "CategoricalLikelihood gives no probabilities of at most 256 values"),
        ("ladder", "a hierarchical model finds its latent variables from the top down, by gates and skip connections"),
        ("linear", "a Linear is no variational autoencoder, by whose posterior bits come back. Fit a VAE"),
    ],
)
def test_models_with_other_parts_are_refused(kind: str, message: str) -> None:
    x = bits(50)
    schema = learn_schema(x)
    with pytest.raises(UnsupportedOperationError, match=message):
        bits_back_coder(model_of(kind), schema, schema.encode(x))


def test_networks_of_ones_own_are_refused() -> None:
    x = levels(50, 256)
    schema = learn_schema(x)
    model = built(schema, "discretized_logistic")
    model.decoder = nn.Sequential(model.decoder)
    with pytest.raises(UnsupportedOperationError, match="the decoder is a Sequential, which is not brought into whole"):
        bits_back_coder(model, schema, schema.encode(x))


def test_data_of_too_many_values_are_refused() -> None:
    x = np.random.default_rng(0).normal(size=(50, 30))
    schema = learn_schema(x)
    with pytest.raises(UnsupportedOperationError, match="only data of at most 256 values"):
        bits_back_coder(model_of("gaussian"), schema, schema.encode(x))


def test_a_likelihood_of_other_values_than_the_data_is_refused() -> None:
    x = levels(50, 256, (30,))
    schema = learn_schema(x)
    with pytest.raises(
        UnsupportedOperationError, match="the likelihood is of 2 values, and the data take 256. Fit on zeros"
    ):
        bits_back_coder(built(schema), schema, schema.encode(x))


def test_no_data_are_refused() -> None:
    schema = learn_schema(bits(50))
    with pytest.raises(DataError, match="there are no data to learn the grid"):
        bits_back_coder(built(schema), schema, schema.encode(bits(50))[:0])


@pytest.mark.parametrize(("option", "value"), [("weight_bits", 1), ("weight_bits", 17), ("activation_bits", 13)])
def test_numbers_of_bits_are_within_reason(option: str, value: int) -> None:
    schema = learn_schema(bits(50))
    with pytest.raises(InvalidParameterError, match=f"{option} must be"):
        bits_back_coder(built(schema), schema, schema.encode(bits(50)), **{option: value})
