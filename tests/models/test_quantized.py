"""The wiring of a vector-quantised autoencoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import LatentVariableModel, Posterior
from latentkit.core.seeds import generator
from latentkit.models import QuantizedAutoencoder, QuantizedSpecification, specification_from_dict

MLP: dict[str, Any] = {"network": "mlp", "widths": [8]}
CONV: dict[str, Any] = {"network": "conv", "channels": [4, 8]}
ROWS: dict[str, Any] = {"event_shape": (5,), "latent_dim": 6, "encoder": MLP, "decoder": MLP}
IMAGES: dict[str, Any] = {"event_shape": (2, 9, 14), "latent_dim": 24, "encoder": CONV, "decoder": CONV}
CASES = [
    ROWS,
    IMAGES,
    {**IMAGES, "decoder": MLP},
    {**IMAGES, "encoder": MLP},
    {**IMAGES, "decoder": {"network": "conv", "channels": [4]}},
]


def specification(**settings: Any) -> QuantizedSpecification:
    options = {"code_dim": 2, "quantizer_options": {"n_codes": 7}, **ROWS, **settings}
    return QuantizedSpecification(**options)


def build(**settings: Any) -> QuantizedAutoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return specification(**settings).build().eval()


def data(model: QuantizedAutoencoder, n: int = 3) -> Tensor:
    return torch.rand(n, *model.event_shape, generator=generator(1))


@pytest.mark.parametrize("settings", CASES, ids=lambda case: f"{case['encoder']['network']}")
def test_any_network_goes_with_any_other(settings: dict[str, Any]) -> None:
    model = build(**settings)
    x = data(model)
    quantized = model.quantize(x)
    assert quantized.vectors.shape == (3, model.n_places, 2)
    q = model.encode(x)
    assert isinstance(q, Posterior)
    assert q.mean.shape == (3, model.latent_dim)
    torch.testing.assert_close(q.mean, quantized.vectors.flatten(1))
    assert torch.equal(model.codes(x), quantized.codes)
    whole, taken = model.decode(q.mean), model.decode_vectors(quantized.vectors)
    torch.testing.assert_close(whole.log_prob(x), taken.log_prob(x))
    torch.testing.assert_close(model(x), whole.mean)
    assert model.prior().log_prob(q.mean).shape == (3,)


@pytest.mark.parametrize("lead", [(), (1,), (4,), (2, 4), (2, 1, 4)])
def test_leading_dimensions_are_decoded_as_if_they_were_flat(lead: tuple[int, ...]) -> None:
    model = build(**IMAGES)
    z = torch.randn(*lead, 24, generator=generator(2))
    whole = model.decode(z)
    assert whole.mean.shape == (*lead, *model.event_shape)
    assert whole.log_prob(torch.rand(*lead, *model.event_shape)).shape == lead
    flat = model.decode(z.reshape(-1, 24)).mean
    torch.testing.assert_close(whole.mean.reshape(flat.shape), flat)


def test_what_is_decoded_are_the_codes_nearest_to_z() -> None:
    model = build()
    q = model.encode(data(model))
    near = q.mean + 1e-4 * torch.randn(q.mean.shape, generator=generator(3))
    torch.testing.assert_close(model.decode(near).mean, model.decode(q.mean).mean, rtol=0.0, atol=0.0)


def test_the_posterior_is_certain() -> None:
    model = build()
    q = model.encode(data(model))
    assert torch.equal(q.rsample(), q.mean)
    assert q.sample(4).shape == (4, *q.mean.shape)
    assert torch.equal(q.log_prob(q.rsample(2)), torch.zeros(2, 3))
    assert torch.isinf(q.log_prob(q.mean + 1.0)).all()
    assert not q.detach().mean.requires_grad


def test_gradients_of_the_reconstruction_reach_every_parameter() -> None:
    model = build(**IMAGES).train()
    x = data(model)
    model.decode_vectors(model.quantize(x).vectors).log_prob(x).sum().backward()
    assert all(parameter.grad is not None and (parameter.grad != 0).any() for parameter in model.parameters())


def test_it_starts_where_the_data_are() -> None:
    model = build(**IMAGES)
    x = data(model, 40) * 0.2 + 0.7
    model.initialise_output(x)
    silent = nn.Sequential(*model.decoder.stages)
    for parameter in (*silent.parameters(), model.decoder.to_image.convolution.weight):
        nn.init.zeros_(parameter)
    mean = model.decode(torch.zeros(1, 24)).mean
    torch.testing.assert_close(mean.mean((-2, -1)), x.mean((0, 2, 3))[None], rtol=1e-3, atol=1e-3)
    assert len(model.codes(x).unique()) == 7


def test_a_specification_survives_json() -> None:
    for settings in (*CASES, {"quantizer": "fsq", "quantizer_options": {"levels": [3, 4]}}):
        whole = specification(**settings)
        again = specification_from_dict(json.loads(json.dumps(whole.to_dict())))
        assert again == whole
        assert again.build().state_dict().keys() == whole.build().state_dict().keys()


def test_codebooks_are_part_of_the_state() -> None:
    model = build()
    assert {"vectors", "counts", "sums"} == {
        key.rsplit(".", 1)[1] for key in model.state_dict() if key.startswith("quantizer")
    }
    twin = specification().build()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.eval().codes(data(model)), model.codes(data(model)))


def test_its_outline_draws_nothing() -> None:
    before = torch.random.get_rng_state()
    assert specification().outline.n_codes == 7
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_condition_is_for_the_prior_over_codes() -> None:
    model: LatentVariableModel = build()
    assert model.given(torch.ones(1, 2)) is model


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latent_dim": 7}, "latent_dim must be a multiple of code_dim=2, one code for each; got 7. Use latent_dim=6"),
        (
            {**IMAGES, "latent_dim": 30},
            "a grid of 3 x 4 codes of 2 numbers has 24 latent dimensions; got latent_dim=30",
        ),
        ({"quantizer": "emma"}, "unknown quantizer 'emma'"),
        ({"quantizer_options": {"decai": 1}}, "quantizer_options has 'decai', .* Did you mean 'decay'"),
        ({"code_dim": 0}, "code_dim must be an integer of at least 1"),
        ({"encoder": {"network": "mpl"}}, "encoder must be .*; got 'mpl'. Did you mean 'mlp'"),
        ({**IMAGES, "decoder": {"network": "mpl"}}, "decoder must be .*; got 'mpl'. Did you mean 'mlp'"),
        ({"likelihood": "gausian"}, "unknown likelihood 'gausian'"),
    ],
)
def test_what_cannot_be_built_says_why(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        specification(**settings).build()
