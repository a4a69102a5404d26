from __future__ import annotations

import numpy as np
import pytest
import torch

from latentkit.core.errors import InvalidParameterError
from latentkit.evaluation import copy_rate


def test_new_rows_have_the_floor_and_copies_have_one() -> None:
    rng = np.random.default_rng(0)
    train, held_out, new = (rng.normal(size=(n, 3)) for n in (500, 2000, 2000))
    fresh = copy_rate(train, held_out, new, quantile=0.1)
    assert fresh.floor == pytest.approx(0.1, abs=1e-3)
    assert fresh.rate == pytest.approx(fresh.floor, abs=0.025)
    assert abs(fresh.nearer - 0.5) < 3 * fresh.standard_error
    copies = copy_rate(train, held_out, np.concatenate((train[:50], train[:150] + 1e-6)), quantile=0.1)
    assert copies.rate == 1.0
    assert copies.nearer == pytest.approx(1.0, abs=1e-3)
    half = copy_rate(train, held_out, np.concatenate((train, new[:500])), quantile=0.1)
    assert half.rate == pytest.approx(0.5 + 0.05, abs=0.02)
    assert half.nearer == pytest.approx(0.75, abs=0.03)
    off = copy_rate(train, held_out, new * 100)
    assert (off.rate, round(off.nearer, 1)) == (0.0, 0.0)


def test_threshold_is_the_quantile_of_the_distances() -> None:
    train = torch.tensor([[0.0], [100.0]])
    held_out = torch.arange(1.0, 11.0)[:, None]
    result = copy_rate(train, held_out, torch.tensor([[1.0], [2.0], [3.0], [99.5]]), quantile=0.15)
    assert result.distance == 2.0
    assert result.rate == 0.75
    assert result.floor == 0.2
    assert result.computed_with == (
        "Euclidean distance to the nearest of 2 training rows, 10 held-out rows, 4 generated rows"
    )


def test_ties_raise_the_floor() -> None:
    binary = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    result = copy_rate(binary, binary.repeat(5, 1), binary)
    assert (result.rate, result.floor, result.distance, result.nearer) == (1.0, 1.0, 0.0, 0.5)


def test_wrong_input_is_named() -> None:
    rows = torch.zeros(5, 2)
    with pytest.raises(InvalidParameterError, match=r"quantile must be a float in \(0, 1\)"):
        copy_rate(rows, rows, rows, quantile=0.0)
    with pytest.raises(InvalidParameterError, match="held_out must be .* at least 2 rows"):
        copy_rate(rows, rows[:1], rows)
    with pytest.raises(InvalidParameterError, match="train and generated must be equally wide"):
        copy_rate(rows, rows, rows[:, :1])
