"""Points for posteriors: codes, and what they refuse."""

from __future__ import annotations

import pytest
import torch

from latentkit.core import seeds
from latentkit.core.errors import InvalidParameterError, UnsupportedOperationError
from latentkit.core.protocols import Posterior
from latentkit.distributions import (
    PointMass,
    PointPosterior,
    StandardNormal,
    code_activations,
    kl_divergence,
    kl_per_dimension,
    posteriors,
)

DOUBLE = torch.float64
SETTINGS = [(name, top_k) for name in code_activations for top_k in (None, 1, 2)]
every_code = pytest.mark.parametrize(("activation", "top_k"), SETTINGS)


def numbers(*shape: int, seed: str = "numbers", dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE).to(dtype)


@pytest.mark.parametrize("batch", [(), (7,), (4, 7)])
def test_shapes(batch) -> None:
    q = posteriors["point"](3)(numbers(*batch, 3))
    assert isinstance(q, Posterior)
    assert q.mean.shape == q.stddev.shape == (*batch, 3)
    for draw in (q.rsample, q.sample):
        assert draw().shape == (*batch, 3)
        assert draw(5).shape == (5, *batch, 3)


def test_every_draw_is_the_code() -> None:
    code = numbers(7, 3).requires_grad_()
    q = PointMass(code)
    noise = numbers(5, 7, 3, seed="noise")
    assert torch.equal(q.rsample(5, noise=noise), code.expand(5, 7, 3))
    assert torch.equal(q.sample(generator=seeds.generator(1)), code)
    assert not q.stddev.any()
    assert q.rsample().requires_grad
    assert not q.sample().requires_grad
    assert not q.detach().mean.requires_grad
    assert torch.equal(q.detach().mean, code)


def test_drawing_leaves_generators_alone() -> None:
    source, before = seeds.generator(1), torch.random.get_rng_state()
    state = source.get_state()
    PointMass(numbers(7, 3)).sample(4, generator=source)
    PointMass(numbers(7, 3)).rsample(4)
    assert torch.equal(source.get_state(), state)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("function", [kl_divergence, kl_per_dimension])
def test_there_is_no_divergence(function) -> None:
    with pytest.raises(UnsupportedOperationError):
        function(PointMass(torch.zeros(2, 3)), StandardNormal(3))


def test_a_density_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedOperationError, match=r"is a point: it has no density.*'reconstruction'"):
        PointMass(torch.zeros(2, 3)).log_prob(torch.zeros(2, 3))


def test_families_say_whether_they_have_a_density() -> None:
    assert not PointPosterior.has_density
    assert posteriors["diagonal"].has_density
    assert posteriors["full"].has_density


def test_the_shape_of_codes() -> None:
    raw = numbers(50, 4)
    assert torch.equal(PointPosterior(4)(raw).mean, raw)
    assert torch.equal(PointPosterior(4, activation="relu")(raw).mean, raw.clamp_min(0))
    torch.testing.assert_close(PointPosterior(4, activation="sigmoid")(raw).mean, 1 / (1 + torch.exp(-raw)))


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
def test_the_largest_in_magnitude_are_kept(top_k) -> None:
    raw = numbers(50, 4)
    codes = PointPosterior(4, top_k=top_k)(raw).mean
    order = raw.abs().argsort(dim=-1, descending=True)
    expected = torch.zeros_like(raw)
    for row in range(50):
        expected[row, order[row, :top_k]] = raw[row, order[row, :top_k]]
    assert torch.equal(codes, expected)
    # equal numbers do not make a code longer
    assert ((PointPosterior(4, top_k=top_k)(torch.ones(3, 4)).mean != 0).sum(-1) == top_k).all()


@every_code
def test_constraining_leaves_codes_alone_and_makes_codes(activation, top_k) -> None:
    family = PointPosterior(4, activation=activation, top_k=top_k)
    codes = family(numbers(50, 4)).mean
    assert torch.equal(family.constrain(codes), codes)
    z = numbers(50, 4, seed="z")
    legal = family.constrain(z)
    assert torch.equal(family.constrain(legal), legal)
    assert ((legal != 0).sum(-1) <= (top_k or 4)).all()
    nearest_code = torch.cdist(z, codes).amin(1)
    assert ((z - legal).norm(dim=-1) <= nearest_code + 1e-12).all()


def test_other_families_constrain_nothing() -> None:
    z = numbers(5, 3)
    assert torch.equal(posteriors["diagonal"](3).constrain(z), z)


@every_code
def test_gradients(activation, top_k) -> None:
    family = PointPosterior(4, activation=activation, top_k=top_k)
    assert torch.autograd.gradcheck(lambda raw: family(raw).rsample(), (numbers(3, 4).requires_grad_(),))


def test_precision() -> None:
    raw = numbers(2, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = PointPosterior(3, activation="sigmoid")(raw).rsample()
    assert codes.dtype is torch.float32
    assert torch.equal(codes, torch.sigmoid(raw.float()))
    assert PointPosterior(3)(numbers(2, 3)).rsample().dtype is DOUBLE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rellu"}, "unknown code activation 'rellu'.*relu"),
        ({"top_k": 0}, "top_k must be an integer from 1 to 4; got 0. A code has 4 numbers."),
        ({"top_k": 5}, "top_k must be an integer from 1 to 4; got 5."),
    ],
)
def test_nonsense_is_refused(options, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        PointPosterior(4, **options)
