"""Evaluation in batches gives what one batch gives, in bounded memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentkit.models import inference_batch_size, iterate_batches, map_batches
from latentkit.models.inference import ACTIVATION_BUDGET


@given(n=st.integers(0, 100), batch_size=st.integers(1, 120))
def test_batches_cover_every_row_once_in_order(n: int, batch_size: int) -> None:
    parts = [range(n)[rows] for rows in iterate_batches(n, batch_size)]
    assert [row for part in parts for row in part] == list(range(n))
    assert all(0 < len(part) <= batch_size for part in parts)


@given(width=st.integers(1, 10**8), n_samples=st.integers(1, 10**4))
def test_a_batch_stays_within_the_budget_and_holds_one_row_at_least(width: int, n_samples: int) -> None:
    size = inference_batch_size(width, n_samples=n_samples)
    assert 1 <= size <= 4096
    assert size == 1 or size * width * n_samples <= ACTIVATION_BUDGET
    assert size == 4096 or (size + 1) * width * n_samples > ACTIVATION_BUDGET


def test_a_width_of_nothing_is_no_error() -> None:
    assert inference_batch_size(0) == 4096


@pytest.mark.parametrize("batch_size", [1, 3, 9, 10, 11, 1000])
def test_the_result_is_that_of_one_batch(batch_size: int) -> None:
    x = torch.randn(10, 2, 3, dtype=torch.float64)
    sizes = []

    def function(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return part.square().sum(-1)

    result = map_batches(function, x, batch_size=batch_size)
    assert torch.equal(result, x.square().sum(-1))
    assert result.dtype == torch.float64
    assert max(sizes) <= batch_size
    assert sum(sizes) == 10


@pytest.mark.parametrize("batch_size", [4, 10])
def test_rows_are_prepared_a_batch_at_a_time(batch_size: int) -> None:
    storage = torch.arange(10, dtype=torch.uint8)
    seen = []

    def prepare(part: Tensor) -> Tensor:
        seen.append(len(part))
        return part.float() / 255

    result = map_batches(lambda x: x, storage, batch_size=batch_size, prepare=prepare)
    assert torch.equal(result, storage.float() / 255)
    assert max(seen) == batch_size


@pytest.mark.parametrize("batch_size", [2, 10])
def test_no_graph_is_kept_and_the_storage_is_left_alone(batch_size: int) -> None:
    weight = torch.ones(3, requires_grad=True)
    x = torch.ones(4, 3)
    result = map_batches(lambda part: part * weight, x, batch_size=batch_size)
    assert not result.requires_grad
    assert torch.equal(x, torch.ones(4, 3))


def test_the_dtype_of_the_result_may_differ_from_that_of_the_data() -> None:
    result = map_batches(lambda part: part.sum(1) > 0, torch.ones(5, 2), batch_size=2)
    assert result.dtype == torch.bool
    assert result.all()
