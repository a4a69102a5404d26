"""What a model is made of survives being written, and what cannot be built says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import likelihoods, posteriors, priors
from latentkit.models import VaeSpecification, models, resolve_network, specification_from_dict

MLP: dict[str, Any] = {"network": "mlp", "widths": [8]}
CONV: dict[str, Any] = {"network": "conv", "channels": [4, 8]}


def specification(**settings: Any) -> VaeSpecification:
    return VaeSpecification(**{"event_shape": (5,), "latent_dim": 2, "encoder": MLP, "decoder": MLP, **settings})


@given(
    event_shape=st.sampled_from([(5,), (1, 8, 8), (3, 16, 9)]),
    latent_dim=st.integers(1, 50),
    widths=st.lists(st.integers(1, 600), max_size=4),
    posterior=st.sampled_from(posteriors.names()),
    likelihood=st.sampled_from(likelihoods.names()),
    dropout=st.floats(0.0, 0.99),
    options=st.dictionaries(st.sampled_from(["variance", "stddev"]), st.sampled_from(["shared", 0.5, None])),
)
def test_a_specification_survives_json(**values: Any) -> None:
    network = {"network": "mlp", "widths": values.pop("widths")}
    options = values.pop("options")
    whole = VaeSpecification(encoder=network, decoder=CONV, likelihood_options=options, **values)
    assert VaeSpecification.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_fields_of_a_later_version_are_left_out() -> None:
    assert VaeSpecification.from_dict({**specification().to_dict(), "flavour": "new"}) == specification()


@pytest.mark.parametrize(
    ("spec", "event_shape", "expected"),
    [
        ("auto", (30,), {"network": "mlp", "widths": [64, 64]}),
        ("mlp", (30,), {"network": "mlp", "widths": [64, 64]}),
        ((), (30,), {"network": "mlp", "widths": []}),
        ([500, 500], (1, 28, 28), {"network": "mlp", "widths": [500, 500]}),
        (nn.Linear(2, 2), (2,), {"network": "custom"}),
        ("conv", (30,), {"network": "conv"}),
        ("mpl", (30,), {"network": "mpl"}),
    ],
)
def test_a_network_is_resolved_to_its_sizes(spec: Any, event_shape: tuple[int, ...], expected: dict[str, Any]) -> None:
    assert resolve_network(spec, event_shape) == expected


@pytest.mark.parametrize(("event_shape", "network"), [((1, 8, 8), "conv"), ((3, 7, 40), "mlp"), ((1, 32, 9), "conv")])
def test_auto_takes_convolutions_for_images_of_8_by_8_at_least(event_shape: tuple[int, ...], network: str) -> None:
    choice = resolve_network("auto", event_shape)
    assert choice["network"] == network
    assert all(isinstance(size, int) for size in choice.get("widths") or choice["channels"])


def test_few_rows_get_a_smaller_network() -> None:
    few, many = (sum(resolve_network("auto", (1, 28, 28), n_rows=n)["channels"]) for n in (100, 60_000))
    assert few <= many
    assert sum(resolve_network("mlp", (500,), n_rows=50)["widths"]) < sum(resolve_network("mlp", (500,))["widths"])


@pytest.mark.parametrize("posterior", posteriors.names())
@pytest.mark.parametrize(
    "likelihood", [name for name in likelihoods if not (likelihoods[name].of_tables or likelihoods[name].of_texts)]
)
@pytest.mark.parametrize(("event_shape", "network"), [((5,), MLP), ((2, 8, 8), MLP), ((2, 8, 8), CONV)])
def test_every_combination_of_parts_fits_together(
    posterior: str, likelihood: str, event_shape: tuple[int, ...], network: dict[str, Any]
) -> None:
    options = {"n_categories": 4} if likelihood == "categorical" else {}
    model = specification(
        event_shape=event_shape,
        encoder=network,
        decoder=network,
        posterior=posterior,
        prior="spherical" if posteriors[posterior].support == "sphere" else "normal",
        likelihood=likelihood,
        likelihood_options=options,
    ).build()
    x = torch.ones(3, *event_shape)
    q = model.encode(x)
    z = q.rsample()
    assert z.shape == (3, 2)
    assert model.decode(z).log_prob(x).shape == model.prior().log_prob(z).shape == (3,)
    if posteriors[posterior].has_density:
        assert q.log_prob(z).shape == (3,)
    assert model(x).shape == x.shape
    assert model.n_features == x[0].numel()


@pytest.mark.parametrize("prior", priors.names())
@pytest.mark.parametrize("condition_dim", [0, 2])
def test_every_prior_goes_with_a_model(prior: str, condition_dim: int) -> None:
    posterior = "spherical" if priors[prior].support == "sphere" else "diagonal"
    settings = {"prior": prior, "posterior": posterior, "condition_dim": condition_dim}
    model = specification(event_shape=(2, 4, 4), **settings).build()
    model.initialise_output(torch.rand(20, 2, 4, 4, generator=torch.Generator().manual_seed(0)))
    p = model.prior()
    z = p.sample(5, generator=torch.Generator().manual_seed(1))
    assert z.shape == (5, 2)
    assert p.log_prob(z).isfinite().all()
    twin = specification(event_shape=(2, 4, 4), **settings).build()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.prior().log_prob(z), p.log_prob(z))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"posterior": "diagnal"}, "unknown posterior 'diagnal'.* Did you mean 'diagonal'"),
        ({"likelihood": "gausian"}, "unknown likelihood 'gausian'.* Did you mean 'gaussian'"),
        ({"likelihood_options": {"stdev": 1}}, "likelihood_options has 'stdev', .* Did you mean 'stddev'"),
        ({"likelihood": "bernoulli", "likelihood_options": {"stddev": 1}}, "takes no options"),
        ({"likelihood_options": {"stddev": -1.0}}, "stddev must be a float"),
        ({"posterior": "spherical"}, "posterior='spherical' draws from the unit hypersphere.* Use prior='spherical'"),
        ({"prior": "spherical"}, "prior='spherical' is a density on the unit hypersphere.* posterior='spherical'"),
        ({"prior": "vamp", "prior_options": {"components": 2}}, "has 'components', .* Did you mean 'n_components'"),
        ({"prior": "vamp", "prior_options": {"event_shape": 2}}, "prior_options has 'event_shape', which prior 'vamp'"),
        ({"posterior": "flow", "posterior_options": {"depth": 2}}, "takes n_layers, width, context_dim"),
        ({"prior": "norml"}, "unknown prior 'norml'.* Did you mean 'normal'"),
        ({"activation": "rellu"}, "unknown activation 'rellu'.* Did you mean 'relu'"),
        ({"normalization": "bach"}, "normalization must be one of.* Did you mean 'batch'"),
        ({"dropout": 1.0}, "dropout must be a float"),
        ({"latent_dim": 0}, "latent_dim must be an integer of at least 1"),
        ({"encoder": {"network": "mpl"}}, "encoder must be .*; got 'mpl'. Did you mean 'mlp'"),
        ({"decoder": {"network": "mlp", "widths": [0]}}, r"decoder widths\[0\] must be an integer of at least 1"),
        ({"encoder": CONV}, "encoder='conv' needs images"),
        ({"upsampling": "nearest"}, "upsampling='nearest' belongs to a convolutional decoder"),
        ({"encoder": {"network": "custom"}}, "the encoder of this model is a module of your own.* give it as encoder="),
        ({"decoder": {"network": "custom"}}, "the decoder of this model is a module of your own.* give it as decoder="),
    ],
)
def test_what_cannot_be_built_says_why(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        specification(**settings).build()


def test_a_module_of_the_users_own_stands_where_custom_is_written() -> None:
    class Encoder(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :4]

    model = specification(encoder={"network": "custom"}).build(encoder=Encoder())
    x = torch.arange(10.0).reshape(2, 5)
    assert torch.equal(model.encode(x).mean, x[:, :2])


def test_settings_of_networks_reach_both_networks() -> None:
    model = specification(dropout=0.25, normalization="layer", activation="tanh").build()
    for network in (model.encoder, model.decoder):
        kinds = {type(module) for module in network.modules()}
        assert nn.LayerNorm in kinds
        assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.25]
    conv = specification(event_shape=(1, 8, 8), encoder=MLP, decoder=CONV, upsampling="nearest").build()
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in conv.decoder.modules())


def test_the_width_grows_with_what_takes_memory() -> None:
    assert specification().width == 8
    assert specification(encoder={"network": "mlp", "widths": [700]}).width == 700
    assert specification(event_shape=(900,)).width == 900
    small, large = (specification(event_shape=(3, side, side), encoder=CONV, decoder=CONV).width for side in (32, 64))
    assert large == 4 * small >= 3 * 32 * 32


def test_the_plain_model_is_registered() -> None:
    assert models["vae"] is VaeSpecification
    whole = specification()
    assert specification_from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    with pytest.raises(InvalidParameterError, match="unknown model 'vea'; choose one of: .*Did you mean 'vae'"):
        specification_from_dict({**whole.to_dict(), "kind": "vea"})
