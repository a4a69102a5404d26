"""Ensembles of autoencoders: distributions against torch's, members against themselves alone, holes, steadiness."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from latentkit.core.seeds import isolated_rng
from latentkit.models import AutoencoderEnsemble, MemberNormal

DIMS = (2, 3, 5)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    with isolated_rng(seed):
        return torch.randn(shape)


def ensemble(n_features: int = 7, dims: tuple[int, ...] = DIMS) -> AutoencoderEnsemble:
    with isolated_rng(1):
        made = AutoencoderEnsemble(n_features, dims, width=24)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        return made.eval()


def test_a_normal_is_that_of_torch() -> None:
    mean, log_var, value = drawn(3, 6, 4), drawn(3, 6, 4, seed=1), drawn(3, 6, 4, seed=2)
    ours, theirs = MemberNormal(mean, log_var), Normal(mean, (0.5 * log_var).exp())
    torch.testing.assert_close(ours.log_prob(value) - 0.5 * math.log(2 * math.pi), theirs.log_prob(value))
    torch.testing.assert_close(ours.kl(), kl_divergence(theirs, Normal(0.0, 1.0)))
    torch.testing.assert_close(ours.sample(value), theirs.loc + theirs.scale * value)


@torch.no_grad()
def test_a_member_alone_is_the_same_as_among_others() -> None:
    """Each member of the batch gives what a network with its weights gives by itself."""
    together, x = ensemble(), drawn(9, 7)
    q = together.encode(x)
    p = together.decode(q.mean)
    for m, dim in enumerate(DIMS):
        alone = AutoencoderEnsemble(7, (max(DIMS),), width=24).eval()
        alone.load_state_dict({name: tensor[m : m + 1] for name, tensor in together.state_dict().items()})
        mine = alone.encode(x)
        torch.testing.assert_close(q.mean[m, :, :dim], mine.mean[0, :, :dim])
        torch.testing.assert_close(q.log_var[m, :, :dim], mine.log_var[0, :, :dim])
        torch.testing.assert_close(p.mean[m], alone.decode(q.mean[m : m + 1]).mean[0])
        torch.testing.assert_close(p.log_var[m], alone.decode(q.mean[m : m + 1]).log_var[0])


@torch.no_grad()
def test_rows_of_each_member_may_differ() -> None:
    made, x = ensemble(), drawn(3, 9, 7)
    q = made.encode(x)
    for m in range(3):
        torch.testing.assert_close(q.mean[m], made.encode(x[m]).mean[m])


@torch.no_grad()
def test_what_is_not_shown_has_no_influence() -> None:
    made, x = ensemble(), drawn(9, 7)
    shown = (drawn(9, 7, seed=3) > 0).float()
    other = torch.where(shown > 0, x, 1e3 * drawn(9, 7, seed=4))
    q, changed = made.encode(x, shown), made.encode(other, shown)
    assert torch.equal(q.mean, changed.mean)
    assert torch.equal(q.log_var, changed.log_var)
    assert not torch.allclose(q.mean, made.encode(x).mean), "what is shown has some"
    zeros = made.encode(x * shown)
    assert not torch.allclose(q.mean, zeros.mean), "a hole is not a zero"


def test_dimensions_that_a_member_lacks_are_inert() -> None:
    made, x = ensemble(), drawn(9, 7)
    assert made.kept.sum(-1).flatten().tolist() == list(DIMS)
    q = made.encode(x)
    assert q.mean.shape == (3, 9, 5)
    missing = (made.kept == 0).expand_as(q.mean)
    assert not q.mean[missing].any()
    assert not q.log_var[missing].any()
    assert not q.kl()[missing].any(), "they cost nothing"
    z = drawn(3, 9, 5, seed=5)
    other = torch.where(missing, z + 100, z).requires_grad_()
    p, same = made.decode(z), made.decode(other)
    assert torch.equal(p.mean, same.mean)
    assert torch.equal(p.log_var, same.log_var)
    same.log_prob(x.expand(3, -1, -1)).sum().backward()
    assert other.grad is not None
    assert not other.grad[missing].any()
    assert other.grad[~missing].all()


@pytest.mark.parametrize("n_features", [1, 3, 7, 8, 16, 29, 50])
@torch.no_grad()
def test_the_place_in_a_batch_does_not_matter_bit_for_bit(n_features: int) -> None:
    made, x = ensemble(n_features, (2, 7)), drawn(45, n_features)
    order = torch.randperm(45, generator=torch.Generator().manual_seed(0))
    q, other = made.encode(x), made.encode(x[order])
    p, moved = made.decode(q.mean), made.decode(other.mean)
    for first, second in ((q.mean, other.mean), (q.log_var, other.log_var), (p.mean, moved.mean)):
        assert torch.equal(first[:, order], second)
    assert torch.equal(p.log_var[:, order], moved.log_var)


@torch.no_grad()
def test_variances_stay_within_reach() -> None:
    """However far a row is, no variance is zero or infinite."""
    made = ensemble()
    q = made.encode(1e6 * drawn(9, 7))
    p = made.decode(1e6 * drawn(3, 9, 5))
    assert q.log_var.min() >= -8
    assert q.log_var.max() <= 3
    assert p.log_var.min() >= -8
    assert p.log_var.max() <= 6
    assert p.log_prob(drawn(3, 9, 7)).isfinite().all()


def test_what_follows_from_the_settings_is_not_saved() -> None:
    assert not [name for name in ensemble().state_dict() if "kept" in name]
