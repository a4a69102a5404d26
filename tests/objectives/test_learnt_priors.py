"""What learnt priors climb."""

from __future__ import annotations

import math

import pytest
import torch

from latentkit.core.protocols import Batch
from latentkit.core.seeds import isolated_rng
from latentkit.models import LatentFlow, VelocityField
from latentkit.objectives import FlowMatching, MaximumLikelihood


def test_flow_matching_of_noise_has_the_error_that_is_left() -> None:
    # var(z - e given z_t) = 1 / ((1 - t)^2 + t^2), whose integral over t is pi / 2; the field starts with the best
    with isolated_rng(0):
        x = torch.randn(40_000, 2)
        terms = FlowMatching()(VelocityField(2, width=4), Batch(x))  # type: ignore[arg-type]
    assert float(-terms.objective.detach().mean()) == pytest.approx(2 * math.pi / 2, rel=0.02)
    assert torch.equal(terms.kl, torch.zeros(40_000))


def test_the_field_sees_where_it_is_when_and_of_which_class() -> None:
    seen = {}

    def field(z: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        seen.update(z=z, t=t, condition=condition)
        return torch.zeros_like(z)

    condition = torch.eye(5)
    with isolated_rng(0):
        terms = FlowMatching()(field, Batch(torch.full((5, 3), 2.0), condition=condition))  # type: ignore[arg-type]
    assert seen["t"].shape == (5, 1)
    assert torch.equal(seen["condition"], condition)
    # z_t = (1 - t) e + t z, so that z - e = (z - z_t) / (1 - t)
    target = (2.0 - seen["z"]) / (1.0 - seen["t"])
    torch.testing.assert_close(terms.objective, -target.square().sum(-1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("objective", "model"),
    [(FlowMatching(), VelocityField(2, width=4)), (MaximumLikelihood(), LatentFlow(2, n_layers=2, width=4))],
)
def test_everything_climbs(objective: FlowMatching | MaximumLikelihood, model: torch.nn.Module) -> None:
    (phase,) = objective.phases(model)  # type: ignore[arg-type]
    assert len(phase.parameters) == len(list(model.parameters()))
    with isolated_rng(0):
        terms = phase.terms(Batch(torch.randn(6, 2)), 0.0)
    assert terms.objective.shape == (6,)
    assert terms.objective.requires_grad
