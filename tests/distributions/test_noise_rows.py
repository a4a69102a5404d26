"""Draws of every likelihood family know rows (for tests/distributions/)."""

from __future__ import annotations

import pytest
import torch

from latentkit.core.seeds import RowGenerator
from latentkit.distributions import likelihoods


@pytest.mark.parametrize("event", [(6,), (2, 3, 4)])
@pytest.mark.parametrize(
    "name", [name for name in likelihoods if not (likelihoods[name].of_tables or likelihoods[name].of_texts)]
)
def test_draws_of_a_row_are_the_same_in_any_batch(name: str, event: tuple[int, ...]) -> None:
    options = {"categorical": {"n_categories": 5}}.get(name, {})
    family = likelihoods[name](event, **options)
    parameters = torch.randn(3, 5, family.n_parameters, *event, generator=torch.Generator().manual_seed(0))
    keys, order = torch.arange(5), torch.tensor([3, 1, 4])
    whole = family(parameters).sample(generator=RowGenerator(keys))
    part = family(parameters[:, order]).sample(generator=RowGenerator(keys[order]))
    assert torch.equal(whole[:, order], part)
