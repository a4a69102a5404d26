"""Shares of columns, counted and put right."""

from __future__ import annotations

import math

import pytest
import torch

from latentkit.core.columns import ColumnCodes
from latentkit.tasks import margin_offsets


def test_offsets_are_the_ratios_of_counts_column_by_column() -> None:
    codes = ColumnCodes((2, 3), (None, 2))
    observed = torch.tensor([[0.5, 0.2]] * 60 + [[1.5, 2.5]] * 30 + [[math.nan, 9.0]] * 10)
    drawn = torch.tensor([[0.5, 1.1]] * 100 + [[1.9, 2.5]] * 100)
    offsets = margin_offsets(observed, drawn, codes)
    expected = [65 / 50, 35 / 50, 65 / 5, 15 / 55, 35 / 55]
    assert offsets.exp().tolist() == pytest.approx(expected), "the unknown is not counted; what is beyond is at the end"


def test_equal_shares_are_left_alone() -> None:
    rows = torch.tensor([[0.5], [0.5], [1.5]])
    assert margin_offsets(rows, rows.repeat(7, 1), ColumnCodes((2,))).abs().max() < 1e-6
    assert margin_offsets(rows[:0], rows, ColumnCodes((2,))).tolist() == [0.0, 0.0], "no row says nothing"
