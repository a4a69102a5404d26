"""What every likelihood family keeps: a new one is tested by being registered (its variants by a line below)."""

from __future__ import annotations

import pytest
import torch

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError
from latentkit.distributions import Likelihood, likelihoods

VARIANTS = [
    ("categorical", {"n_categories": 5}),
    ("gaussian", {"variance": "feature"}),
    ("gaussian", {"variance": "fixed", "stddev": 0.5}),
    ("gaussian", {"variance": "network"}),
    ("discretized_logistic", {"n_components": 1}),
    ("discretized_logistic", {"n_components": 2, "n_levels": 17}),
]
#: Those of numbers; rows of mixed kinds have laws of their own in test_columns.py, texts in test_tokens.py.
OF_NUMBERS = [name for name in likelihoods if not (likelihoods[name].of_tables or likelihoods[name].of_texts)]
CASES = [(name, {}) for name in OF_NUMBERS] + VARIANTS
EVENTS = [(6,), (2, 3, 2)]
IDS = [f"{name}-{'-'.join(str(value) for value in options.values()) or 'default'}" for name, options in CASES]

pytestmark = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)


def _numbers(*shape: int, seed: str = "parameters", dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=torch.float64).to(dtype)


def _family(name: str, options: dict, event: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Likelihood:
    return likelihoods[name](event, **options).to(dtype)


def _data(family: Likelihood, n: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Draws of the family itself: data of its own kind."""
    parameters = _numbers(n, family.n_parameters, *family.event_shape, seed="data", dtype=dtype)
    return family(parameters).sample(generator=seeds.generator(1))


@pytest.mark.parametrize("event", EVENTS)
def test_shapes(name, options, event) -> None:
    family = _family(name, options, event)
    assert family.event_shape == event
    assert isinstance(family.discrete, bool)
    p = family(_numbers(4, 5, family.n_parameters, *event))
    x = _data(family)
    for value in (p.mean, p.mode, p.sample()):
        assert value.shape == (4, 5, *event)
        assert value.isfinite().all()
        assert not value.requires_grad
    assert p.sample(3).shape == (3, 4, 5, *event)
    assert p.log_prob(x).shape == (4, 5)
    assert p.log_prob(p.sample(3)).shape == (3, 4, 5)
    if family.discrete:
        assert (p.log_prob(x) <= 0).all()


def test_examples_and_draws_do_not_meddle(name, options) -> None:
    family = _family(name, options, (6,), torch.float64)
    parameters, x = _numbers(4, 5, family.n_parameters, 6, dtype=torch.float64), _data(family, dtype=torch.float64)
    whole = family(parameters).log_prob(x)
    for k in range(4):
        for i in range(5):
            torch.testing.assert_close(family(parameters[k, i]).log_prob(x[i]), whole[k, i])


def test_log_prob_is_that_of_the_sampler(name, options) -> None:
    """For a normalised p, the gradient of log p(x) has mean zero over its own draws."""
    family = _family(name, options, (3,), torch.float64)
    parameters = (0.7 * _numbers(family.n_parameters, 3, dtype=torch.float64)).requires_grad_()
    n = 8000
    x = family(parameters).sample(n, generator=seeds.generator(2))
    leaf = parameters.detach().expand(n, -1, -1).clone().requires_grad_()
    (score,) = torch.autograd.grad(family(leaf).log_prob(x).sum(), leaf)
    error = score.std(0) / n**0.5
    assert (score.abs().amax(0) > 0).all()
    # A category of 256 may be drawn too seldom for its standard error to be one: a few counts are allowed on top.
    assert (score.mean(0).abs() <= 5.0 * error + 5.0 / n).all()


def test_mean_is_that_of_the_sampler(name, options) -> None:
    family = _family(name, options, (4,))
    p = family(_numbers(family.n_parameters, 4))
    x = p.sample(8000, generator=seeds.generator(3))
    assert ((x.mean(0) - p.mean).abs() <= 5.0 * x.std(0) / 8000**0.5 + 1e-3).all()


def test_draws_follow_the_generator_alone(name, options) -> None:
    family = _family(name, options, (6,))
    p = family(_numbers(5, family.n_parameters, 6))
    before = torch.random.get_rng_state()
    first, second = (p.sample(2, generator=seeds.generator(4)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, p.sample(2, generator=seeds.generator(5)))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("event", EVENTS)
def test_mask_splits_the_sum(name, options, event) -> None:
    family = _family(name, options, event, torch.float64)
    x = _data(family, dtype=torch.float64)
    p = family(_numbers(4, 5, family.n_parameters, *event, dtype=torch.float64))
    mask = torch.rand(x.shape, generator=seeds.generator(6)) < 0.5
    torch.testing.assert_close(p.log_prob(x, mask=mask) + p.log_prob(x, mask=~mask), p.log_prob(x))
    torch.testing.assert_close(p.log_prob(x, mask=torch.ones_like(mask)), p.log_prob(x))
    assert (p.log_prob(x, mask=torch.zeros_like(mask)) == 0).all()


def test_missing_values_are_never_read(name, options) -> None:
    family = _family(name, options, (6,))
    x = _data(family)
    mask = torch.rand(x.shape, generator=seeds.generator(7)) < 0.5
    parameters = _numbers(5, family.n_parameters, 6).requires_grad_()
    holes = family(parameters).log_prob(x.masked_fill(~mask, float("nan")), mask=mask)
    torch.testing.assert_close(holes, family(parameters).log_prob(x, mask=mask))
    (gradient,) = torch.autograd.grad(holes.sum(), parameters)
    assert gradient.isfinite().all()
    assert (gradient.abs().sum(1) > 0).equal(mask)


def test_float64_is_kept_and_bfloat16_is_raised(name, options) -> None:
    family = _family(name, options, (6,), torch.float64)
    p = family(_numbers(5, family.n_parameters, 6, dtype=torch.float64))
    x = _data(family, dtype=torch.float64)
    for value in (p.mean, p.mode, p.sample(), p.log_prob(x)):
        assert value.dtype is torch.float64
    family, low = _family(name, options, (6,)), _numbers(5, family.n_parameters, 6, dtype=torch.bfloat16)
    expected = family(low.float()).log_prob(x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = family(low).log_prob(x.float())
    assert actual.dtype is torch.float32
    assert torch.equal(actual, expected)


def test_gradient(name, options) -> None:
    family = _family(name, options, (3,), torch.float64)
    x = _data(family, 2, torch.float64)
    parameters = _numbers(2, family.n_parameters, 3, dtype=torch.float64).requires_grad_()
    if family.n_parameters > 20:
        parameters = parameters[:1].detach().requires_grad_()
    own = tuple(family.parameters())
    assert torch.autograd.gradcheck(lambda value, *_: family(value).log_prob(x), (parameters, *own), fast_mode=True)


def test_extreme_outputs_stay_finite(name, options) -> None:
    """An untrained or diverging network gives huge numbers; the loss must remain one that can be climbed."""
    family = _family(name, options, (6,))
    x = _data(family)
    for sign in (1.0, -1.0):
        parameters = torch.full((5, family.n_parameters, 6), 60.0 * sign).requires_grad_()
        log_prob = family(parameters).log_prob(x)
        (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
        assert log_prob.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("event", EVENTS)
def test_initial_parameters_fit_better_than_zeros(name, options, event) -> None:
    family = _family(name, options, event)
    shared = family(0.5 * _numbers(family.n_parameters, *event, seed="truth") - 1.2)
    x = shared.sample(400, generator=seeds.generator(8))
    start = family.initial_parameters(x)
    assert start.shape == (family.n_parameters, *event)
    assert start.isfinite().all()
    assert start.dtype is x.dtype
    assert family(start).log_prob(x).mean() > family(torch.zeros_like(start)).log_prob(x).mean()
    torch.testing.assert_close(family(start).mean, x.mean(0), atol=0.12, rtol=0.12)


def test_initialize_never_hurts(name, options) -> None:
    family = _family(name, options, (6,))
    x = 0.3 * _data(family, 400)
    start = family.initial_parameters(x)
    before = family(start).log_prob(x).mean()
    family.initialize(x)
    after = family(start).log_prob(x).mean()
    assert after > before if list(family.parameters()) else after == before


def test_calibrating_finds_the_optimum(name, options) -> None:
    family = _family(name, options, (6,))
    x = 0.3 * _data(family, 400)
    parameters = family.initial_parameters(x)
    family.calibrate(x, family(parameters).mean)
    own = list(family.parameters())
    (slope,) = torch.autograd.grad(family(parameters).log_prob(x).mean(), own) if own else (torch.zeros(()),)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-4, rtol=0.0)


def test_constant_data_have_a_finite_start(name, options) -> None:
    family = _family(name, options, (6,))
    x = torch.zeros(20, 6)
    family.initialize(x)
    start = family.initial_parameters(x)
    assert start.isfinite().all()
    assert family(start).log_prob(x).isfinite().all()


def test_state_goes_round(name, options) -> None:
    family, other = _family(name, options, (6,)), _family(name, options, (6,))
    family.initialize(0.3 * _data(family))
    other.load_state_dict(family.state_dict(), strict=True)
    parameters, x = _numbers(5, family.n_parameters, 6), _data(family)
    assert torch.equal(family(parameters).log_prob(x), other(parameters).log_prob(x))


@pytest.mark.parametrize("event", [(0,), (2.5,), (3, -1, 2)])
def test_impossible_event_shapes_are_refused(name, options, event) -> None:
    with pytest.raises(InvalidParameterError, match="event_shape must be an integer of at least 1"):
        likelihoods[name](event, **options)
