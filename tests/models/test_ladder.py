"""The ladder: its densities and divergences are those of the layers, and its way down is gone once."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Batch, Posterior
from latentkit.core.seeds import generator
from latentkit.distributions import (
    DiagonalGaussian,
    GaussianMixturePrior,
    StandardNormal,
    kl_divergence,
    kl_per_dimension,
    kl_per_part,
)
from latentkit.evaluation import importance_bound
from latentkit.models import LadderAutoencoder, LadderSpecification, WithPrior, models, specification_from_dict
from latentkit.models import ladder as ladder_module
from latentkit.nn.ladder import LadderLayer
from latentkit.objectives import Dreg, Elbo, Iwae, Stl, objectives

DOUBLE = torch.float64
ROWS: dict[str, Any] = {
    "event_shape": (5,),
    "decoder": {"network": "mlp", "widths": [12, 8, 6], "activation": "silu", "normalization": "none"},
    "layer_dims": [3, 2, 2],
}
IMAGES: dict[str, Any] = {
    "event_shape": (2, 9, 12),
    "decoder": {"network": "conv", "channels": [8, 6], "activation": "silu", "normalization": "group"},
    "layer_dims": [3, 2],
}
GRIDS = {**IMAGES, "latent_layout": "grid", "layer_dims": [2, 1]}
CASES = {"rows": ROWS, "images": IMAGES, "grids": GRIDS}
everywhere = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def specification(case: dict[str, Any], **settings: Any) -> LadderSpecification:
    whole = {"latent_dim": 0, "encoder": case["decoder"], **case, **settings}
    return LadderSpecification(**whole).counted()


def build(case: dict[str, Any], *, wild: float = 0.3, **settings: Any) -> LadderAutoencoder:
    """A model in double precision whose every weight matters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = specification(case, **settings).build().double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                fan = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.add_(torch.randn_like(parameter), alpha=wild / fan**0.5)
    return model


def data(case: dict[str, Any], n: int = 4) -> Tensor:
    return torch.rand(n, *case["event_shape"], dtype=DOUBLE, generator=generator(1, "x"))


def normal(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, dtype=DOUBLE, generator=generator(seed, "normal"))


