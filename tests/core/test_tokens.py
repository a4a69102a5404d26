"""Tokens: where a text ends."""

from __future__ import annotations

import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.core.tokens import TokenCodes, reached


def test_places_up_to_the_first_end_count() -> None:
    x = torch.tensor([[1, 0, 2, 0], [0, 0, 0, 0], [1, 2, 3, 4]])
    assert reached(x).sum(1).tolist() == [2, 1, 4]
    assert torch.equal(reached(x.expand(2, 3, 4)), reached(x).expand(2, 3, 4))


@pytest.mark.parametrize("sizes", [(1, 3), (3, 0), (2.5, 3)])
def test_sizes_that_cannot_be(sizes: tuple[int, int]) -> None:
    with pytest.raises(InvalidParameterError, match=r"n_tokens|max_length"):
        TokenCodes(*sizes)


def test_a_description_makes_them_again() -> None:
    codes = TokenCodes(7, 3)
    assert TokenCodes.from_description({**codes.describe(), "network": "lstm"}) == codes
