"""Rows of which some follow from others, and an ensemble that has learnt them a little."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from latentkit.core.seeds import generator
from latentkit.tasks.detection import EnsembleWitness, fit_ensemble

N_COLUMNS = 5
#: The column of each feature: the third has two.
OWNERS = (0, 1, 2, 2, 3, 4)


def rows(n: int, name: str = "rows", *, holes: float = 0.0) -> Tensor:
    """Six features that follow from two hidden numbers, but for a fifth."""
    loadings = torch.randn(2, 6, generator=generator(0, "loadings"))
    loadings = loadings / loadings.norm(dim=0)
    x = torch.randn(n, 2, generator=generator(0, name, "hidden")) @ loadings
    x = x + 0.2 * torch.randn(n, 6, generator=generator(0, name, "noise"))
    return x.where(torch.rand(n, 6, generator=generator(0, name, "holes")) >= holes, torch.nan)


@functools.cache
def witness() -> EnsembleWitness:
    with torch.enable_grad():
        ensemble = fit_ensemble(rows(400), seed=0, n_steps=150)
    return EnsembleWitness(ensemble, torch.tensor(OWNERS)).eval()