def count_layers(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """A list that grows with every layer that is gone down."""
    calls: list[Tensor] = []
    original = LadderLayer.forward

    def counted(self: LadderLayer, h: Tensor, z: Tensor) -> Tensor:
        calls.append(z)
        return original(self, h, z)

    monkeypatch.setattr(LadderLayer, "forward", counted)
    return calls


# The distribution


@everywhere
def test_it_keeps_the_protocol(case: dict[str, Any]) -> None:
    model, x = build(case), data(case)
    q = model.encode(x)
    dims = model.latent_dim
    assert isinstance(q, Posterior)
    assert q.mean.shape == q.log_var.shape == q.stddev.shape == q.rsample().shape == q.sample().shape == (4, dims)
    assert q.rsample(3).shape == q.sample(3).shape == (3, 4, dims)
    assert q.log_prob(q.rsample()).shape == (4,)
    assert q.log_prob(q.rsample(3)).shape == (3, 4)
    assert q.log_prob(normal(6, 1, dims)).shape == (6, 4)
    for lead in [(4,), (3, 4), (2, 3, 4)]:
        decoded = model.decode(normal(*lead, dims))
        assert decoded.mean.shape == (*lead, *case["event_shape"])
        assert decoded.log_prob(x).shape == lead
    assert model(x).shape == x.shape
    assert sum(model.dims) == dims == specification(case).latent_dim
    assert model.n_features == x[0].numel()


@everywhere
def test_densities_are_those_of_the_change_of_variables(case: dict[str, Any]) -> None:
    """log q(u) = log N(noise) - log det du/dnoise, the determinant by automatic differentiation."""
    model, x = build(case), data(case, 1)
    q = model.encode(x)
    noise = normal(1, model.latent_dim)
    jacobian = torch.autograd.functional.jacobian(lambda e: q.rsample(noise=e[None])[0], noise[0])
    expected = StandardNormal(model.latent_dim).log_prob(noise) - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(q.log_prob(q.rsample(noise=noise).clone()), expected)
    lower = jacobian[: model.dims[0], model.dims[0] :]
    assert (lower == 0).all()  # what is above does not depend on what is below
    assert (jacobian[model.dims[0] :, : model.dims[0]] != 0).any()  # and what is below does on what is above


@everywhere
def test_draws_of_many_are_draws_of_one(case: dict[str, Any]) -> None:
    model, x = build(case), data(case)
    q, noise = model.encode(x), normal(3, 4, model.latent_dim)
    many = q.rsample(3, noise=noise)
    for k in range(3):
        torch.testing.assert_close(many[k], q.rsample(noise=noise[k]))
        torch.testing.assert_close(q.log_prob(many.clone())[k], q.log_prob(many[k].clone()))
    torch.testing.assert_close(q.rsample(noise=torch.zeros_like(noise[0])), q.mean)
    torch.testing.assert_close(model.encode(x[1:2]).rsample(noise=noise[0, 1:2]), many[0, 1:2])


@everywhere
def test_the_divergence_is_the_mean_of_the_log_ratio(case: dict[str, Any]) -> None:
    model, x = build(case), data(case, 2)
    q, p = model.encode(x), model.prior()
    with torch.no_grad():
        z = q.sample(4000, generator=generator(3))
        ratio = q.log_prob(z) - p.log_prob(z)
        kl = kl_divergence(q, p, z=z)
        parts = kl_per_part(q, p, z=z)
        torch.testing.assert_close(parts.sum(-1), kl)
        assert parts.shape == (2, len(model.dims))
        assert (parts > 0).all()
        assert ((ratio.mean(0) - kl).abs() < 5 * ratio.std(0) / 4000**0.5).all()
        torch.testing.assert_close(kl_divergence(q, p, z=z[:2]), (_kl(q, p, z[0]) + _kl(q, p, z[1])) / 2)
        top = q.layers(z[0])[0]
        torch.testing.assert_close(parts[:, 0], kl_divergence(top, StandardNormal(model.dims[0])))
        assert kl_divergence(q, p).shape == (2,)


def test_free_bits_are_those_of_a_layer() -> None:
    model, x = build(ROWS), data(ROWS)
    terms = Elbo(free_bits=1000.0)(model, Batch(x))
    torch.testing.assert_close(terms.objective, terms.log_likelihood - 3 * 1000.0)
    z = model.encode(x).mean.detach()
    parts = kl_per_part(model.encode(x), model.prior(), z=z)
    floor = float(parts.detach().mean(0).median())  # the least layer is lifted, the largest is not
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder_module, "standard_normal", lambda shape, like: torch.zeros(shape, dtype=like.dtype))
        terms = Elbo(free_bits=floor)(model, Batch(x))
    expected = torch.where(parts.mean(0) > floor, parts, floor).sum(-1)
    torch.testing.assert_close(terms.log_likelihood - terms.objective, expected)
    torch.testing.assert_close(terms.kl, parts.sum(-1))


def test_parts_are_dimensions_where_there_are_no_layers() -> None:
    q = DiagonalGaussian(normal(4, 3), normal(4, 3, seed=3))
    assert torch.equal(kl_per_part(q, StandardNormal(3)), kl_per_dimension(q, StandardNormal(3)))


def _kl(q: Any, p: Any, z: Tensor) -> Tensor:
    layers = q.layers(z.clone())
    return sum(kl_divergence(layer, StandardNormal(layer.mean.shape[-1])) for layer in layers)


def test_the_prior_of_a_layer_is_scaled_by_the_layers_above() -> None:
    """Latents in the units of a layer are Gaussian with the layer's mean and deviation, given those above."""
    model = build(ROWS)
    layer = model.decoder.layers[1]
    seen = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    u = torch.cat((normal(1, 2).expand(4000, -1), normal(4000, 5, seed=3)), dim=-1)
    with torch.no_grad():
        model.decode(u)
        features, z = seen[0]
        prior = DiagonalGaussian.from_parameters(layer.prior_parameters(features[:1]))
    hook.remove()
    assert ((z.mean(0) - prior.mean[0]).abs() < 5 * prior.stddev[0] / 4000**0.5).all()
    torch.testing.assert_close(z.std(0), prior.stddev[0], rtol=0.06, atol=0.0)
    assert not torch.allclose(prior.stddev[0], torch.ones(2, dtype=DOUBLE), rtol=0.01)


# The way down is gone once


