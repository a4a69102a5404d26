"""Invertible maps: inverses, determinants, and what importing zuko leaves behind."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from latentkit.core import seeds
from latentkit.distributions.bijection import Bijection, autoregressive_layers, coupling_layers
from latentkit.distributions.moments import moment_noise

DOUBLE = torch.float64
MAKERS = {"coupling": coupling_layers, "autoregressive": autoregressive_layers}


def _bijection(kind: str, dim: int, univariate: str = "affine", **options: int) -> Bijection:
    bijection = Bijection(MAKERS[kind](dim, n_layers=3, width=8, univariate=univariate, **options)).double()
    random = seeds.generator(0, "weights")
    with torch.no_grad():
        for parameter in bijection.parameters():
            parameter.normal_(0.0, 0.5, generator=random)
    return bijection


def _numbers(*shape: int, seed: str = "numbers") -> torch.Tensor:
    return torch.randn(shape, generator=seeds.generator(0, seed), dtype=DOUBLE)


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("univariate", ["affine", "spline"])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_inverse_and_determinant(kind, univariate, dim) -> None:
    bijection = _bijection(kind, dim, univariate)
    x = _numbers(4, 7, dim)
    y, log_det = bijection(x)
    assert log_det.shape == (4, 7)
    back, other = bijection(y, inverse=True)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(other, -log_det)
    assert not torch.allclose(y, x)
    jacobian = torch.autograd.functional.jacobian(lambda row: bijection(row)[0], x[0, 0])
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[0, 0])


@pytest.mark.parametrize("dim", [1, 3])
def test_context_changes_the_map_row_by_row(dim) -> None:
    bijection = _bijection("autoregressive", dim, context_dim=2)
    x, context = _numbers(4, 7, dim), _numbers(7, 2, seed="context")
    y, log_det = bijection(x, context)
    for row in range(7):
        alone = bijection(x[:, row], context[row])
        torch.testing.assert_close((y[:, row], log_det[:, row]), alone)
    assert not torch.allclose(y, bijection(x, context.flip(0))[0])
    torch.testing.assert_close(bijection(y, context, inverse=True)[0], x)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_it_starts_as_the_identity(kind) -> None:
    x = _numbers(7, 3).float()
    y, log_det = Bijection(MAKERS[kind](3, n_layers=2, width=8))(x)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_det, torch.zeros(7))


@pytest.mark.parametrize("kind", list(MAKERS))
def test_nothing_maps_to_nothing(kind) -> None:
    y, log_det = _bijection(kind, 3)(torch.zeros(0, 3, dtype=DOUBLE), inverse=True)
    assert y.shape == (0, 3)
    assert log_det.shape == (0,)


def test_to_print_it_draws_no_random_number() -> None:
    bijection = _bijection("coupling", 3)
    before = torch.random.get_rng_state()
    assert repr(bijection) == "Bijection(3 layers)"
    assert torch.equal(before, torch.random.get_rng_state())


def test_noise_for_moments_is_centred_with_unit_variance() -> None:
    noise = moment_noise(32, torch.zeros(5, 3, dtype=DOUBLE))
    assert noise.shape == (32, 3)
    torch.testing.assert_close(noise.mean(0), torch.zeros(3, dtype=DOUBLE), atol=1e-12, rtol=0.0)
    torch.testing.assert_close(noise.square().mean(0), torch.ones(3, dtype=DOUBLE))


def test_loading_zuko_leaves_the_checks_of_torch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)
    coupling_layers(2, n_layers=1, width=4)
    assert torch.distributions.Distribution._validate_args
    with pytest.raises(ValueError, match="scale"):
        torch.distributions.Normal(0.0, -1.0)


def test_zuko_alone_turns_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why :func:`_zuko` puts them back; once this fails, it need not."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)
    importlib.import_module("zuko")
    assert not torch.distributions.Distribution._validate_args
