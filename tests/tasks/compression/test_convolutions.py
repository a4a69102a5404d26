"""Convolutional networks in whole numbers cost what they cost in floating-point ones, however they are made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from latentkit.codec import CoderState, coder_from_state
from latentkit.core.seeds import isolated_rng
from latentkit.data import ArraySchema, learn_schema
from latentkit.distributions import DiagonalGaussian
from latentkit.models import VaeSpecification, VariationalAutoencoder
from latentkit.nn import activations
from latentkit.tasks.compression import bits_back_coder

LATENTS = 3


def images(*shape: int) -> np.ndarray:
    """Bytes that differ from place to place and from image to image, both ends among them."""
    random = np.random.default_rng(0)
    middles = np.random.default_rng(1).uniform(60, 200, shape[1:])
    brightness = random.normal(scale=40, size=(shape[0], *[1] * (len(shape) - 1)))
    x = (middles + brightness + random.normal(scale=8, size=shape)).clip(0, 255).astype(np.uint8)
    x[0], x[1] = 0, 255
    return x


def built(schema: ArraySchema, **settings: Any) -> VariationalAutoencoder:
    """A model that nobody trained, of networks whose outputs vary."""
    layers = {"network": "conv", "channels": settings.pop("channels", (6, 12))}
    with isolated_rng(0):
        model = VaeSpecification(
            event_shape=schema.event_shape,
            latent_dim=LATENTS,
            encoder=layers,
            decoder=layers,
            likelihood="discretized_logistic",
            **settings,
        ).build()
        for name, part in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                part.data += 0.2 * torch.randn_like(part)
        for network in (model.encoder, model.decoder):
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean.normal_(std=0.2)
                    module.running_var.uniform_(0.5, 2.0)
        model.encoder.output.bias.data[LATENTS:] -= 3.0
        model.decoder.to_image.convolution.weight.data *= 3.0
        model.decoder.output_bias.bias.data[schema.event_shape[0] :] -= 2.0
    return model.eval()


def bound_bits(model: VariationalAutoencoder, x: torch.Tensor, prior: np.ndarray, steps: int) -> float:
    source = torch.Generator().manual_seed(0)
    means, spreads = (torch.from_numpy(column).double() for column in prior.T)
    p = DiagonalGaussian(means / steps, spreads / 8)  # of log-variances
    with torch.no_grad():
        q = model.encode(x)
        total = 0.0
        for _ in range(16):
            z = q.sample(generator=source)
            total += float((q.log_prob(z) - p.log_prob(z) - model.decode(z).log_prob(x)).double().sum()) / 16
    return total / math.log(2)


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((9, 7), {}),
        ((8, 12, 3), {"normalization": "batch"}),
        pytest.param((3, 10, 8), {"normalization": "layer"}, marks=pytest.mark.slow),
        ((3, 9), {"normalization": "none", "upsampling": "nearest"}),
        pytest.param((11, 9, 3), {"upsampling": "nearest", "channels": (4, 6, 8)}, marks=pytest.mark.slow),
    ],
    ids=["grey", "colour", "channels first", "flat", "nearest"],
)
def test_it_costs_what_the_model_says(shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    x = images(60, *shape)
    schema = learn_schema(x, kind="images", channels="first" if shape[0] == 3 and len(shape) == 3 else "auto")
    model, storage = built(schema, **settings), schema.encode(x)
    coder = bits_back_coder(model, schema, storage)
    layer, rows = coder.chain.layers[0], x.reshape(len(x), -1)
    with torch.no_grad():
        due = model.encode(schema.to_model(storage))
    assert due.mean.std(0).min() > 0.05, "latent variables vary"
    means, levels = layer.posterior(rows)
    assert np.abs(means / layer.latents.steps - due.mean.numpy()).max() < 0.15
    assert np.abs((levels + layer.latents.levels.low) / 16 - due.stddev.log().numpy()).max() < 0.15
    found = np.mean([coder.chain.bits(rows, np.random.default_rng(seed)) for seed in range(8)])
    prior, steps = layer.latents.prior_parameters, layer.latents.steps
    assert found == pytest.approx(bound_bits(model, schema.to_model(storage), prior, steps), rel=0.01)
    again = coder_from_state(CoderState.from_bytes(coder.state().to_bytes()))
    assert again.state().fingerprint == coder.state().fingerprint
    assert again.decode(coder.encode(x.tobytes(), len(x)), len(x), x.size) == x.tobytes()


@pytest.mark.parametrize("activation", [*activations])
def test_every_activation(activation: str) -> None:
    x = images(20, 5, 5)
    schema = learn_schema(x, kind="images")
    model = built(schema, activation=activation, channels=(6,))
    layer = bits_back_coder(model, schema, schema.encode(x)).chain.layers[0]
    with torch.no_grad():
        due = model.encode(schema.to_model(schema.encode(x))).mean.numpy()
    assert np.abs(layer.posterior(x.reshape(20, -1))[0] / layer.latents.steps - due).max() < 0.15