@everywhere
def test_a_step_of_the_elbo_goes_down_once(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build(case), data(case)
    calls = count_layers(monkeypatch)
    Elbo(free_bits=0.1)(model, Batch(x)).objective.sum().backward()
    assert len(calls) == len(model.dims)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_what_was_drawn_is_decoded_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build(ROWS), data(ROWS)
    q = model.encode(x)
    for z in (q.rsample(), q.mean, q.sample(5)):
        again = model.decode(z.clone())
        calls = count_layers(monkeypatch)
        torch.testing.assert_close(model.decode(z).mean, again.mean)
        assert q.log_prob(z).shape == z.shape[:-1]
        assert not calls
        assert model.decode(z.clone()).log_prob(x).shape == z.shape[:-1]
        assert len(calls) == 3


def test_a_way_is_forgotten_with_its_draw_and_with_any_change() -> None:
    model, x = build(ROWS), data(ROWS)
    q = model.encode(x)
    z = q.rsample()
    assert len(model._memory._kept) == 1
    before = model.decode(z).mean
    with torch.no_grad():
        z.add_(1.0)
    assert not torch.allclose(model.decode(z).mean, before)
    del z
    assert len(model._memory._kept) == 0
    with torch.inference_mode():
        z = q.sample()
        before = model.decode(z).mean.clone()
        z.add_(1.0)
        assert not torch.allclose(model.decode(z).mean, before)
    with torch.no_grad():
        z = q.rsample()
        for parameter in model.parameters():
            parameter.mul_(1.5)  # as a step of the optimiser does
        assert torch.equal(model.decode(z).mean, model.decode(z.clone()).mean)


def test_another_posterior_and_another_model_go_their_own_way() -> None:
    model, x = build(ROWS), data(ROWS)
    q, other = model.encode(x), model.encode(x + 1.0)
    z = q.rsample()
    torch.testing.assert_close(other.log_prob(z), other.log_prob(z.clone()))
    assert not torch.allclose(other.log_prob(z), q.log_prob(z))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert len(twin._memory._kept) == 0
        assert torch.equal(twin.decode(z).mean, model.decode(z.clone()).mean)


# Gradients and bounds


def gradients(model: LadderAutoencoder, objective: Any, x: Tensor, *, seed: int = 0) -> list[Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        value = objective(model, Batch(x)).objective.sum()
    return list(torch.autograd.grad(value, list(model.parameters())))


@everywhere
@pytest.mark.parametrize("name", sorted(set(objectives) & {"elbo", "iwae", "dreg", "stl"}))
def test_every_weight_has_a_gradient(case: dict[str, Any], name: str) -> None:
    model = build(case)
    for gradient in gradients(model, objectives[name](), data(case)):
        assert gradient.isfinite().all()
    names = [
        name
        for name, g in zip(dict(model.named_parameters()), gradients(model, Elbo(), data(case)), strict=True)
        if not (g != 0).any()
    ]
    assert not names


def test_remembering_does_not_change_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build(ROWS), data(ROWS)
    kept = gradients(model, Elbo(), x)
    monkeypatch.setattr(ladder_module._Memory, "keep", lambda *_: None)
    for mine, other in zip(kept, gradients(model, Elbo(), x), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.slow
@pytest.mark.parametrize("other", [Stl(), Dreg(n_importance=3)], ids=repr)
def test_estimators_of_one_gradient_agree_on_average(other: Any) -> None:
    """The score that they leave out has mean zero only if weights shared by q and p are cut where they are q's."""
    model, x = build(ROWS), data(ROWS, 1)
    plain = Elbo() if isinstance(other, Stl) else Iwae(n_importance=3)
    n = 3000
    rows = x.expand(n, *x.shape[1:])

    def per_part(objective: Any) -> Tensor:
        runs = [torch.cat([g.flatten() for g in gradients(model, objective, rows, seed=seed)]) / n for seed in range(8)]
        return torch.stack(runs)

    mine, his = per_part(other), per_part(plain)
    error = (mine.var(0) / 8 + his.var(0) / 8).sqrt()
    away = ((mine.mean(0) - his.mean(0)).abs() - 1e-9) / error.clamp_min(1e-9)
    assert (away > 5).double().mean() < 0.02
    assert away.square().mean() < 4


def test_a_detached_posterior_is_the_same_and_leads_through_the_draw_alone() -> None:
    model, x = build(ROWS), data(ROWS)
    q = model.encode(x)
    value = normal(4, model.latent_dim).requires_grad_()
    torch.testing.assert_close(q.detach().log_prob(value), q.log_prob(value))
    (mine,) = torch.autograd.grad(q.detach().log_prob(value).sum(), value)
    (his,) = torch.autograd.grad(q.log_prob(value).sum(), value)
    torch.testing.assert_close(mine, his)
    assert not q.detach().log_prob(value.detach()).requires_grad


def test_bounds_keep_their_order() -> None:
    model, x = build(ROWS, wild=0.1), data(ROWS, 30)
    few, some, many = (importance_bound(model, x.repeat(40, 1), k).log_likelihood.mean() for k in (1, 10, 100))
    assert few < some < many
    with torch.no_grad():
        elbo = Elbo()(model, Batch(x.repeat(200, 1))).objective
    bound = importance_bound(model, x.repeat(200, 1), 1, keys=torch.arange(6000)).log_likelihood
    assert (elbo.mean() - bound.mean()).abs() < 5 * bound.std() / 6000**0.5


def test_the_evidence_is_that_of_samples_of_the_prior() -> None:
    """log p(x) by many importance samples and by plain averaging over the prior."""
    model, x = build(ROWS, wild=0.1), data(ROWS, 3)
    bound = importance_bound(model, x, 4000).log_likelihood
    with torch.no_grad():
        u = model.prior().sample(100_000, generator=generator(5)).double()
        plain = torch.logsumexp(model.decode(u.unsqueeze(1)).log_prob(x), 0) - math.log(len(u))
    torch.testing.assert_close(bound, plain, rtol=0.0, atol=0.1)


def test_another_prior_over_the_whole_ladder() -> None:
    model, x = build(ROWS), data(ROWS)
    dims = model.latent_dim
    mixture = GaussianMixturePrior(torch.ones(1), torch.ones(1, dims), torch.eye(dims)[None]).double()
    other = WithPrior(model, mixture)
    assert Iwae(n_importance=2)(other, Batch(x)).objective.isfinite().all()
    assert Elbo()(other, Batch(x)).kl.isfinite().all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("objective", [Elbo(free_bits=0.1), Iwae(n_importance=2)], ids=repr)
def test_compiled_gradients_are_the_same(objective: Any) -> None:
    model, x = build(ROWS), data(ROWS)

    def step() -> Tensor:
        return objective(model, Batch(x)).objective.mean()

    def run(function: Any) -> tuple[Tensor, ...]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            value = function()
            return value, *torch.autograd.grad(value, list(model.parameters()))

    torch._dynamo.reset()
    torch.testing.assert_close(run(torch.compile(step, backend="aot_eager")), run(step))


@everywhere
def test_its_operations_can_be_counted(case: dict[str, Any]) -> None:
    model = build(case).requires_grad_()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.decode(torch.zeros(1, model.latent_dim, dtype=DOUBLE))
    assert counter.get_total_flops() > 0


# Conditions, beginnings, precision


@everywhere
def test_a_condition_is_seen_by_both_ways(case: dict[str, Any]) -> None:
    model, x = build(case, condition_dim=2), data(case)
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    z = normal(4, model.latent_dim)
    for function in (lambda m: m.encode(x).mean, lambda m: m.decode(z).mean):
        results = [function(part) for part in (model.given(one), model.given(other), model)]
        assert not torch.allclose(results[0], results[1])
        assert not torch.allclose(results[0], results[2])
    mixed = model.given(torch.cat((one, other, one, other)))
    torch.testing.assert_close(mixed.decode(z).mean[::2], model.given(one).decode(z[::2]).mean)
    draws = mixed.encode(x).rsample(3)
    assert mixed.decode(draws).log_prob(x).shape == (3, 4)
    drawn = model.given(one).encode(x).rsample()
    assert not torch.allclose(model.given(other).decode(drawn).mean, model.given(one).decode(drawn).mean)


def test_a_model_without_conditions_says_so() -> None:
    with pytest.raises(UnsupportedOperationError, match="fitted without conditions"):
        build(ROWS).given(torch.zeros(1, 2))


@everywhere
def test_it_starts_with_layers_of_unit_variance_at_the_mean_of_the_data(case: dict[str, Any]) -> None:
    model = build(case, wild=0.0, dropout=0.5).float()
    x = (data(case, 300) * 0.2 + 0.7).float()
    with torch.no_grad():
        unstarted = model.decode(torch.zeros(1, model.latent_dim)).mean
    state = torch.random.get_rng_state()
    model.train()
    model.initialise_output(x)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    model.eval()
    seen: dict[str, Tensor] = {}
    watched = {
        "first": model.encoder.stages[0][0],
        "from below": model.encoder.merges[0].from_below,
    }
    hooks = [
        part.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output}))
        for name, part in watched.items()
    ]
    with torch.no_grad():
        model(x[:256])
        at_start = model.decode(torch.zeros(1, model.latent_dim)).mean
    for hook in hooks:
        hook.remove()
    for name in ("first", "from below"):
        torch.testing.assert_close(seen[name].std(), torch.tensor(1.0), rtol=0.05, atol=0.0)
        assert seen[name].mean().abs() < 0.05
    assert (at_start - x.mean(0)).abs().mean() < 0.7 * (unstarted - x.mean(0)).abs().mean()


