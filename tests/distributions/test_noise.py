"""Noise for draws."""

from __future__ import annotations

import pytest
import torch

from latentkit.core import seeds
from latentkit.distributions import noise

EULER = 0.57721566


@pytest.mark.parametrize(
    ("draw", "mean", "variance"),
    [
        (noise.standard_normal, 0.0, 1.0),
        (noise.uniform, 0.5, 1 / 12),
        (noise.gumbel, EULER, torch.pi**2 / 6),
        (noise.logistic, 0.0, torch.pi**2 / 3),
    ],
)
def test_moments_precision_and_generator(draw, mean, variance) -> None:
    like = torch.zeros((), dtype=torch.float64)
    first, second = (draw((50000, 2), like=like, generator=seeds.generator(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.dtype is torch.float64
    assert draw((3,), like=like).shape == (3,)
    assert abs(first.mean() - mean) <= 5 * (variance / 100000) ** 0.5
    assert first.var().item() == pytest.approx(variance, rel=0.05)


def test_shapes_of_draws() -> None:
    assert noise.drawn_shape(None, (2, 3)) == (2, 3)
    assert noise.drawn_shape(4, torch.Size((2, 3))) == (4, 2, 3)
