from __future__ import annotations

import torch
from torch.nn import functional

from latentkit.core.seeds import generator, isolated_rng
from latentkit.nn import ResidualConvolutions


def test_it_is_its_formula_and_begins_near_the_identity() -> None:
    with isolated_rng(0):
        block = ResidualConvolutions(6)
    x = torch.randn(2, 6, 5, 4, generator=generator(0, "x"))
    inner = functional.conv2d(x, block.inner.weight, block.inner.bias, padding=1).clamp_min(0)
    torch.testing.assert_close(block(x), x + functional.conv2d(inner, block.outer.weight, block.outer.bias))
    assert float((block(x) - x).detach().square().mean()) < 0.1 * float(x.square().mean())