def test_the_start_is_scaled_the_same_way_whoever_asks() -> None:
    one, other = build(IMAGES).float(), build(IMAGES).float()
    x = data(IMAGES, 40).float()
    one.initialise_output(x)
    other.initialise_output(x)
    for mine, his in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, his)


def test_autocast_leaves_densities_in_full_precision() -> None:
    model, x = build(ROWS).float(), data(ROWS).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = Elbo(free_bits=0.1)(model, Batch(x))
    assert terms.objective.dtype is terms.kl.dtype is torch.float32


# The specification


@everywhere
def test_a_specification_survives_json(case: dict[str, Any]) -> None:
    whole = specification(case, n_blocks=2, condition_dim=1)
    again = specification_from_dict(json.loads(json.dumps(whole.to_dict())))
    assert again == whole
    assert models["ladder"] is LadderSpecification
    state = whole.build().state_dict()
    again.build().load_state_dict(state)


@pytest.mark.parametrize("normalization", ["none", "layer", "group"])
@pytest.mark.parametrize("case", [ROWS, GRIDS], ids=["rows", "grids"])
def test_every_normalisation_and_any_number_of_blocks(case: dict[str, Any], normalization: str) -> None:
    network = {**case["decoder"], "normalization": normalization}
    for n_blocks in (0, 2):
        model = specification(case, decoder=network, encoder=network, n_blocks=n_blocks, dropout=0.1).build().train()
        assert Elbo()(model, Batch(data(case).float())).objective.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoder": {"network": "custom"}}, "encoder cannot be a module of your own"),
        ({"decoder": {"network": "mpl"}}, "decoder must be 'auto', 'mlp', .*; got 'mpl'. Did you mean 'mlp'"),
        ({"encoder": IMAGES["decoder"]}, "both must be 'mlp' or both 'conv'; got encoder 'conv', decoder 'mlp'"),
        ({"encoder": IMAGES["decoder"], "decoder": IMAGES["decoder"]}, "needs images, and these data are rows"),
        ({"upsampling": "nearest"}, "upsampling='nearest' belongs to a convolutional decoder"),
        ({"latent_layout": "grid"}, "latent_layout='grid' lays latents on the grids of a convolutional ladder"),
        ({"latent_layout": "gird"}, "latent_layout must be one of: vector, grid.*Did you mean 'grid'"),
        ({"layer_dims": [3, 2]}, "one width and one latent_dim for each layer; encoder has 3, decoder has 3, latent"),
        ({"layer_dims": [3, 2, 0]}, r"latent_dim\[2\] must be an integer of at least 1"),
    ],
)
def test_what_cannot_be_built_says_why(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        specification(ROWS, **settings).build()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_blocks": -1}, "n_blocks must be an integer of at least 0"),
        ({"latent_dim": 5}, "latent_dim of a ladder is the sum over its layers, here 7; got 5"),
        ({"dropout": 1.0}, "dropout must be a float"),
        ({"decoder": {**ROWS["decoder"], "normalization": "gruop"}}, "normalization must be one of.*'group'"),
        ({"decoder": {**ROWS["decoder"], "normalization": "batch"}}, "batch normalisation has nothing to go by"),
    ],
)
def test_what_is_wrong_in_numbers_says_why(settings: dict[str, Any], words: str) -> None:
    whole = LadderSpecification(**{"latent_dim": 7, "encoder": ROWS["decoder"], **ROWS, **settings})
    with pytest.raises(InvalidParameterError, match=words):
        whole.build()
