"""The bound of an ensemble, against torch's distributions member by member; holes, masks and rows that are left out."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Batch, LatentVariableModel
from latentkit.core.seeds import isolated_rng
from latentkit.models import AutoencoderEnsemble
from latentkit.objectives import MemberElbos

BETAS = (0.3, 1.0)


class Recorded(nn.Module):
    """An ensemble that keeps what it was shown and the codes that were drawn."""

    def __init__(self, ensemble: AutoencoderEnsemble) -> None:
        super().__init__()
        self.inner, self.n_members = ensemble, ensemble.n_members
        self.shown: Tensor = torch.empty(0)
        self.z: Tensor = torch.empty(0)

    def encode(self, x: Tensor, shown: Tensor | None = None) -> Any:
        assert shown is not None
        self.shown = shown
        return self.inner.encode(x, shown)

    def decode(self, z: Tensor) -> Any:
        self.z = z
        return self.inner.decode(z)


def ensemble(n_features: int = 5) -> Recorded:
    with isolated_rng(0):
        made = AutoencoderEnsemble(n_features, (2, 3), width=16)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return Recorded(made.eval())


def bound(model: Recorded, x: Tensor, objective: MemberElbos, *, seed: int = 0, kl_weight: float = 1.0) -> Any:
    with isolated_rng(seed):
        return objective(cast(LatentVariableModel, model), Batch(x), kl_weight=kl_weight)


def rows(n: int = 12, *, seed: int = 1) -> Tensor:
    with isolated_rng(seed):
        return torch.randn(n, 5)


def plain(**settings: Any) -> MemberElbos:
    return MemberElbos(**{"betas": BETAS, "masking": (0.0, 0.0), **settings})


@pytest.mark.parametrize("kl_weight", [1.0, 0.25])
@pytest.mark.parametrize("masking", [0.0, 0.8])
def test_it_is_the_sum_of_the_members_bounds(kl_weight: float, masking: float) -> None:
    model, x = ensemble(), rows()
    x[3, 1] = x[3, 2] = x[7, 0] = math.nan
    known = ~x.isnan()
    terms = bound(model, x, plain(masking=(masking, 0.0)), kl_weight=kl_weight)
    q = model.inner.encode(x.nan_to_num(0.0).expand(2, -1, -1), model.shown)
    p = model.inner.decode(model.z)
    expected = torch.zeros(12)
    for m, beta in enumerate(BETAS):
        density = Normal(p.mean[m], (0.5 * p.log_var[m]).exp()).log_prob(x.nan_to_num(0.0)) + math.log(2 * math.pi) / 2
        posterior = Normal(q.mean[m], (0.5 * q.log_var[m]).exp())
        kl = (kl_divergence(posterior, Normal(0.0, 1.0)) * model.inner.kept[m]).sum(-1)
        expected += density.where(known, 0.0).sum(-1) - kl_weight * beta * kl
    assert terms.objective.shape == (12,)
    torch.testing.assert_close(terms.objective, expected)


def test_unknown_numbers_are_neither_shown_nor_asked_for() -> None:
    model, x = ensemble(), rows()
    x[2, 1:4] = math.nan
    x[5] = math.nan
    terms = bound(model, x, plain())
    assert terms.objective.isfinite().all()
    assert not model.shown[:, 2, 1:4].any()
    assert model.shown[:, 2, [0, 4]].all()
    assert terms.log_likelihood[5] == 0, "a row of which nothing is known explains itself"
    terms.objective.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.inner.parameters())


def test_masks_hide_up_to_their_share_and_all_is_asked_for() -> None:
    model, x = ensemble(), rows(4000)
    terms = bound(model, x, plain(masking=(0.6, 0.0)))
    hidden = 1 - model.shown
    assert not hidden[1].any(), "a member without masking sees all"
    assert float(hidden[0].mean()) == pytest.approx(0.3, abs=0.02), "a share is uniform below its largest"
    assert float(hidden[0].mean(1).std()) > 0.24, "and differs between rows: with one share they would differ less"
    p = model.inner.decode(model.z)
    torch.testing.assert_close(terms.log_likelihood, p.log_prob(x.expand(2, -1, -1)).sum(-1).sum(0))


def test_trimming_leaves_the_worst_out_and_keeps_the_scale() -> None:
    model, x = ensemble(), rows(20)
    x[4], x[11] = 40.0, -40.0
    whole = bound(model, x, plain())
    trimmed = bound(model, x, plain(trim=0.1))
    assert (trimmed.objective[[4, 11]] == 0).all(), "both members explain them worst"
    left = torch.ones(20, dtype=torch.bool)
    left[[4, 11]] = False
    torch.testing.assert_close(trimmed.objective[left], whole.objective[left] * 20 / 18)
    torch.testing.assert_close(trimmed.objective.mean(), whole.objective[left].mean())
    assert torch.equal(trimmed.log_likelihood, whole.log_likelihood), "what is reported is of all rows"


def test_each_member_leaves_its_own_worst_out() -> None:
    model, x = ensemble(), rows(30)
    trimmed = bound(model, x, plain(betas=(0.0, 0.0), trim=0.5))
    p = model.inner.decode(model.z)
    fit = p.log_prob(x.expand(2, -1, -1)).sum(-1)
    kept = fit >= fit.sort(dim=1, descending=True).values[:, 14:15]
    assert not torch.equal(kept[0], kept[1])
    torch.testing.assert_close(trimmed.objective, (fit * kept * 2).sum(0))


def test_a_row_is_always_left() -> None:
    terms = bound(ensemble(), rows(1), plain(trim=0.5))
    assert terms.objective.isfinite().all()
    assert terms.objective[0] != 0


def test_one_phase_trains_all() -> None:
    model = ensemble()
    assert len(plain().phases(cast(LatentVariableModel, model))) == 1


def test_what_cannot_be_is_refused() -> None:
    for settings, message in (
        ({"betas": (-1.0, 0.1)}, "beta must be a float"),
        ({"masking": (1.1, 0.0)}, "masking must be a float"),
        ({"trim": 1.0}, r"trim must be a float in \[0, 1\)"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            plain(**settings)
    with pytest.raises(ValueError, match="shorter|longer"):
        plain(masking=(0.1,))
