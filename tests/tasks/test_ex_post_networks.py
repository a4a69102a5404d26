"""Priors that are trained after a training: what they learn, and that all families keep the same laws."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import frechet_distance
from latentkit.tasks import ExPostPriors, FitBudget, Latents, ex_post_priors
from latentkit.tasks.ex_post import FlowFamily, FlowMatchingFamily, SecondStageFamily

#: Small and fast.
SMALL: dict[str, dict[str, Any]] = {
    "mixture": {"n_components": 3},
    "flow": {"n_steps": 30, "n_layers": 2, "width": 8},
    "flow_matching": {"n_steps": 30, "width": 8, "n_ode_steps": 4},
    "second_stage": {"n_steps": 30, "width": 8, "n_layers": 1},
}
#: Large enough to learn two blobs.
ABLE: dict[str, dict[str, Any]] = {
    "flow": {"n_steps": 200, "width": 32, "n_layers": 3, "transform": "spline"},
    "flow_matching": {"n_steps": 400, "width": 64},
    "second_stage": {"n_steps": 400, "width": 64},
}
everyone = pytest.mark.parametrize("name", ex_post_priors)


def blobs(n: int = 2000, seed: int = 0) -> Latents:
    """Two classes, of a quarter and three quarters, far apart and far from N(0, I)."""
    source = torch.Generator().manual_seed(seed)
    classes = (torch.arange(n) % 4 > 0).long()
    centres = torch.tensor([[10.0, 0.0], [14.0, 0.5]])
    means = centres[classes] + torch.tensor([0.6, 0.03]) * torch.randn(n, 2, generator=source)
    log_vars = torch.tensor([0.8**2, 0.04**2]).log().expand(n, 2)
    return Latents(means=means, log_vars=log_vars, classes=classes, n_classes=2)


def draws(latents: Latents) -> torch.Tensor:
    assert latents.log_vars is not None
    noise = torch.randn(latents.means.shape, generator=torch.Generator().manual_seed(9))
    return latents.means + (0.5 * latents.log_vars).exp() * noise


def fit(name: str, latents: Latents, **budget: Any) -> ExPostPriors:
    return ex_post_priors[name](**SMALL[name]).fit(latents, FitBudget(**budget))


def test_every_family_is_here() -> None:
    assert set(SMALL) == set(ex_post_priors)


@pytest.mark.parametrize(
    ("name", "with_classes"),
    [
        # what a field learns of conditions is among the quick tests of priors that are given one
        pytest.param(name, classes, marks=[] if classes and name != "flow_matching" else pytest.mark.slow)
        for name, classes in itertools.product(ABLE, (True, False))
    ],
)
def test_the_aggregate_posterior_is_learnt(name: str, with_classes: bool) -> None:
    train, held_out = blobs(), draws(blobs(seed=1))
    latents = train if with_classes else Latents(means=train.means, log_vars=train.log_vars)
    priors = ex_post_priors[name](**ABLE[name]).fit(latents, FitBudget())
    drawn = priors.whole().sample(4000, generator=torch.Generator().manual_seed(0))
    scale = held_out.std(0)
    assert frechet_distance(drawn / scale, held_out / scale) < (0.15 if name == "second_stage" else 0.03)
    share = float((drawn[:, 0] < 12.0).double().mean())
    assert share == pytest.approx(0.25, abs=0.06)
    if name != "second_stage":
        # stddevs 1 and 0.05 in each blob
        entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) + math.log(2 * math.pi * math.e * 0.05)
        assert float(-priors.whole().log_prob(held_out).mean()) == pytest.approx(entropy, abs=0.12)
    if with_classes:
        for prior, centre in zip(priors.classes, ([10.0, 0.0], [14.0, 0.5]), strict=True):
            mean = prior().sample(2000, generator=torch.Generator().manual_seed(0)).mean(0)
            assert ((mean - torch.tensor(centre)).abs() / scale).max() < 0.15


@everyone
def test_what_a_run_keeps_gives_the_priors_back(name: str) -> None:
    family = ex_post_priors[name](**SMALL[name])
    priors = family.fit(blobs(200), FitBudget(seed=3))
    states = {section: module.state_dict() for section, module in family.sections(priors).items()}
    before = torch.random.get_rng_state()
    again = family.restore(states, latent_dim=2, n_classes=2)
    assert torch.equal(before, torch.random.get_rng_state())
    for old, new in zip((priors.whole, *priors.classes), (again.whole, *again.classes), strict=True):
        first, second = (p().sample(5, generator=torch.Generator().manual_seed(0)) for p in (old, new))
        assert torch.equal(first, second)
        assert first.dtype == torch.float32


@everyone
def test_a_seed_decides_everything_and_the_global_state_is_left_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    first, second, other = (fit(name, blobs(200), seed=seed).whole.state_dict() for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@everyone
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("kind", ["usual", "equal", "points", "large"])
def test_few_and_odd_rows_give_something_to_draw_from(name: str, n: int, kind: str) -> None:
    means = torch.randn(n, 3, generator=torch.Generator().manual_seed(0)) * (1e6 if kind == "large" else 1.0)
    means = means[:1].expand(n, 3) if kind == "equal" else means
    log_vars = torch.full((n, 3), -3.0) if kind == "usual" else None
    prior = fit(name, Latents(means=means, log_vars=log_vars)).whole
    z = prior().sample(100, generator=torch.Generator().manual_seed(1))
    assert z.shape == (100, 3)
    assert torch.isfinite(z).all()
    assert (z - means.mean(0)).abs().max() < 20 * (means.abs().max() + 1)


@pytest.mark.parametrize("name", ABLE)
def test_time_ends_a_training_and_gives_it_more_steps(name: str) -> None:
    options = {key: value for key, value in SMALL[name].items() if key != "n_steps"}
    start = time.perf_counter()
    ex_post_priors[name](**options).fit(blobs(200), FitBudget(max_time=0.2))
    assert time.perf_counter() - start < 20.0  # 4,000 steps take longer on any machine that is this slow
    assert ex_post_priors[name]().time_share == 0.1


def test_time_is_what_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []
    monkeypatch.setattr("latentkit.tasks.ex_post.networks.Trainer.run", lambda self: plans.append(self.plan))
    for n_steps, max_time in (("auto", None), ("auto", 5.0), (100, None), (100, 5.0)):
        FlowFamily(n_steps=n_steps).fit(blobs(2000), FitBudget(max_time=max_time))  # type: ignore[arg-type]
    epochs, times = [plan.max_epochs for plan in plans], [plan.max_time for plan in plans]
    assert times == [None, 5.0, None, 5.0]
    # 1,800 rows to learn from in batches of 512: 4 or 3 steps an epoch
    assert epochs[0] in (1000, 1334)
    assert epochs[1] == 100_000
    assert epochs[2] == epochs[3] == math.ceil(100 * epochs[0] / 4000)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FlowFamily(n_layers=0), "n_layers must be an integer of at least 1; got 0"),
        (lambda: FlowFamily(transform="afine"), "transform must be one of: .* Did you mean 'affine'"),
        (lambda: FlowMatchingFamily(n_ode_steps=0), "n_ode_steps must be"),
        (lambda: FlowMatchingFamily(n_steps="aut"), "n_steps must be one of: auto; got 'aut'"),
        (lambda: SecondStageFamily(width=1.5), "width must be an integer"),
        (lambda: ex_post_priors["mixture"](n_components=0), "n_components .* got 0. Use 'auto' to choose"),
        (lambda: ex_post_priors["flo"], "unknown ex-post prior 'flo'; .* Did you mean 'flow'"),
    ],
)
def test_wrong_options_are_named(make: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        make()
