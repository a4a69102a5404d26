"""Fits of a decoder to latent vectors that are given, and to those that are learnt with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.core.protocols import Batch
from latentkit.models import GeneratorSpecification
from latentkit.objectives import GivenLatents, LearntLatents


def model() -> Any:
    torch.manual_seed(0)
    generator = GeneratorSpecification(
        event_shape=(6,),
        latent_dim=2,
        decoder={"network": "mlp", "widths": [8]},
        latent_mean=[0.0, 0.0],
        latent_stddev=[1.0, 1.0],
    ).build()
    generator.initialise_output(X)
    return generator


X = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
ROWS = torch.tensor([7, 3, 11])
BATCH = Batch(X[ROWS], rows=ROWS)


def test_given_vectors_are_found_by_the_numbers_of_the_examples() -> None:
    z = torch.randn(20, 2, dtype=torch.float64)
    terms = GivenLatents(z)(model(), BATCH)
    expected = model().decode(z[ROWS].float()).log_prob(X[ROWS])
    torch.testing.assert_close(terms.objective, expected)
    torch.testing.assert_close(terms.log_likelihood, expected)
    assert terms.kl.tolist() == [0.0] * 3


@pytest.mark.parametrize("bound", ["ball", "normal"])
def test_learnt_vectors_start_at_the_principal_components_within_their_bound(bound: str) -> None:
    generator, objective = model(), LearntLatents(20, 2, bound=bound)
    objective.phases(generator)
    start, z = generator.start(X), objective.latents(generator, X, torch.arange(20))
    outside = start.norm(dim=1) > 2**0.5
    assert 0 < int(outside.sum()) < 20
    torch.testing.assert_close(z[~outside], start[~outside])
    if bound == "ball":
        torch.testing.assert_close(z.norm(dim=1)[outside], torch.full((int(outside.sum()),), 2**0.5))
        torch.testing.assert_close(z / z.norm(dim=1, keepdim=True), start / start.norm(dim=1, keepdim=True))
    else:
        torch.testing.assert_close(z, start)


@pytest.mark.parametrize(("bound", "weight"), [("ball", 0.0), ("normal", 0.5)])
def test_the_value_is_a_log_likelihood_less_the_cost_of_z(bound: str, weight: float) -> None:
    generator, objective = model(), LearntLatents(20, 2, bound=bound)
    terms = objective(generator, BATCH)
    z = objective.latents(generator, BATCH.x, ROWS)
    fit = generator.decode(z).log_prob(BATCH.x)
    torch.testing.assert_close(terms.log_likelihood, fit)
    torch.testing.assert_close(terms.kl, weight * z.square().sum(1))
    torch.testing.assert_close(terms.objective, fit - weight * z.square().sum(1))


def test_a_step_moves_the_decoder_and_the_vectors_of_the_batch() -> None:
    generator, objective = model(), LearntLatents(20, 2, bound="normal")
    (phase,) = objective.phases(generator)
    assert any(parameter is objective.offsets for parameter in phase.parameters)
    (-phase.terms(BATCH, 1.0).objective.mean()).backward()
    moved = objective.offsets.grad.abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == sorted(ROWS.tolist())
    assert all(p.grad is not None for p in generator.decoding.decoder.parameters())


def test_every_training_starts_anew() -> None:
    generator, objective = model(), LearntLatents(20, 2)
    objective.phases(generator)
    with torch.no_grad():
        objective.offsets.fill_(1.0)
    objective.phases(generator)
    assert float(objective.offsets.detach().abs().max()) == 0.0


def test_an_unknown_bound_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="latent_bound must be one of: ball, normal.*Did you mean 'ball'"):
        LearntLatents(5, 2, bound="bal")
