"""Codes of the columns of a table."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from latentkit.core.columns import ColumnCodes, codes_of
from latentkit.core.errors import InvalidParameterError

CODES = ColumnCodes((2, 3, 7), missing_codes=(None, None, 6), is_ordered=(False, True, True))


def test_codes_are_floors_and_stay_inside_their_column() -> None:
    x = torch.tensor([[0.0, 1.999, 6.5], [-4.0, 3.0, 99.0], [math.nan, math.nan, 0.1]])
    assert CODES.last_values == (1, 2, 5)
    codes = codes_of(x, torch.tensor(CODES.cardinalities), torch.tensor(CODES.last_values))
    assert codes.tolist() == [[0, 1, 6], [0, 2, 5], [2, 3, 0]]
    for column in range(3):
        one = codes_of(x[:, column], CODES.cardinalities[column], CODES.last_values[column])
        assert torch.equal(one, codes[:, column])


def test_codes_come_back_from_their_description() -> None:
    description = CODES.describe()
    assert description == {
        "cardinalities": [2, 3, 7],
        "missing_codes": [None, None, 6],
        "is_ordered": [False, True, True],
    }
    assert ColumnCodes.from_description({"network": "columns", **description}) == CODES
    assert ColumnCodes.from_description({"cardinalities": [2]}) == ColumnCodes((2,), (None,), (False,))


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (((2, 0),), r"cardinalities\[1\] must be an integer of at least 1; got 0"),
        (((2, 3), (None,)), "one entry for each column; got 2, 1, 2 entries"),
        (((2, 3), (), (True,)), "one entry for each column; got 2, 2, 1 entries"),
        (((2, 3), (None, 1)), r"missing_codes\[1\] must be None or the last of the 3 codes, 2; got 1"),
    ],
)
def test_lists_that_cannot_be(lists: Any, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        ColumnCodes(*lists)
