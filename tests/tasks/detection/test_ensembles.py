"""The ensemble that a detector trains: it learns what rows have in common, by a seed, also of rows with holes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from latentkit.core.seeds import generator
from latentkit.tasks.detection import MEMBERS, Member, build_ensemble, fit_ensemble


@pytest.fixture(scope="module")
def rows() -> Tensor:
    """Six numbers that follow from two hidden ones, but for a tenth."""
    loadings = torch.randn(2, 6, generator=generator(0, "loadings"))
    hidden = torch.randn(400, 2, generator=generator(0, "hidden"))
    x = hidden @ loadings + 0.1 * torch.randn(400, 6, generator=generator(0, "noise"))
    return (x - x.mean(0)) / x.std(0)


@pytest.fixture(scope="module")
def ensemble(rows: Tensor):
    return fit_ensemble(rows[:300], seed=0)


@torch.no_grad()
def test_every_member_explains_new_rows(rows, ensemble) -> None:
    new = rows[300:]
    off = ensemble.decode(ensemble.encode(new).mean).mean - new
    errors = off.square().mean((1, 2)).sqrt()
    assert (errors < 0.3).all(), "a mean row is off by 1"
    density = ensemble.decode(ensemble.encode(new).mean).log_prob(new.expand_as(off)).sum(-1).mean(1)
    assert (density > 4).all(), "six numbers that are known up to a third each; a standard normal gives -3"


@torch.no_grad()
def test_members_that_are_shown_parts_fill_in_the_rest(rows, ensemble) -> None:
    new = rows[300:]
    shown = torch.ones_like(new)
    shown[:, 2] = 0
    filled = ensemble.decode(ensemble.encode(new, shown).mean).mean[:, :, 2]
    errors = (filled - new[:, 2]).square().mean(1).sqrt()
    assert (errors[2:] < 0.5).all(), "the two that were trained with holes"


def test_the_same_seed_gives_the_same_weights_and_another_others(rows, ensemble) -> None:
    short = [fit_ensemble(rows, seed=seed, n_steps=5).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(short[0][name], short[1][name]) for name in short[0])
    assert not torch.equal(short[0]["encoder.first.weight"], short[2]["encoder.first.weight"])


def test_the_users_random_state_is_left_alone(rows) -> None:
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())  # noqa: NPY002 (its state)
    fit_ensemble(rows[:50], seed=0, n_steps=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 (its state)
    assert random.getstate() == before[2]


def test_rows_with_holes_are_learnt_from(rows) -> None:
    holes = rows.clone()
    holes[torch.rand(rows.shape, generator=generator(1, "holes")) < 0.2] = torch.nan
    made = fit_ensemble(holes, seed=0, n_steps=200)
    assert all(parameter.isfinite().all() for parameter in made.parameters())
    with torch.no_grad():
        errors = (made.decode(made.encode(rows).mean).mean - rows).square().mean((1, 2)).sqrt()
    assert (errors < 0.4).all(), "a mean row is off by 1"


@pytest.mark.slow
def test_trimming_keeps_far_rows_from_being_learnt(rows) -> None:
    odd = torch.randn(1, 6, generator=generator(2, "odd")).sign() * 4
    mixed = torch.cat([rows, odd.expand(40, -1) + 0.1 * torch.randn(40, 6, generator=generator(3, "odd"))])
    fits = []
    for trim in (0.0, 0.2):
        made = fit_ensemble(mixed, seed=0, trim=trim, n_steps=150)
        with torch.no_grad():
            p = made.decode(made.encode(mixed[400:]).mean)
            fits.append(float(p.log_prob(mixed[400:].expand_as(p.mean)).sum(-1).mean()))
    assert fits[1] < fits[0] - 10, "nats by which the odd ones are explained"


@pytest.mark.parametrize("n", [1, 2, 3, 129])
def test_few_rows_are_enough(n, rows) -> None:
    made = fit_ensemble(rows[:n], seed=0, n_steps=3)
    assert not made.training
    assert all(parameter.isfinite().all() for parameter in made.parameters())


def test_latent_sizes_follow_the_number_of_features() -> None:
    narrow, wide = Member(0.3), Member(0.1, is_wide=True)
    assert [narrow.latent_dim(n) for n in (1, 4, 7, 31, 500)] == [2, 2, 4, 16, 16]
    assert [wide.latent_dim(n) for n in (1, 4, 7, 31, 500)] == [2, 4, 7, 31, 32]
    assert build_ensemble(9).kept.sum(-1).flatten().tolist() == [member.latent_dim(9) for member in MEMBERS]
